"""A core that others use: a stream of equal calls takes as long as the call, or the readings are refused."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from nas.devices.timing.bounds import upper_95_s
from nas.devices.timing.measuring import measure, measure_stream
from nas.devices.timing.plan import Plan
from tests.nas.devices.timing.machines import Busy, Machine


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
        assert found.value_s == pytest.approx(seconds) and upper_95_s(found) == pytest.approx(seconds, rel=0.04)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux to stay on one core")
def test_a_stream_and_its_call_agree_beside_three_busy_processes_on_the_same_core() -> None:
    cores = os.sched_getaffinity(0)
    values = np.random.default_rng(0).normal(size=20_000)

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
    # That they agree within 5 % is held above, on clocks that obey, and by benchmarks/readings.py. A real core's caches
    # and frequency change between the two; waiting, wrongly counted, would be a factor of three to five.
    assert call.refused or stream.refused or stream.value_s == pytest.approx(call.value_s, rel=0.3)
