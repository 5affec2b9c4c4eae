"""Seconds up to an exit, expected seconds and their errors, against hand-computed values."""

import numpy as np
import pytest
from scipy.stats import norm, t

from latency_models.base import Prediction, stack

PREDICTION = stack(
    [np.array([1.0, 2.0, 4.0]), np.array([3.0])],
    [np.diag([0.01, 0.04, 0.09]) + 0.01, np.array([[0.25]])],
)


def test_reach_is_the_running_sum() -> None:
    np.testing.assert_allclose(PREDICTION.cumulative_s(), [[1.0, 3.0, 7.0], [3.0, np.nan, np.nan]])
    np.testing.assert_allclose(PREDICTION.cumulative_s(0), [1, 3])
    np.testing.assert_allclose(PREDICTION.total_s, [7, 3])
    assert PREDICTION.exits.tolist() == [3, 1]


def test_errors_follow_the_joint_covariance() -> None:
    # Variances 0.01 + 0.01, then 0.05 + 4 * 0.01, then 0.14 + 9 * 0.01.
    np.testing.assert_allclose(PREDICTION.cumulative_std_s()[0] ** 2, [0.02, 0.09, 0.23])
    np.testing.assert_allclose(PREDICTION.total_std_s**2, [0.23, 0.25])


def test_expected_seconds_weigh_the_exits() -> None:
    rates = np.array([[0.5, 0.3, 0.2], [1.0, 0.0, 0.0]])
    np.testing.assert_allclose(PREDICTION.expected_s(rates), [0.5 * 1 + 0.3 * 3 + 0.2 * 7, 3])
    # Segments run with probability 1, 0.5 and 0.2; their sum, squared, weighs the common variance of 0.01.
    variance = 0.01 + 0.25 * 0.04 + 0.04 * 0.09 + (1 + 0.5 + 0.2) ** 2 * 0.01
    np.testing.assert_allclose(PREDICTION.expected_std_s(rates) ** 2, [variance, 0.25])


@pytest.mark.parametrize("rates", [[0.5, 0.4, 0.0], [1.5, -0.5, 0.0]])
def test_rates_that_are_no_shares_are_refused(rates: list[float]) -> None:
    prediction = Prediction(PREDICTION.segment_s[:1], PREDICTION.covariance[:1])
    with pytest.raises(ValueError, match="must sum to 1"):
        prediction.expected_s(np.array(rates))


def test_rates_on_a_missing_exit_are_refused() -> None:
    with pytest.raises(ValueError, match="an exit that the network does not have"):
        PREDICTION.expected_s(np.array([0.5, 0.3, 0.2]))


@pytest.mark.parametrize("degrees_of_freedom", [4.0, np.inf])
@pytest.mark.parametrize("rates", [None, np.array([[0.5, 0.3, 0.2], [1.0, 0.0, 0.0]])])
def test_quantiles_and_probabilities_are_one_distribution(
    degrees_of_freedom: float, rates: np.ndarray[tuple[int, int], np.dtype[np.float64]] | None
) -> None:
    prediction = Prediction(PREDICTION.segment_s, PREDICTION.covariance, degrees_of_freedom)
    mean = prediction.total_s if rates is None else prediction.expected_s(rates)
    std = prediction.total_std_s if rates is None else prediction.expected_std_s(rates)
    np.testing.assert_allclose(prediction.quantile_s(0.5, rates), mean)
    for q in (0.05, 0.3, 0.95):
        for row, limit in enumerate(prediction.quantile_s(q, rates)):
            assert prediction.probability_within(float(limit), rates)[row] == pytest.approx(q)
    # The errors are of the logarithm, of which the relative error is the width where it is small.
    away = (t(degrees_of_freedom) if np.isfinite(degrees_of_freedom) else norm()).ppf(0.95)
    width = np.sqrt(np.log1p((std / mean) ** 2))
    np.testing.assert_allclose(prediction.quantile_s(0.95, rates), mean * np.exp(away * width))
    assert (prediction.quantile_s(1e-4, rates) > 0).all()
