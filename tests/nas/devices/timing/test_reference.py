"""The reference network that tells whether the machine was the same all the while."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from nas.devices.timing.measuring import measure
from nas.devices.timing.plan import Plan
from tests.nas.devices.timing.machines import PLAN, Machine


class Throttled(Machine):
    """A machine whose clock falls: from one moment to another everything takes `factor` times as long."""

    def __init__(self, begin_s: float, end_s: float, factor: float) -> None:
        super().__init__()
        self.begin_s, self.end_s, self.factor = begin_s, end_s, factor

    def program(self, name: str, seconds: float) -> Callable[[], None]:
        def run() -> None:
            self.log.append(name)
            took = seconds * (self.factor if self.begin_s <= self.wall_s < self.end_s else 1.0)
            self.cpu_s += took
            self.wall_s += took

        return run


def test_the_reference_runs_before_between_and_after_the_rounds() -> None:
    machine = Machine()
    calls = {name: machine.call(name, 0.02) for name in ("a", "b")}
    result = measure(calls, PLAN, machine.clocks, machine.call("reference", 0.01))
    order = [name for name, before in zip(machine.log, ["", *machine.log[:-1]], strict=False) if name != before]
    # Warm-up of each, then the rounds; the two of a round may stand in either order.
    assert order[:3] == ["a", "b", "reference"]
    rounds = "".join(name[0] for name in order[2:])
    assert rounds.replace("ba", "ab") == "rabrabrabr"
    assert result["a"].reference_s == pytest.approx(0.01)
    assert result["a"].drift == pytest.approx(0.0, abs=1e-6) and not result["a"].drifted


def test_a_round_during_which_the_reference_moved_is_taken_again() -> None:
    # Warm-up ends after 0.2 s; reference, block, reference, block, ...: 1 s each. The clock is low in the second block.
    machine = Throttled(3.0, 5.5, 1.3)
    result = measure({"net": machine.program("net", 0.02)}, PLAN, machine.clocks, machine.program("reference", 0.02))
    found = result["net"]
    assert found.repeated >= 1 and not found.drifted
    assert found.wall_s.shape == (3, 25)
    assert found.wall_s.max() == pytest.approx(0.02), "nothing that was read meanwhile is kept"
    # On CPU time alone it would not have been seen.
    alone = Throttled(1.5, 3.5, 1.3)
    blind = measure({"net": alone.program("net", 0.02)}, PLAN, alone.clocks)["net"]
    assert blind.repeated == 0 and blind.wall_s.max() > 0.025


def test_a_clock_that_stays_low_becomes_the_usual_one() -> None:
    machine = Throttled(2.0, 1e9, 1.3)
    result = measure({"net": machine.program("net", 0.02)}, PLAN, machine.clocks, machine.program("reference", 0.02))
    assert not result["net"].drifted
    assert result["net"].wall_s == pytest.approx(0.026)


def test_a_machine_that_never_settles_is_said_to_drift() -> None:
    machine = Machine()

    def program(seconds: float) -> Callable[[], None]:
        def run() -> None:
            took = seconds * (1 + machine.wall_s / 10)
            machine.cpu_s += took
            machine.wall_s += took

        return run

    result = measure({"net": program(0.02)}, PLAN, machine.clocks, program(0.02))["net"]
    assert result.drifted and result.drift > 0.05
    assert result.repeated > 0


def test_with_several_threads_the_reference_shows_who_waited() -> None:
    machine = Machine()
    count = 0

    def reference() -> None:
        nonlocal count
        count += 1
        machine.cpu_s += 0.02
        machine.wall_s += 0.02 * (1.5 if count > 60 else 1.0)

    plan = Plan(blocks=3, block_s=1.0, warm_up_s=0.1, reading_s=0.01, repeats=0, threads=2)
    result = measure({"net": machine.call("net", 0.02)}, plan, machine.clocks, reference)["net"]
    assert result.drifted and not result.contended
