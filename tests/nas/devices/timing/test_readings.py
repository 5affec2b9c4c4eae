"""Bounds of medians and means, against the binomial and against chance."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom, t

from nas.devices.timing.bounds import median_bound, t_bound, upper_95_s
from nas.devices.timing.readings import Readings
from nas.tolerances import REPEATABILITY


def readings(wall: object, **other: object) -> Readings:
    wall_s = np.asarray(wall, np.float64)
    return Readings(wall_s, np.asarray(other.pop("cpu", wall_s), np.float64), **other)


@pytest.mark.parametrize("n", [5, 6, 11, 100, 1001])
def test_the_bound_is_the_smallest_order_statistic_that_covers(n: int) -> None:
    """Of n values 1..n, value k is at least the median of their distribution if at most k - 1 values lie below it."""
    k = int(median_bound(np.random.default_rng(n).permutation(n) + 1.0))
    assert binom.cdf(k - 1, n, 0.5) >= 0.95
    assert binom.cdf(k - 2, n, 0.5) < 0.95


@pytest.mark.parametrize("n", [1, 4])
def test_too_few_readings_bound_nothing(n: int) -> None:
    assert median_bound(np.ones(n)) == math.inf


def test_the_bound_holds_as_often_as_promised() -> None:
    rng = np.random.default_rng(0)
    covered = [median_bound(rng.exponential(size=30)) >= math.log(2) for _ in range(2000)]
    # The true share is binom.cdf of the rank, 0.951 for n = 30; 4 standard errors of 2000 draws are 0.02.
    assert 0.93 <= np.mean(covered) <= 0.98


def test_few_blocks_are_bounded_by_students_t() -> None:
    values = np.array([1.0, 2.0, 3.0])
    assert t_bound(values) == pytest.approx(2 + t.ppf(0.95, 2) / math.sqrt(3))
    assert t_bound(values[:1]) == math.inf


def beside(value_s: float, within_s: float, statistic: str = "median") -> float:
    """A bound within a measurement, and how well measurements repeat: independent errors."""
    return value_s + math.hypot(within_s - value_s, 1.6449 * REPEATABILITY[statistic] * value_s)


def test_what_shows_between_measurements_only_is_in_the_bound() -> None:
    """Readings that do not scatter at all are not known to the last digit."""
    for statistic, std in REPEATABILITY.items():
        still = readings([[2.0] * 100] * 3, statistic=statistic)
        assert upper_95_s(still) == pytest.approx(2 * (1 + 1.6449 * std), rel=1e-5)


def test_the_larger_of_the_two_bounds_counts() -> None:
    quiet_blocks = readings([[1.0, 2.0, 3.0] * 20] * 3)
    assert t_bound(quiet_blocks.blocks_s) == pytest.approx(2.0)
    assert median_bound(quiet_blocks.wall_s.ravel()) == 2.0
    assert upper_95_s(quiet_blocks) == pytest.approx(beside(2.0, 2.0), rel=1e-5)
    drifting = readings([[1.0] * 50, [1.1] * 50, [1.2] * 50])
    assert upper_95_s(drifting) == pytest.approx(beside(1.1, t_bound(np.array([1.0, 1.1, 1.2]))), rel=1e-5)
    assert upper_95_s(drifting) > 1.2


def test_fewer_than_three_blocks_keep_no_budget() -> None:
    assert upper_95_s(readings([[1.0] * 100] * 2)) == math.inf
    assert upper_95_s(readings([[1.0] * 100] * 3)) == pytest.approx(beside(1.0, 1.0), rel=1e-5)


def test_cpu_time_decides_where_the_core_was_contended() -> None:
    wall, cpu = [[3.0] * 20] * 3, [[1.0] * 20] * 3
    assert readings(wall, cpu=cpu).median_s == 3.0
    contended = readings(wall, cpu=cpu, contended=True)
    assert contended.median_s == 1.0
    assert upper_95_s(contended) == pytest.approx(beside(1.0, 1.0), rel=1e-5)


def test_readings_that_are_refused_bound_nothing_and_are_not_corrected() -> None:
    """The wall time stands in: it is too long, if anything."""
    wall, cpu = [[3.0] * 20] * 3, [[np.nan] * 20] * 3
    refused = readings(wall, cpu=cpu, contended=True, cpu_per_reading=False, refused="the core was busy")
    assert refused.value_s == 3.0 and upper_95_s(refused) == math.inf


def test_a_stream_is_judged_by_its_mean() -> None:
    """Half of the samples leave early; the median would say nothing of the others."""
    stream = readings([[1.0, 9.0] * 50] * 3, statistic="mean")
    assert stream.value_s == 5.0
    wanted = beside(5.0, t_bound(np.array([1.0, 9.0] * 50)), "mean")
    assert 5.0 < upper_95_s(stream) < 6.0 and upper_95_s(stream) == pytest.approx(wanted, rel=1e-5)


def test_a_reference_that_moved_says_that_the_machine_did() -> None:
    assert readings([[1.0, 2.0]] * 3, reference_s=0.5, drift=0.2).drifted
    assert not readings([[1.0, 2.0]] * 3, reference_s=0.5).drifted


def test_arrays_that_do_not_match_are_refused() -> None:
    with pytest.raises(ValueError, match="blocks"):
        Readings(np.ones((3, 2)), np.ones((3, 3)))
