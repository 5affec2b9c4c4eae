"""What thresholds are worth on other images: exits without information gain nothing, real ones what they give."""

from __future__ import annotations

import numpy as np
import pytest

from nas.exits.cross_fit import DOUBT, FOLDS, CrossFitted, cross_fitted, folds
from nas.exits.placement import best_placement, placed_answers
from nas.exits.scores import Scores
from nas.exits.thresholds import Policies, exit_index, last_exit

COST = np.array([0.4, 0.7, 1.0])


def useless(n: int, exits: int, rng: np.random.Generator) -> Scores:
    """Exits that are as good as the last one, and say nothing about when they are right."""
    base, other = rng.random((n, 1)) < 0.9, rng.random((n, exits)) < 0.9
    return Scores(rng.random((n, exits)), np.where(rng.random((n, exits)) < 0.3, other, base))


@pytest.mark.parametrize(("n", "draws"), [(300, 60), (1000, 25)])
@pytest.mark.parametrize("limit", [1.0, 0.75])
def test_useless_exits_gain_nothing_on_average_where_they_did(n: int, draws: int, limit: float) -> None:
    rng = np.random.default_rng(n)
    naive, fitted = [], []
    for _ in range(draws):
        found = useless(n, 3, rng)
        best = Policies.of(found.confidence, found.correct, COST).best(limit)
        judged = CrossFitted.of(found, COST).best(limit)
        assert best is not None and judged is not None
        naive.append(best.accuracy - 0.9)
        fitted.append(judged[0].accuracy - 0.9)
    error = np.std(fitted) / np.sqrt(draws)
    assert abs(np.mean(fitted)) < 3 * error
    assert np.mean(naive) > np.mean(fitted) + 3 * error, "there was nothing to mend"


def test_placed_exits_gain_nothing_on_average_where_they_did() -> None:
    rng = np.random.default_rng(5)
    body, head, naive, fitted = np.linspace(0.1, 1, 5), np.full(5, 0.02), [], []
    for _ in range(40):
        found = useless(200, 5, rng)
        best = best_placement(found, body, head, 0.7, 1, DOUBT)
        assert best is not None
        naive.append(best.policy.accuracy - 0.9)
        fitted.append(placed_answers(found, body, head, 0.7, 1, DOUBT).mean() - 0.9)
    error = np.std(fitted) / np.sqrt(len(fitted))
    assert abs(np.mean(fitted)) < 3 * error
    assert np.mean(naive) > np.mean(fitted) + 3 * error, "there was nothing to mend"


def test_nobody_is_judged_by_thresholds_that_saw_it() -> None:
    found = useless(103, 3, np.random.default_rng(0))
    judged = CrossFitted.of(found, COST).best(0.8)
    assert judged is not None
    held = list(folds(found))
    assert len(held) == FOLDS and np.sum(held, axis=0).tolist() == [1] * 103
    for number, mask in enumerate(held):
        changed = Scores(found.confidence, found.correct ^ mask[:, None])
        again = CrossFitted.of(changed, COST).best(0.8)
        assert again is not None
        leaving = exit_index(CrossFitted.of(found, COST).parts[number].best(0.8).thresholds, found.confidence[mask])
        assert (judged[1][mask] == found.correct[mask][np.arange(mask.sum()), leaving]).all()
        assert (again[1][mask] == ~judged[1][mask]).all(), "the labels of a fold decide about its own thresholds"


def test_with_one_exit_it_is_the_share_of_right_answers() -> None:
    found = useless(50, 1, np.random.default_rng(0))
    judged = CrossFitted.of(found, COST[:1]).best(1.0)
    assert judged is not None and (judged[1] == found.correct[:, 0]).all()
    assert CrossFitted.of(found, COST[:1]).best(0.3) is None


def test_any_way_of_solving_is_judged_on_others() -> None:
    found = useless(100, 3, np.random.default_rng(1))
    right = cross_fitted(found, lambda part: last_exit(part.correct, COST))
    assert (right == found.correct[:, -1]).all()


def test_where_the_last_exit_is_within_the_limit_leaving_early_has_to_be_better_beyond_doubt() -> None:
    rng = np.random.default_rng(3)
    correct = rng.random((400, 2)) < 0.9
    correct[:, 0] = correct[:, 1]
    correct[:3, 0] = ~correct[:3, 1]
    sure = np.linspace(1, 0, 400)
    confidence = np.column_stack((sure, sure))
    early = Policies.of(confidence, correct, COST[[0, 2]], DOUBT).best(1.0)
    assert early is not None and early.rates == (0.0, 1.0)
    correct[:40, 0], correct[:40, 1] = True, False
    early = Policies.of(confidence, correct, COST[[0, 2]], DOUBT).best(1.0)
    assert early is not None and early.rates[0] >= 0.1
