"""Metrics against SciPy and against numbers worked out by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from latency_models import metrics

PREDICTED = np.array([1.0, 2.2, 2.8, 4.0, 9.0])
MEASURED = np.array([1.0, 2.0, 3.0, np.nan, 10.0])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 5)), min_size=3, max_size=30))
def test_correlations_are_scipys_with_ties(pairs: list[tuple[int, int]]) -> None:
    left, right = np.array(pairs, float).T
    if np.ptp(left) == 0 or np.ptp(right) == 0:
        assert np.isnan(metrics.spearman(left, right)) and np.isnan(metrics.kendall(left, right))
        return
    assert metrics.spearman(left, right) == pytest.approx(stats.spearmanr(left, right).statistic, abs=1e-12)
    assert metrics.kendall(left, right) == pytest.approx(stats.kendalltau(left, right).statistic, abs=1e-12)


def test_what_was_not_measured_does_not_count() -> None:
    assert metrics.spearman(PREDICTED, MEASURED) == 1
    assert metrics.median_relative_error(PREDICTED, MEASURED) == pytest.approx((1 / 15 + 0.1) / 2)
    assert metrics.within(PREDICTED, MEASURED, 0.08) == pytest.approx(0.5)
    assert metrics.coverage(PREDICTED - 0.5, PREDICTED + 0.5, MEASURED) == pytest.approx(0.75)


def test_nothing_measured_is_nan() -> None:
    nothing = np.full(3, np.nan)
    some = np.ones(3)
    for value in (
        metrics.spearman(some, nothing),
        metrics.kendall(some, nothing),
        metrics.median_relative_error(some, nothing),
        metrics.within(some, nothing),
        metrics.coverage(some, some, nothing),
        metrics.interval_width(some, some, nothing),
        metrics.interval_score(some, some, nothing),
    ):
        assert np.isnan(value)


def test_a_reading_of_zero_is_predicted_by_zero_alone() -> None:
    assert metrics.within(np.array([0.0, 1.0]), np.zeros(2)) == 0.5


def test_interval_width_and_score() -> None:
    low, high = np.array([1.0, 1.0, 4.0]), np.array([3.0, 2.0, 5.0])
    measured = np.array([2.0, 2.5, 3.0])
    assert metrics.interval_width(low, high, measured) == pytest.approx(4 / 3 / 2.5)
    # Twice over the tail outside: (2 + (1 + 20 * 0.5) + (1 + 20 * 1)) / 3, over the median.
    assert metrics.interval_score(low, high, measured) == pytest.approx(34 / 3 / 2.5)


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match=r"shape \(2,\) and measurements \(3,\)"):
        metrics.spearman(np.ones(2), np.ones(3))
