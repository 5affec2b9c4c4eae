"""Taus and regrets of scores against accuracies that are known."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.ranking import Compared, best_half, chosen_accuracy, difference, regrets, tau

ACCURACY = np.array([10.0, 90.0, 80.0, 94.0, 93.0])
ALL = np.ones(5, np.bool_)


def test_tau_counts_pairs_in_order_and_equal_scores_rank_nothing() -> None:
    assert tau(ACCURACY, ACCURACY) == pytest.approx(1) and tau(-ACCURACY, ACCURACY) == pytest.approx(-1)
    # One of ten pairs the wrong way round.
    assert tau(np.array([1.0, 3.0, 2.0, 4.0, 5.0]), ACCURACY) == pytest.approx(0.8)
    assert tau(np.zeros(5), ACCURACY) == 0.0


def test_the_best_half_is_that_of_the_accuracies() -> None:
    assert best_half(ACCURACY).tolist() == [False, True, False, True, True]


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_better_ranking_is_told_from_a_worse_one_and_not_from_itself(seeds: int) -> None:
    rng = np.random.default_rng(0)
    found = []
    for _ in range(seeds):
        accuracy = rng.normal(size=200)
        good, bad = accuracy + rng.normal(size=200), accuracy + 4 * rng.normal(size=200)
        found.append(Compared(good, bad, accuracy))
    middle, low, high = difference(found, 100)
    assert 0 < low < middle < high
    assert difference([Compared(one.base, one.base, one.accuracy) for one in found], 10) == (0.0, 0.0, 0.0)


def test_the_choice_is_the_best_score_within_and_equal_scores_share_it() -> None:
    scores = np.array([9.0, np.nan, 1.0, 1.0, 0.0])
    assert chosen_accuracy(scores, ACCURACY, ALL) == 10.0
    assert chosen_accuracy(scores, ACCURACY, np.arange(5) > 0) == pytest.approx((80 + 94) / 2)
    nothing_known = np.arange(5) == 1
    assert chosen_accuracy(scores, ACCURACY, nothing_known) == 90.0


def test_regret_is_against_the_best_within_each_budget_judged_or_not() -> None:
    within = np.stack([ALL, np.arange(5) < 3])
    assert regrets(ACCURACY, ACCURACY, within).tolist() == [0.0, 0.0]
    assert regrets(np.array([np.nan, np.nan, 1.0, np.nan, 0.0]), ACCURACY, within).tolist() == [14.0, 10.0]
