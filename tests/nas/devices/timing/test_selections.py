"""What is known of some readings and used on others: a core that is busy beside these makes nothing faster than it is.

`docs/latency.md` has the list; the tests of what is decided from readings stand beside what decides.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hardware_profiles import Target
from nas.devices import kernel_table
from nas.devices.kernel_table import kernel_seconds
from nas.devices.timing import measuring
from nas.devices.timing.bounds import upper_95_s
from nas.devices.timing.measuring import measure, measure_together
from nas.devices.timing.plan import Plan, SinglePlan
from nas.devices.timing.readings import Readings
from nas.devices.timing.single_calls import SingleJob, single_calls
from nas.errors import InputError
from search_spaces.ir import Builder, Network
from tests.nas.devices.timing.machines import PLAN, Busy, Machine


@pytest.mark.parametrize("waiting", ["call", "stream", "reference"])
def test_who_waited_says_nothing_of_what_is_measured_beside_it(waiting: str) -> None:
    machine = Machine()

    def work(name: str) -> Callable[[], None]:
        return machine.call(name, 0.02, lambda n: 0.01 if name == waiting else 0.0)

    def over_samples(name: str) -> Callable[[int], None]:
        call = work(name)
        return lambda sample: call()

    found = measure_together(
        {name: work(name) for name in ("call", "other")},
        {name: over_samples(name) for name in ("stream", "another")},
        range(20),
        PLAN,
        machine.clocks,
        work("reference"),
    )
    for name, readings in found.items():
        assert readings.contended == (name == waiting) and not readings.drifted
        assert readings.value_s == pytest.approx(0.02, rel=1e-6)


@pytest.mark.parametrize("busy", [(True, False, False), (False, True, True), (True, True, True)])
def test_blocks_on_a_busy_core_are_not_mixed_with_the_wall_time_of_others(busy: tuple[bool, ...]) -> None:
    """Where one block that counts was contended, all count by the CPU time of their own readings."""
    machine = Machine()
    plan = Plan(blocks=3, block_s=0.2, warm_up_s=0.0, reading_s=0.01, min_readings=5, repeats=0)
    begin = 3  # the warm-up's calls
    # A block that looks for undisturbed readings takes three times as many.
    ends = np.cumsum([30 if each else 10 for each in busy]) + begin

    def stolen(n: int) -> float:
        block = int(np.searchsorted(ends, n, side="right"))
        return 0.03 if n >= begin and block < 3 and busy[block] else 0.0

    found = measure({"": machine.call("", 0.02, stolen)}, plan, machine.clocks)[""]
    assert found.contended and found.value_s == pytest.approx(0.02, rel=1e-6)
    assert upper_95_s(found) == pytest.approx(0.02, rel=0.03)


@pytest.mark.parametrize("step_s", [1e-9, 4e-3])
def test_a_probe_that_learned_what_is_quiet_on_a_shared_core_makes_nothing_faster(step_s: float) -> None:
    learned = Machine(step_s, shared=lambda wall_s: True)
    assert learned.clocks.probe is not None
    clocks = learned.clocks
    busy = measure({"": learned.call("", 0.02)}, PLAN, clocks)[""]
    assert busy.value_s == pytest.approx(0.036) and upper_95_s(busy) >= 0.036
    learned.shared = lambda wall_s: False
    quiet = measure({"": learned.call("", 0.02)}, PLAN, clocks)[""]
    assert quiet.value_s == pytest.approx(0.02) and upper_95_s(quiet) >= 0.02


@pytest.mark.parametrize("seconds", [60e-6, 1e-3])
def test_single_calls_are_not_corrected_by_what_was_found_of_the_warm_loop(seconds: float) -> None:
    """The percentiles beside a bound count every call by the wall clock, and the core is busy three quarters of it."""
    core = Busy()
    loop = measure({"": core.work(seconds)}, Plan(blocks=3, block_s=0.05, warm_up_s=0.01), core.clocks)[""]
    assert not loop.contended and loop.value_s == pytest.approx(seconds, rel=0.01)
    work = core.work(seconds)
    job = SingleJob(lambda sample: work(), [None], SinglePlan(blocks=1, calls=1000, block_s=60))
    calls = single_calls({"": job}, Plan(warm_up_s=0.0), core.clocks)[""].seconds
    assert calls.size == 1000 and calls.mean() == pytest.approx(4 * seconds, rel=0.1)


EMPTY_S, KERNEL_S = 10e-6, 5e-6


def _told(empties: list[list[float]], refused: str = "") -> Any:
    """Answers for `measure`: kernels of 5 us in calls of 10, and empty calls that took so long, block by block."""
    waiting = iter(empties)

    def told(calls: dict[str, Any], plan: Plan) -> dict[str, Readings]:
        found = {}
        for name in calls:
            blocks = next(waiting) if name == "0" else [EMPTY_S + KERNEL_S] * 3
            wall_s = np.repeat(np.array(blocks)[:, None], 4, axis=1)
            found[name] = Readings(wall_s, wall_s, refused=refused if name == "1" else "")
        return found

    return told


def _kernels(n: int) -> list[Network]:
    b = Builder()
    return [b.network(b("relu", "relu", b.input("x", (8,))))] * n


@pytest.mark.parametrize(
    "empties",
    [
        [[EMPTY_S] * 3] * 2,
        [[3 * EMPTY_S, EMPTY_S, EMPTY_S], [EMPTY_S] * 3],
        [[3 * EMPTY_S, 2 * EMPTY_S, EMPTY_S], [3 * EMPTY_S] * 3],
        [[EMPTY_S] * 3, [1.3 * EMPTY_S] * 3],
    ],
)
def test_an_empty_call_on_a_busy_core_makes_no_kernel_faster(
    empties: list[list[float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_table, "_TOGETHER", 2)
    monkeypatch.setattr(measuring, "measure", _told(empties))
    assert kernel_seconds(_kernels(4), Target("host", "onnxruntime")) == pytest.approx([KERNEL_S] * 4)


def test_kernels_that_cannot_be_measured_are_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "measure", _told([[EMPTY_S] * 3], "the core was busy in 3 of 3 blocks"))
    with pytest.raises(InputError, match="cannot be measured: the core was busy in 3 of 3 blocks; end other programs"):
        kernel_seconds(_kernels(1), Target("host", "onnxruntime"))


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux to stay on one core")
def test_percentiles_of_single_calls_see_busy_processes_that_the_median_of_the_loop_leaves_out() -> None:
    cores = os.sched_getaffinity(0)
    values = np.random.default_rng(0).normal(size=5_000)

    def work(sample: object = None) -> object:
        return np.sort(values)

    os.sched_setaffinity(0, {min(cores)})
    busy = [subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]) for _ in range(2)]
    try:
        loop = measure({"": work}, Plan(blocks=3, block_s=0.03, warm_up_s=0.02))[""]
        job = SingleJob(work, [None], SinglePlan(calls=700, block_s=0.3))
        calls = single_calls({"": job}, Plan(warm_up_s=0.02))[""].seconds
    finally:
        for process in busy:
            process.kill()
            process.wait()
        os.sched_setaffinity(0, cores)
    assert loop.refused or calls.max() > 1.5 * loop.value_s
    assert not math.isnan(calls.sum()) and (calls > 0).all()
