"""When to leave a multi-exit network: thresholds solved for a budget on validation data, and what they give.

A sample leaves at the first exit whose confidence reaches the exit's threshold; the final exit takes the rest. Leaving
at exit k costs reach_s[k] seconds: the body up to there, every head on the way, and every decision. Confidences are
larger the surer (`confidence.py`). A network without early exits is the case K = 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas.exits.frontier import expected_s, frontier
from nas.exits.levels import Floats, Levels

GRID = (0.4, 0.6, 0.8, 1.0)
"""Fractions of a network's own worst case at which a search without a budget looks at it."""


@dataclass(frozen=True, slots=True)
class Policy:
    """K - 1 thresholds (inf: never leave here), and what they give: K exit rates, accuracy, mean cost in seconds."""

    thresholds: tuple[float, ...]
    rates: tuple[float, ...]
    accuracy: float
    expected_s: float


class CurvePoint(NamedTuple):
    """The best policy within `fraction` of the worst case: its mean cost in seconds and its accuracy."""

    fraction: float
    expected_s: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Policies:
    """The best policies of one network at all costs, cheapest first: cost and accuracy both rise strictly."""

    thresholds: NDArray[np.float64]
    rates: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    expected_s: NDArray[np.float64]

    @classmethod
    def of(cls, confidence: ArrayLike, correct: ArrayLike, reach_s: ArrayLike) -> Policies:
        """Find them from confidence and correct [n, K] and reach_s [K]; see `frontier`. Raises ValueError.

        One search serves every budget, and a larger budget never gets a less accurate policy.
        """
        scores, right, reach = _checked(confidence, correct, reach_s)
        levels = Levels.of(scores, right)
        chosen, counts, hits = frontier(levels, reach)
        thresholds = levels.thresholds[np.arange(len(reach) - 1), chosen]
        n = len(scores)
        return cls(thresholds, counts / n, hits / n, expected_s(counts, reach))

    def best(self, budget_s: float) -> Policy | None:
        """Return the most accurate policy that costs at most `budget_s` on average, the cheapest if several are equal.

        It may cost much less, where running deeper gains nothing. None if even leaving always at the first exit
        breaks the budget.
        """
        row = int(np.searchsorted(self.expected_s, budget_s, side="right")) - 1
        if row < 0:
            return None
        return Policy(
            tuple(self.thresholds[row].tolist()),
            tuple(self.rates[row].tolist()),
            float(self.accuracy[row]),
            float(self.expected_s[row]),
        )


def solve(confidence: ArrayLike, correct: ArrayLike, reach_s: ArrayLike, budget_s: float) -> Policy | None:
    """Return the best policy within one budget, in seconds (inf for none): `Policies.of(...).best(budget_s)`."""
    return Policies.of(confidence, correct, reach_s).best(budget_s)


def curve(
    confidence: ArrayLike, correct: ArrayLike, reach_s: ArrayLike, fractions: Sequence[float] = GRID
) -> tuple[CurvePoint, ...]:
    """Return the best policy at fractions of the network's own worst case, reach_s[-1]; out of reach, no point."""
    policies = Policies.of(confidence, correct, reach_s)
    worst = float(np.asarray(reach_s)[-1])
    found = [(fraction, policies.best(fraction * worst)) for fraction in fractions]
    return tuple(CurvePoint(fraction, best.expected_s, best.accuracy) for fraction, best in found if best)


def leave_at(thresholds: Sequence[float], confidence: Floats) -> NDArray[np.int64]:
    """Return the exit [n] at which each sample of confidence [n, K] leaves under K - 1 thresholds."""
    early = confidence[:, :-1] >= np.asarray(thresholds, dtype=np.float64)
    exits: NDArray[np.int64] = np.column_stack((early, np.ones(len(early), dtype=np.bool_))).argmax(axis=1)
    return exits


def evaluate(thresholds: Sequence[float], confidence: ArrayLike, correct: ArrayLike, reach_s: ArrayLike) -> Policy:
    """Return what K - 1 thresholds give on confidence and correct [n, K] at costs reach_s [K]. Raises ValueError."""
    scores, right, reach = _checked(confidence, correct, reach_s)
    exits = _exits(thresholds, scores)
    counts = np.bincount(exits, minlength=len(reach))
    return Policy(
        tuple(float(threshold) for threshold in thresholds),
        tuple((counts / len(scores)).tolist()),
        float(right[np.arange(len(scores)), exits].sum() / len(scores)),
        float(expected_s(counts[None], reach)[0]),
    )


def expected_upper_s(
    confidence: ArrayLike, thresholds: Sequence[float], reach_s: ArrayLike, level: float = 0.95
) -> float:
    """Return the one-sided upper bound in seconds of the mean cost on the data of which confidence [n, K] is a sample.

    By the central limit theorem on the cost per sample, never above the worst case: it covers the sampling error of
    the exit rates, not that of the costs themselves, nor a shift of the data. Raises ValueError.
    """
    scores = np.asarray(confidence)
    scores, _, reach = _checked(scores, np.zeros(scores.shape, dtype=np.bool_), reach_s)
    cost = reach[_exits(thresholds, scores)]
    error = cost.std(ddof=1) / math.sqrt(len(cost)) if len(cost) > 1 else math.inf
    return float(min(cost.mean() + NormalDist().inv_cdf(level) * error, reach[-1]))


def _exits(thresholds: Sequence[float], scores: Floats) -> NDArray[np.int64]:
    if len(thresholds) != scores.shape[1] - 1:
        raise ValueError(f"{scores.shape[1]} exits need {scores.shape[1] - 1} thresholds, not {len(thresholds)}")
    return leave_at(thresholds, scores)


def _checked(
    confidence: ArrayLike, correct: ArrayLike, reach_s: ArrayLike
) -> tuple[NDArray[np.floating[Any]], NDArray[np.bool_], NDArray[np.float64]]:
    scores, right = np.asarray(confidence), np.asarray(correct).astype(np.bool_)
    reach = np.asarray(reach_s, dtype=np.float64)
    if scores.ndim != 2 or len(scores) == 0 or right.shape != scores.shape or reach.shape != scores.shape[1:]:
        raise ValueError(
            f"confidence {scores.shape} and correct {right.shape} must both be [n, K] with n > 0, "
            f"and reach_s {reach.shape} be [K]"
        )
    if not np.isfinite(scores).all():
        raise ValueError("confidence must be finite: a sample that no exit can judge has no place in calibration data")
    if not (np.isfinite(reach).all() and (reach > 0).all() and (np.diff(reach) >= 0).all()):
        raise ValueError(f"reach_s {reach} must be positive and finite, and a later exit cannot cost less")
    return scores, right, reach
