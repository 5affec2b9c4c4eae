"""The best policies of a multi-exit network at every cost at once.

Three ways of making thresholds, and a local search over what they made:
* the geometric family of Huang et al., "Multi-scale dense networks for resource efficient image classification" (ICLR
  2018): exit k takes a share proportional to q^k of all samples;
* optimal stopping at a multiplier per second, backwards over the exits: leave where being right now, less the cost so
far,
  is worth more than going on;
* all samples at one exit;
* coordinate ascent on the whole frontier: move one threshold of a policy on it, keep what nothing dominates, repeat.
  A policy that the budget pins to its place is left by a cheaper one and a dearer one in turn.

Nothing here depends on a budget, so one search serves all of them, and a larger budget can never do worse.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nas.exits.levels import ENUMERABLE, Floats, Indices, Levels

GEOMETRIC = 32
MULTIPLIERS = 24
SWEEPS = 6
EXPANDED = 32
STEPS = (1, 2, 4, 8)


def frontier(levels: Levels, cumulative_s: Floats, sweeps: int = SWEEPS) -> tuple[Indices, Indices, Floats, Floats]:
    """The policies [P, K - 1] that nothing found dominates, cheapest first, with counts [P, K], right [P] and worth.

    Cost and worth [P], what right answers count less the doubt of it (`Levels.doubt`), both rise strictly. cumulative_s
    [K] is the cost of leaving at each exit, in seconds. Exact on the grid of levels where that has at most ENUMERABLE
    policies.
    """
    exits, grid = levels.thresholds.shape
    if grid**exits <= ENUMERABLE:
        everything = np.arange(grid**exits)[:, None] // grid ** np.arange(exits) % grid
        return _Found(levels, cumulative_s).add(everything).result()
    found = _Found(levels, cumulative_s).add(seeds(levels, cumulative_s))
    for _ in range(sweeps):
        neighbours = found.neighbours()
        if len(neighbours) == 0:
            break
        found.add(neighbours)
    return found.result()


def seeds(levels: Levels, cumulative_s: Floats) -> Indices:
    """The policies [P, K - 1] that the search starts from."""
    exits, grid = levels.thresholds.shape
    # All at exit k: never before it, always there; what the exits behind it do is then the same for all.
    single = np.where(np.arange(exits) < np.arange(exits + 1)[:, None], 0, grid - 1)
    return np.concatenate((single, geometric(levels), stopping(levels, cumulative_s)))


def geometric(levels: Levels, ratios: int = GEOMETRIC) -> Indices:
    """The policies [ratios, K - 1] in which exit k takes a share proportional to q^k, q from 1/20 to 20."""
    exits, grid = levels.thresholds.shape
    n = len(levels.correct)
    share = np.exp(np.linspace(-3, 3, ratios)[:, None] * np.arange(exits + 1))
    # Shares of all samples up to each exit, so that what a tie takes too many the next exit takes fewer.
    target = np.floor(n * np.cumsum(share, axis=1) / share.sum(axis=1, keepdims=True))
    policies = np.zeros((ratios, exits), dtype=np.int64)
    gone = np.zeros((ratios, levels.right.shape[1]), dtype=np.uint64)
    for k in range(exits):
        low, high = np.zeros(ratios, dtype=np.int64), np.full(ratios, grid)
        while (high - low > 1).any():  # the last level at which no more than the target has left
            middle = (low + high) // 2
            left = np.bitwise_count(gone | levels.leave[k, middle]).sum(axis=1, dtype=np.int64)
            fits = left <= target[:, k]
            low, high = np.where(fits, middle, low), np.where(fits, high, middle)
        policies[:, k] = low
        gone |= levels.leave[k, low]
    return policies


def stopping(levels: Levels, cumulative_s: Floats, multipliers: int = MULTIPLIERS) -> Indices:
    """The policies [multipliers, K - 1] of optimal stopping, at multipliers from nothing to one that only buys exit 1.

    Exits are solved from the last to the first, each as if all samples reached it.
    """
    exits = len(levels.thresholds)
    span = float(cumulative_s[-1] - cumulative_s[0]) or 1.0
    multiplier = np.concatenate(([0.0], np.geomspace(0.01, 30.0, multipliers - 1))) / span
    policies = np.zeros((multipliers, exits), dtype=np.int64)
    right = levels.correct if levels.weights is None else levels.correct * levels.weights[:, None]
    worth = right[:, -1] - multiplier[:, None] * cumulative_s[-1]
    for k in reversed(range(exits)):
        leaving = right[:, k] - multiplier[:, None] * cumulative_s[k]
        order = levels.order[k]
        gain = np.cumsum((leaving - worth)[:, order], axis=1)
        gain = np.concatenate((np.zeros((multipliers, 1)), gain), axis=1)[:, levels.taken[k]]
        policies[:, k] = gain.argmax(axis=1)
        rank = np.empty(len(order), dtype=np.int64)
        rank[order] = np.arange(len(order))
        worth = np.where(rank < levels.taken[k][policies[:, k]][:, None], leaving, worth)
    return policies


class _Found:
    """The frontier so far, and every policy ever tried."""

    def __init__(self, levels: Levels, cumulative_s: Floats) -> None:
        self._levels = levels
        self._cumulative_s = np.asarray(cumulative_s, dtype=np.float64)
        exits, grid = levels.thresholds.shape
        self._grid = grid
        # A hash, because (K - 1)-digit numbers overflow; a collision only leaves one policy untried.
        self._weights = np.random.default_rng(0).integers(2**64, size=exits, dtype=np.uint64) | np.uint64(1)
        self._tried = np.empty(0, dtype=np.uint64)
        self._expanded = np.empty(0, dtype=np.uint64)
        self._policies = np.empty((0, exits), dtype=np.int64)
        self._counts = np.empty((0, exits + 1), dtype=np.int64)
        self._right: Floats = np.empty(0)
        self._worth: Floats = np.empty(0)

    def add(self, policies: Indices) -> _Found:
        """Evaluate the policies [P, K - 1] that are new, and keep what nothing dominates."""
        keys, firsts = np.unique(self._keys(policies), return_index=True)
        policies = policies[firsts[~np.isin(keys, self._tried, assume_unique=True)]]
        self._tried = np.union1d(self._tried, keys)
        counts, right, worth = self._levels.evaluate(policies)
        policies = np.concatenate((self._policies, policies))
        counts, right = np.concatenate((self._counts, counts)), np.concatenate((self._right, right))
        worth = np.concatenate((self._worth, worth))
        cost = expected_s(counts, self._cumulative_s)
        order = np.lexsort((-worth, cost))
        best = np.maximum.accumulate(worth[order])
        kept = order[np.flatnonzero(np.diff(best, prepend=-np.inf) > 0)]
        self._policies, self._counts = policies[kept], counts[kept]
        self._right, self._worth = right[kept], worth[kept]
        return self

    def neighbours(self) -> Indices:
        """The policies one threshold away from frontier policies not expanded yet, spread over the costs."""
        keys = self._keys(self._policies)
        fresh = np.flatnonzero(~np.isin(keys, self._expanded))
        chosen = fresh[np.unique(np.linspace(0, len(fresh) - 1, min(len(fresh), EXPANDED)).astype(np.int64))]
        self._expanded = np.union1d(self._expanded, keys[chosen])
        exits = self._policies.shape[1]
        steps = np.array([sign * step for step in STEPS for sign in (1, -1)])
        moves = (np.eye(exits, dtype=np.int64)[:, None, :] * steps[:, None]).reshape(-1, exits)
        moved = self._policies[chosen][:, None, :] + moves
        inside: Indices = np.clip(moved, 0, self._grid - 1).reshape(-1, exits)
        return inside

    def result(self) -> tuple[Indices, Indices, Floats, Floats]:
        """The policies, counts, what right answers count and their worth on the frontier, cheapest first."""
        return self._policies, self._counts, self._right, self._worth

    def _keys(self, policies: Indices) -> NDArray[np.uint64]:
        keys: NDArray[np.uint64] = (policies.astype(np.uint64) * self._weights).sum(axis=1, dtype=np.uint64)
        return keys


def expected_s(counts: Indices, cumulative_s: Floats) -> NDArray[np.float64]:
    """The mean cost [P] in seconds where counts [P, K] samples leave at exits that cost cumulative_s [K]."""
    mean: NDArray[np.float64] = (counts / counts.sum(axis=1, keepdims=True) * cumulative_s).sum(axis=1)
    return mean
