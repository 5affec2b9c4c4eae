"""Policies on a grid of candidate thresholds, with the samples that leave at each as bit sets.

Whether a sample leaves depends on nothing but its own confidences, so the samples that leave at exit k under threshold
level l are one row of bits; a policy is K - 1 levels, and thousands of policies are evaluated by AND and popcount.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Bits = NDArray[np.uint64]
Indices = NDArray[np.int64]

#: Policies on a grid that are few enough to be tried one and all.
ENUMERABLE = 4096

_FEWEST, _MOST = 33, 513


def grid_size(exits: int) -> int:
    """How many levels each of `exits` early exits gets: as many as keep all policies enumerable, 33 at least.

    More do not help: on synthetic networks with 6 and 10 exits and 300 to 2,000 calibration samples, 257 levels raised
    the accuracy on the calibration data and lowered it on new data.
    """
    return max(_FEWEST, min(_MOST, int(ENUMERABLE ** (1 / max(exits, 1)))))


@dataclass(frozen=True, slots=True)
class Levels:
    """Candidate thresholds of the K - 1 early exits of a network whose answers on n samples are known.

    `doubt` is how many standard errors a policy's right answers count less, as far as they are not the final exit's.
    thresholds [K - 1, L] descend from inf (never) to one that takes every sample; leave [K - 1, L, W] are the samples
    at or above each and taken [K - 1, L] their numbers; order [K - 1, n] are the samples by descending confidence.
    correct [n, K], and the same as bits [K, W], include the final exit. What a sample counts, 1 on average, is in
    weights [n], and by value with the samples of each in groups; None and none where all count the same.
    """

    thresholds: NDArray[np.float64]
    leave: Bits
    taken: Indices
    order: Indices
    correct: NDArray[np.bool_]
    right: Bits
    doubt: float = 0.0
    weights: NDArray[np.float64] | None = None
    groups: tuple[tuple[float, Bits], ...] = ()

    @classmethod
    def of(
        cls, confidence: Floats, correct: NDArray[np.bool_], doubt: float = 0.0, weights: Floats | None = None
    ) -> Levels:
        """Make `grid_size` levels per exit at equal steps of rank, from confidence and correct, both [n, K].

        `weights` [n] say what each sample counts in proportion, all the same where there are none.
        A threshold lies halfway between two neighbouring confidences, so that the small differences of another runtime
        move no sample across it; samples of equal confidence are never parted.
        """
        n, exits = len(confidence), confidence.shape[1] - 1
        early = np.ascontiguousarray(confidence[:, :-1].T, dtype=np.float64)
        order = np.argsort(-early, axis=1, kind="stable")
        ranked = np.take_along_axis(early, order, axis=1)
        cuts = np.unique(np.linspace(0, n, min(grid_size(exits), n + 1)).round().astype(np.int64))[1:-1]
        upper, lower = ranked[:, cuts - 1], ranked[:, cuts]
        middle = lower + (upper - lower) / 2
        # 0 takes all of a score in [0, 1], on new samples too; other scores may be negative.
        lowest = ranked[:, -1:]
        everything = np.where(lowest >= 0, 0.0, lowest - 1.0)
        thresholds = np.concatenate((np.full((exits, 1), np.inf), middle, everything), axis=1)
        leave = early[:, None, :] >= thresholds[:, :, None]
        packed = thresholds, _pack(leave), leave.sum(axis=2), order, correct, _pack(correct.T), doubt
        if weights is None or np.ptp(weights) == 0:
            return cls(*packed)
        counted = np.asarray(weights, np.float64) * (n / np.sum(weights))
        return cls(*packed, counted, tuple((float(w), _pack(counted == w)) for w in np.unique(counted)))

    def subset(self, exits: Sequence[int]) -> Levels:
        """Keep only these early exits, and the final one."""
        early, all_ = list(exits), [*exits, len(self.right) - 1]
        return Levels(
            self.thresholds[early],
            self.leave[early],
            self.taken[early],
            self.order[early],
            self.correct[:, all_],
            self.right[all_],
            self.doubt,
            self.weights,
            self.groups,
        )

    def evaluate(self, policies: Indices) -> tuple[Indices, NDArray[np.float64], NDArray[np.float64]]:
        """How many samples leave at each exit [P, K], what right ones count [P], and what that is worth [P].

        Of policies [P, K - 1]. Where an early answer is right and the final one wrong, or the other way round, a policy
        gains or loses a sample; the standard error of the sum is the root of the number of such samples, each counted
        with the square of its weight.
        """
        counts = np.zeros((len(policies), len(self.right)), dtype=np.int64)
        right, changed = np.zeros(len(policies)), np.zeros(len(policies))
        # Every sample is inside at first; the bits behind the last sample are not samples.
        inside = np.broadcast_to(
            _pack(np.ones(len(self.correct), dtype=np.bool_)), (len(policies), self.right.shape[1])
        )
        for k in range(len(self.right)):
            leaving = inside if k == len(self.leave) else inside & self.leave[k, policies[:, k]]
            counts[:, k] = _count(leaving)
            right += self._counted(leaving & self.right[k], 1)
            if self.doubt and k < len(self.leave):
                changed += self._counted(leaving & (self.right[k] ^ self.right[-1]), 2)
            inside = inside ^ leaving
        # One more than was seen: what changes one answer in n may not show among n.
        one = 1.0 if self.weights is None else float((self.weights**2).mean())
        early = counts[:, :-1].any(axis=1)
        return counts, right, right - self.doubt * np.sqrt(changed + one * early)

    def _counted(self, bits: Bits, power: int) -> NDArray[np.float64]:
        """What the samples in bits [P, W] count together [P], each with its weight to that power."""
        if not self.groups:
            return _count(bits).astype(np.float64)
        parts = [weight**power * _count(bits & members) for weight, members in self.groups]
        return np.asarray(np.sum(parts, axis=0), np.float64)


def _count(bits: Bits) -> Indices:
    counts: Indices = np.bitwise_count(bits).sum(axis=-1, dtype=np.int64)
    return counts


def _pack(mask: NDArray[np.bool_]) -> Bits:
    """Pack [..., n] into [..., ceil(n / 64)] words; the bits behind the last sample are 0."""
    octets = np.packbits(mask, axis=-1)
    padding = [(0, 0)] * (mask.ndim - 1) + [(0, -octets.shape[-1] % 8)]
    return np.ascontiguousarray(np.pad(octets, padding)).view(np.uint64)
