"""Which exits to keep: every subset of one backbone's possible exits, each with its own best thresholds.

Exact in the exits for fixed heads. What an exit costs is paid by every sample that passes it, so an exit that is hardly
used makes a network slower, and the best subset is rarely the largest.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas.exits.cross_fit import folds, without
from nas.exits.frontier import expected_s, frontier
from nas.exits.levels import Levels
from nas.exits.scores import Scores
from nas.exits.thresholds import Policies, Policy, exit_index

MOST_SUBSETS = 5000
POLISHED = 32
QUICK_SWEEPS = 2


@dataclass(frozen=True, slots=True)
class Placement:
    """The early exits kept, as positions in order; the costs of leaving at each and at the final one; the policy."""

    positions: tuple[int, ...]
    cumulative_s: tuple[float, ...]
    policy: Policy


def cumulative_of(
    positions: Sequence[int], body_s: NDArray[np.float64], head_s: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The cost in seconds [K] of leaving at each of `positions` and at the last one of body_s [P].

    Every head on the way is paid, that of the exit that is left at included.
    """
    kept = [*positions, len(body_s) - 1]
    cumulative: NDArray[np.float64] = body_s[kept] + np.cumsum(head_s[kept])
    return cumulative


def best_placement(
    found: Scores,
    body_s: ArrayLike,
    head_s: ArrayLike,
    budget_s: float,
    kmax: int,
    doubt: float = 0.0,
) -> Placement | None:
    """The most accurate subset of early exits within budget_s seconds, the cheapest if several are equal.

    `found` are the scores [n, P] of heads at all P positions of which the last is the final exit; body_s [P] is the
    cost of the body up to each position, head_s [P] of each exit: its head, its decision and the call that continues;
    kmax is the largest number of early exits; `doubt` as in `Policies.of`. All subsets are ranked by a short
    search for thresholds, and the best POLISHED by the full one. None if no subset keeps the budget.
    Raises ValueError for more than MOST_SUBSETS subsets.
    """
    scores, right = np.asarray(found.confidence), np.asarray(found.correct).astype(np.bool_)
    body, head = np.asarray(body_s, dtype=np.float64), np.asarray(head_s, dtype=np.float64)
    early = len(body) - 1
    number = sum(math.comb(early, size) for size in range(min(kmax, early) + 1))
    if number > MOST_SUBSETS:
        raise ValueError(
            f"{early} positions with up to {kmax} exits have {number} subsets, more than {MOST_SUBSETS}: lower kmax"
        )
    levels = Levels.of(scores, right, doubt, found.weights)
    ranked: list[tuple[float, float, tuple[int, ...]]] = []
    for positions in _subsets(early, kmax):
        cumulative = cumulative_of(positions, body, head)
        if cumulative[0] <= budget_s:
            _, counts, _, worth = frontier(levels.subset(positions), cumulative, QUICK_SWEEPS)
            cost = expected_s(counts, cumulative)
            row = int(np.searchsorted(cost, budget_s, side="right")) - 1
            ranked.append((-float(worth[row]), float(cost[row]), positions))
    best: tuple[float, float] | None = None
    placed: Placement | None = None
    for _, _, positions in sorted(ranked)[:POLISHED]:
        cumulative = cumulative_of(positions, body, head)
        kept = [*positions, early]
        policies = Policies.of(scores[:, kept], right[:, kept], cumulative, doubt, found.weights)
        if (at := policies.row(budget_s)) is not None:
            order = -float(policies.worth[at]), float(policies.expected_s[at])
            if best is None or order < best:
                best, placed = order, Placement(positions, tuple(cumulative.tolist()), policies.at(at))
    return placed


def placed_answers(
    found: Scores, body_s: ArrayLike, head_s: ArrayLike, budget_s: float, kmax: int, doubt: float = 0.0
) -> NDArray[np.bool_]:
    """Which images [n] are answered rightly where exits are placed, and thresholds solved, on the other folds.

    What the placement on all images is worth: the best of many subsets looks better than it is where it was chosen.
    Arguments as of `best_placement`, of which the budget is one that some subset keeps.
    """
    right = np.empty(len(found.correct), np.bool_)
    for held in folds(found):
        rest = without(found, held)
        best = best_placement(rest, body_s, head_s, budget_s, kmax, doubt)
        if best is None:
            raise AssertionError("whether a subset keeps the budget does not depend on the images")
        kept = np.array([*best.positions, found.correct.shape[1] - 1])
        leaving = kept[exit_index(best.policy.thresholds, found.confidence[held][:, kept])]
        right[held] = found.correct[held][np.arange(len(leaving)), leaving]
    return right


def _subsets(early: int, kmax: int) -> Iterator[tuple[int, ...]]:
    for size in range(min(kmax, early) + 1):
        yield from combinations(range(early), size)
