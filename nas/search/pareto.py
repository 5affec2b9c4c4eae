"""Pareto dominance for minimisation: ranks under constraint domination, crowding distance, front, hypervolume.

Constraint domination and crowding follow Deb, Pratap, Agarwal and Meyarivan, "A fast and elitist multiobjective genetic
algorithm: NSGA-II" (IEEE TEVC 2002); sorting of feasible points and hypervolumes are moocore's.
"""

from __future__ import annotations

from typing import Any

import moocore
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]


def pareto_rank(values: Floats, violation: Floats | None = None) -> NDArray[np.int64]:
    """Rank points [n, m] from 0, the best, by constraint domination; violation [n] is 0 for feasible points.

    Feasible points are sorted into non-dominated fronts; behind them come the infeasible ones by violation alone, equal
    violations sharing a rank, so that their values may be anything. Equal points have equal ranks.
    """
    total = np.zeros(len(values)) if violation is None else violation
    feasible = total <= 0
    ranks = np.empty(len(values), dtype=np.int64)
    if feasible.any():
        ranks[feasible] = moocore.pareto_rank(np.asarray(values[feasible], dtype=np.float64))
    fronts = ranks[feasible].max(initial=-1) + 1
    ranks[~feasible] = fronts + np.unique(total[~feasible], return_inverse=True)[1]
    return ranks


def crowding_distance(values: Floats, ranks: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return how much room each point [n, m], finite, has within its rank [n]: inf at the ends of a front.

    Per objective the distance between the two neighbours, over the front's range. Among equal points of a rank one
    has the distance and the others 0: copies add nothing to a front.
    """
    _, firsts = np.unique(np.column_stack((ranks, values)), axis=0, return_index=True)
    points, rank = np.asarray(values, dtype=np.float64)[firsts], ranks[firsts]
    distance = np.zeros(len(points))
    for column in range(points.shape[1]):
        # Ties stay as np.unique sorted them, whatever the order of the input was.
        order = np.lexsort((points[:, column], rank))
        sorted_rank, sorted_value = rank[order], points[order, column]
        starts = np.flatnonzero(np.diff(sorted_rank, prepend=-1))
        lengths = np.diff(starts, append=len(order))
        span = np.repeat(sorted_value[starts + lengths - 1] - sorted_value[starts], lengths)
        gap = np.zeros(len(order))
        gap[1:-1] = sorted_value[2:] - sorted_value[:-2]
        gap = np.divide(gap, span, out=np.zeros(len(order)), where=span > 0)
        gap[starts] = np.inf
        gap[starts + lengths - 1] = np.inf
        distance[order] += gap
    result = np.zeros(len(values))
    result[firsts] = distance
    return result


def pareto_front(values: Floats, violation: Floats | None = None) -> NDArray[np.bool_]:
    """Mark the feasible points of [n, m] that no feasible point dominates; equal points are marked together."""
    mask = np.ones(len(values), dtype=np.bool_) if violation is None else violation <= 0
    if mask.any():
        mask[mask] = moocore.is_nondominated(np.asarray(values[mask], dtype=np.float64), keep_weakly=True)
    return mask


def reference_point(*fronts: Floats) -> NDArray[np.float64]:
    """Return the worst value [m] of each objective in all `fronts` [n, m], made worse by a tenth of its range.

    Hypervolumes are comparable only under one reference, so all fronts that are compared go in together.
    """
    union = np.concatenate(fronts)
    worst: NDArray[np.float64] = union.max(axis=0) + 0.1 * np.ptp(union, axis=0)
    return worst


def hypervolume(values: Floats, reference: Floats) -> float:
    """Return the volume that points [n, m] dominate up to `reference` [m]; points beyond it add nothing."""
    if len(values) == 0:
        return 0.0
    return float(moocore.hypervolume(np.asarray(values, dtype=np.float64), ref=np.asarray(reference, dtype=np.float64)))
