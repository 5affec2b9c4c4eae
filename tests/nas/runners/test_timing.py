"""Measuring on clocks that the test turns: what is called, when, and what is done about contention."""

from __future__ import annotations

import gc
import math
import os
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

from nas.devices.timing.measuring import Clocks, Plan, measure, measure_stream
from nas.devices.timing.probe import Probe
from nas.devices.timing.readings import kept

PLAN = Plan(blocks=3, block_s=1.0, warm_up_s=0.1, reading_s=0.01, min_readings=5, max_readings=1000)


class Machine:
    """A machine whose time passes only when something is called, or a clock is read.

    While `shared(wall_s)` somebody else is busy on the core's other thread, and everything takes 1.8 times as long, by
    either clock. The probe has a clock of its own: its time is nobody's.
    """

    def __init__(self, tick_s: float = 1e-9, shared: Callable[[float], bool] = lambda wall_s: False) -> None:
        self.wall_s = self.cpu_s = self.probe_s = 0.0
        self.shared = shared
        self.tick_s = tick_s
        self.log: list[str] = []

    def call(self, name: str, seconds: float, stolen: Callable[[int], float] = lambda n: 0.0) -> Callable[[], None]:
        """Something that takes so much CPU time; the n-th call waits `stolen(n)` seconds longer for the core."""
        count = 0

        def run() -> None:
            nonlocal count
            self.log.append(name)
            took = seconds * self._slowness()
            self.cpu_s += took
            self.wall_s += took + stolen(count)
            count += 1

        return run

    def _slowness(self) -> float:
        return 1.8 if self.shared(self.wall_s) else 1.0

    def _probe(self) -> None:
        self.probe_s += 25e-6 * self._slowness()

    @property
    def clocks(self) -> Clocks:
        def cpu() -> float:
            self.cpu_s += 1e-9
            return round(self.cpu_s / self.tick_s) * self.tick_s

        return Clocks(lambda: self.wall_s, cpu, Probe(lambda: self.probe_s, self._probe))


def test_a_quiet_machine_gives_the_time_of_the_call() -> None:
    machine = Machine()
    result = measure({"net": machine.call("net", 0.02)}, PLAN, machine.clocks)["net"]
    assert result.wall_s.shape == (3, 25)
    assert result.median_s == pytest.approx(0.02)
    assert result.upper_95_s == pytest.approx(0.02)
    assert np.median(result.cpu_s) == pytest.approx(0.02)
    assert (result.contended, result.repeated, result.calls, result.cpu_per_reading) == (False, 0, 1, True)


def test_short_calls_are_made_several_times_per_reading() -> None:
    machine = Machine()
    result = measure({"net": machine.call("net", 0.0003)}, PLAN, machine.clocks)["net"]
    assert result.calls == 34  # 33 x 0.3 ms are less than 10 ms
    assert result.median_s == pytest.approx(0.0003)


def test_blocks_are_interleaved_in_changing_order() -> None:
    machine = Machine()
    names = ("a", "b", "c")
    plan = Plan(blocks=8, block_s=0.076, warm_up_s=0.0, reading_s=0.01, min_readings=2, max_readings=4)
    measure({name: machine.call(name, 0.02) for name in names}, plan, machine.clocks)
    warm_up, measured = machine.log[:9], machine.log[9:]
    assert warm_up == ["a"] * 3 + ["b"] * 3 + ["c"] * 3
    rounds = [measured[i : i + 12] for i in range(0, len(measured), 12)]
    assert len(rounds) == 8
    assert all(sorted(entry) == ["a"] * 4 + ["b"] * 4 + ["c"] * 4 for entry in rounds)
    assert len({tuple(entry) for entry in rounds}) > 1
    again = Machine()
    measure({name: again.call(name, 0.02) for name in names}, plan, again.clocks)
    assert again.log == machine.log


def test_a_contended_block_is_taken_again() -> None:
    machine = Machine()
    # 5 warm-up calls of 20 ms; then the first block of 50 is slowed down, and nothing after it.
    # The block looks on for so many more; all but a few of them wait too.
    call = machine.call("net", 0.02, lambda n: 0.01 if 5 <= n < 150 else 0.0)
    result = measure({"net": call}, PLAN, machine.clocks)["net"]
    assert result.repeated == 1
    assert not result.contended
    assert result.wall_s.max() == pytest.approx(0.02)


def test_lasting_contention_is_reported_and_cpu_time_decides() -> None:
    machine = Machine()
    result = measure({"net": machine.call("net", 0.02, lambda n: 0.01)}, PLAN, machine.clocks)["net"]
    assert result.contended
    assert result.repeated == 3 * PLAN.repeats
    assert result.median_s == pytest.approx(0.02)
    assert np.median(result.wall_s) == pytest.approx(0.03)


def test_readings_on_a_shared_core_are_left_out_though_no_clock_tells() -> None:
    machine = Machine(shared=lambda wall_s: int(wall_s) % 3 > 0)
    result = measure({"net": machine.call("net", 0.02)}, PLAN, machine.clocks)["net"]
    assert result.wall_s.shape == (3, 25)
    # One reading in fifty begins on a quiet core and ends on a shared one.
    assert result.median_s == pytest.approx(0.02) and result.disturbed < 0.5
    assert result.probe_s == pytest.approx(25e-6) and not result.contended


def test_a_core_that_is_always_shared_from_some_time_on_is_said_to_be() -> None:
    machine = Machine(shared=lambda wall_s: wall_s > 0.3)
    result = measure({"net": machine.call("net", 0.02)}, PLAN, machine.clocks)["net"]
    assert result.median_s == pytest.approx(0.036)
    assert result.disturbed > 0.8 and result.repeated >= 2 * PLAN.repeats


def test_samples_of_a_stream_are_taken_again_where_the_core_was_shared() -> None:
    machine = Machine(shared=lambda wall_s: int(wall_s * 5) % 2 > 0)
    runs = machine.call("net", 0.02)
    result = measure_stream({"net": lambda sample: runs()}, list(range(40)), PLAN, machine.clocks)["net"]
    # Without the probe it would be 0.028: half of the time the core is shared.
    assert result.mean_s < 0.022 and result.disturbed < 0.2


def test_one_interruption_is_not_contention() -> None:
    machine = Machine()
    result = measure({"net": machine.call("net", 0.02, lambda n: 5.0 if n == 20 else 0.0)}, PLAN, machine.clocks)["net"]
    assert (result.contended, result.repeated) == (False, 0)
    assert result.wall_s.max() == pytest.approx(0.02), "another reading took its place"


def test_with_several_threads_nothing_is_called_contended() -> None:
    machine = Machine()
    plan = Plan(blocks=3, block_s=0.2, warm_up_s=0.0, threads=2)
    result = measure({"net": machine.call("net", 0.02, lambda n: 0.02)}, plan, machine.clocks)["net"]
    assert (result.contended, result.threads) == (False, 2)
    assert result.median_s == pytest.approx(0.04)


@pytest.mark.parametrize("stolen_s", [0.0, 0.01])
def test_a_coarse_cpu_clock_says_whether_a_block_was_contended_and_corrects_nothing(stolen_s: float) -> None:
    machine = Machine(tick_s=0.01)
    result = measure({"net": machine.call("net", 0.015, lambda n: stolen_s)}, PLAN, machine.clocks)["net"]
    assert not result.cpu_per_reading and np.isnan(result.cpu_s).all()
    assert result.value_s == pytest.approx(0.015 + stolen_s)
    assert result.contended == bool(result.refused) == (stolen_s > 0)
    if stolen_s:
        assert result.refused.startswith("the core was busy in 3 of 3 blocks")
        assert result.upper_95_s == math.inf and not kept(result, 1e9)


def test_a_stream_measures_each_sample_and_means_over_passes() -> None:
    machine = Machine()
    seconds = [0.01, 0.03, 0.02]

    def call(sample: int) -> None:
        machine.log.append(str(sample))
        machine.wall_s += seconds[sample]
        machine.cpu_s += seconds[sample]

    plan = Plan(blocks=4, warm_up_s=0.0)
    result = measure_stream({"net": call}, range(3), plan, machine.clocks)["net"]
    assert machine.log == ["0", "1", "2"] * 5
    np.testing.assert_allclose(result.wall_s, [seconds] * 4)
    assert result.statistic == "mean"
    assert result.value_s == pytest.approx(0.02)
    assert np.mean(result.cpu_s) == pytest.approx(0.02)
    with pytest.raises(ValueError, match="at least one sample"):
        measure_stream({"net": call}, [], plan, machine.clocks)


def test_samples_that_waited_are_taken_again_each_after_the_one_before_it() -> None:
    machine, order = Machine(), list[int]()
    call = machine.call("net", 0.02, lambda n: 0.01 if n in (5, 6, 8) else 0.0)

    def stream(sample: int) -> None:
        order.append(sample)
        call()

    plan = Plan(blocks=3, warm_up_s=0.0)
    result = measure_stream({"net": stream}, range(7), plan, machine.clocks)["net"]
    # Three calls to warm up; then samples 2, 3 and 5 of the first pass waited.
    assert order == [0, 1, 2] + [0, 1, 2, 3, 4, 5, 6] + [1, 2, 3] + [4, 5] + [0, 1, 2, 3, 4, 5, 6] * 2
    assert (result.contended, result.repeated) == (False, 0)
    assert result.wall_s == pytest.approx(0.02)


def test_a_contended_pass_of_a_stream_is_taken_again() -> None:
    machine = Machine()
    call = machine.call("net", 0.02, lambda n: 0.01 if 3 <= n < 30 else 0.0)
    plan = Plan(blocks=3, warm_up_s=0.0)
    result = measure_stream({"net": lambda sample: call()}, range(5), plan, machine.clocks)["net"]
    assert (result.contended, result.repeated) == (False, 1)
    assert result.value_s == pytest.approx(0.02)


class Busy(Machine):
    """A core that is not ours alone: after 3 ms on it we wait for 9 ms."""

    left_s = 0.003

    def work(self, seconds: float) -> Callable[[], None]:
        """Something that takes so much CPU time."""

        def run() -> None:
            self.cpu_s += seconds
            self.wall_s += seconds
            self.left_s -= seconds
            while self.left_s <= 0:
                self.wall_s += 0.009
                self.left_s += 0.003

        return run


@pytest.mark.parametrize("seconds", [60e-6, 1e-3, 10e-3])
@pytest.mark.parametrize("step_s", [1e-9, 4e-3])
def test_a_stream_of_equal_calls_takes_as_long_as_the_call_on_a_busy_core(seconds: float, step_s: float) -> None:
    """One cannot be corrected by the share of a core that the whole block had: most of its readings did not wait."""
    plan = Plan(blocks=3, block_s=0.1, warm_up_s=0.01)
    core = Busy(step_s)
    call = measure({"": core.work(seconds)}, plan, core.clocks)[""]
    work = core.work(seconds)
    stream = measure_stream({"": lambda sample: work()}, range(200), plan, core.clocks)[""]
    if step_s < seconds / 10:
        assert not call.refused and not stream.refused
        assert call.value_s == pytest.approx(seconds, rel=0.02)
        assert stream.value_s / call.value_s == pytest.approx(1, abs=0.05)
        # No reading of 10 ms fits between two waits; its own CPU time is the time on an undisturbed core.
        assert call.contended == stream.contended == (seconds > 0.003)
    else:
        assert call.refused and stream.refused
        assert call.value_s >= 0.99 * seconds and stream.value_s >= 0.99 * seconds, "nothing is made faster"


@pytest.mark.parametrize("seconds", [60e-6, 1e-3, 10e-3])
@pytest.mark.parametrize("step_s", [1e-9, 1e-6, 4e-3, 10e-3])
def test_on_a_quiet_core_nothing_is_refused_however_coarse_the_clock(seconds: float, step_s: float) -> None:
    plan = Plan(blocks=3, block_s=0.03, warm_up_s=0.01)
    core = Machine(step_s)
    call = measure({"": core.call("", seconds)}, plan, core.clocks)[""]
    work = core.call("", seconds)
    stream = measure_stream({"": lambda sample: work()}, range(50), plan, core.clocks)[""]
    for found in (call, stream):
        assert (found.refused, found.contended, found.repeated) == ("", False, 0)
        assert found.value_s == pytest.approx(seconds) and found.upper_95_s == pytest.approx(seconds)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux to stay on one core")
def test_a_stream_and_its_call_agree_beside_three_busy_processes_on_the_same_core() -> None:
    cores = os.sched_getaffinity(0)
    values = np.random.default_rng(0).normal(size=1000)

    def work(sample: object = None) -> object:
        return np.sort(values)

    plan = Plan(blocks=3, block_s=0.05, warm_up_s=0.02)
    os.sched_setaffinity(0, {min(cores)})
    busy = [subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]) for _ in range(3)]
    try:
        call = measure({"": work}, plan)[""]
        stream = measure_stream({"": work}, [None] * 300, plan)[""]
    finally:
        for process in busy:
            process.kill()
            process.wait()
        os.sched_setaffinity(0, cores)
    assert call.refused or stream.refused or stream.value_s == pytest.approx(call.value_s, rel=0.05)


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


def test_garbage_is_not_collected_meanwhile_and_is_afterwards() -> None:
    seen = []
    machine = Machine()
    call = machine.call("net", 0.02)

    def watched() -> None:
        seen.append(gc.isenabled())
        call()

    def fails() -> None:
        raise KeyError("net")

    measure({"net": watched}, PLAN, machine.clocks)
    assert not any(seen)
    assert gc.isenabled()
    with pytest.raises(KeyError):
        measure({"net": fails}, PLAN, machine.clocks)
    assert gc.isenabled()


def test_real_clocks_give_finite_readings() -> None:
    values = np.random.default_rng(0).normal(size=2000)
    plan = Plan(blocks=3, block_s=0.02, warm_up_s=0.01, repeats=1)
    result = measure({"sort": lambda: np.sort(values)}, plan)["sort"]
    assert (result.wall_s > 0).all()
    assert (result.cpu_s > 0).all()
    assert result.calls > 1
    assert result.median_s <= result.upper_95_s < np.inf


@pytest.mark.parametrize(
    ("seconds", "calls", "readings"),
    [
        (3e-6, 134, 498),  # 0.2 s in readings of at least 0.4 ms
        (3e-4, 2, 333),
        (1e-3, 1, 200),
        (1.0, 1, 11),  # a block takes longer than planned rather than have too few readings
        (0.0, 4001, 500),  # a clock too coarse to see the call
    ],
)
def test_readings_fill_a_block(seconds: float, calls: int, readings: int) -> None:
    assert Plan().calls_and_readings(seconds) == (calls, readings)
