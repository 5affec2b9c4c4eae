"""Measuring on clocks that the test turns: what is called, when, and what is done about contention."""

from __future__ import annotations

import gc
import math

import numpy as np
import pytest

from nas.devices.timing.bounds import upper_95_s
from nas.devices.timing.measuring import measure, measure_stream
from nas.devices.timing.plan import Plan
from tests.nas.devices.timing.machines import PLAN, Machine


def test_a_quiet_machine_gives_the_time_of_the_call() -> None:
    machine = Machine()
    result = measure({"net": machine.call("net", 0.02)}, PLAN, machine.clocks)["net"]
    assert result.wall_s.shape == (3, 25)
    assert result.median_s == pytest.approx(0.02)
    assert 0.02 < upper_95_s(result) < 0.0205
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
        assert upper_95_s(result) == math.inf


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
    assert result.median_s <= upper_95_s(result) < np.inf


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
