from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from nas.exits import placement
from nas.exits.placement import best_placement, cumulative_of
from nas.exits.scores import Scores
from nas.exits.thresholds import Policies, evaluate

Network = Callable[..., tuple[Any, Any, Any]]


def test_every_head_on_the_way_is_paid() -> None:
    body, head = np.array([1.0, 2.0, 4.0, 8.0]), np.array([0.1, 0.2, 0.4, 0.8])
    assert cumulative_of((), body, head).tolist() == [8.8]
    assert cumulative_of((1,), body, head) == pytest.approx([2.2, 9.0])
    assert cumulative_of((0, 2), body, head) == pytest.approx([1.1, 4.5, 9.3])


def best_by_hand(scores: Any, right: Any, body: Any, head: Any, budget: float, kmax: int) -> float:
    early, best = len(body) - 1, -1.0
    for size in range(kmax + 1):
        for kept in combinations(range(early), size):
            columns = [*kept, early]
            policy = Policies.of(scores[:, columns], right[:, columns], cumulative_of(kept, body, head)).best(budget)
            best = max(best, policy.accuracy if policy else -1.0)
    return best


@pytest.mark.parametrize("kmax", [0, 1, 2, 4])
@pytest.mark.parametrize("budget", [1.5, 3.0, 4.5, 6.0])
def test_the_best_of_all_subsets_is_found(network: Network, kmax: int, budget: float) -> None:
    scores, right, _ = network(200, 5)
    body, head = np.arange(1.0, 6.0), np.array([0.35] * 4 + [0.3])
    found = best_placement(Scores(scores, right), body, head, budget, kmax)
    wanted = best_by_hand(scores, right, body, head, budget, kmax)
    if found is None:
        assert wanted == -1
        return
    assert found.policy.accuracy == wanted
    assert len(found.positions) <= kmax
    columns = [*found.positions, 4]
    assert evaluate(found.policy.thresholds, scores[:, columns], right[:, columns], found.cumulative_s) == found.policy
    assert found.cumulative_s == tuple(cumulative_of(found.positions, body, head))
    assert found.policy.expected_s <= budget


def test_the_short_search_ranks_the_best_subset_high_enough(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    scores, right, _ = network(400, 8, 2)
    body, head = np.arange(1.0, 9.0), np.array([0.25] * 7 + [0.2])
    found = best_placement(Scores(scores, right), body, head, 4.0, 3)
    monkeypatch.setattr(placement, "POLISHED", 10_000)
    exact = best_placement(Scores(scores, right), body, head, 4.0, 3)
    assert found is not None
    assert exact is not None
    assert found.policy.accuracy >= exact.policy.accuracy - 1 / 400


def test_dearer_heads_leave_fewer_exits(network: Network) -> None:
    scores, right, _ = network(600, 6)
    body = np.arange(1.0, 7.0)
    kept = []
    for head in (0.0, 0.4, 3.0):
        found = best_placement(Scores(scores, right), body, np.full(6, head), 3.6 + head, 5)
        kept.append(len(found.positions) if found else 0)
    assert kept[0] > kept[1] >= kept[2]


def test_nothing_fits_and_everything_fits(network: Network) -> None:
    scores, right, _ = network(100, 4)
    body, head = np.arange(1.0, 5.0), np.full(4, 0.1)
    assert best_placement(Scores(scores, right), body, head, 1.0, 3) is None
    free = best_placement(Scores(scores, right), body, head, math.inf, 3)
    assert free is not None
    assert free.policy.accuracy >= right[:, -1].mean()


def test_an_exit_that_gains_nothing_is_left_out(network: Network) -> None:
    scores, right, _ = network(300, 3)
    scores[:, 0] = 0.5  # parts nobody from anybody
    right[:, 0] = False
    found = best_placement(Scores(scores, right), np.array([1.0, 2.0, 3.0]), np.full(3, 0.1), math.inf, 2)
    assert found is not None
    assert 0 not in found.positions


def test_too_many_subsets_are_refused(network: Network) -> None:
    scores, right, _ = network(10, 21)
    with pytest.raises(ValueError, match="20 positions with up to 8 exits have 263950 subsets"):
        best_placement(Scores(scores, right), np.arange(1.0, 22.0), np.zeros(21), math.inf, 8)
