"""When to leave a multi-exit network: thresholds solved for a budget on validation data, and what they give.

A sample leaves at the first exit whose confidence reaches the exit's threshold; the final exit takes the rest. Leaving
at exit k costs cumulative_s[k] seconds: the body up to there, every head on the way, and every decision. Confidences
are larger the surer (`confidence.py`). A network without early exits is the case K = 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas.exits.frontier import expected_s, frontier
from nas.exits.levels import Floats, Levels
from nas.exits.scores import Scores


@dataclass(frozen=True, slots=True)
class Policy:
    """K - 1 thresholds (inf: never leave here), and what they give: K exit rates, accuracy, mean cost in seconds."""

    thresholds: tuple[float, ...]
    rates: tuple[float, ...]
    accuracy: float
    expected_s: float


@dataclass(frozen=True, slots=True)
class Policies:
    """The best policies of one network at all costs, cheapest first: cost and worth both rise strictly.

    `accuracy` is the share of right answers by what each sample counts; `worth` is that, less the doubt that they were
    found with.
    """

    thresholds: NDArray[np.float64]
    rates: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    expected_s: NDArray[np.float64]
    worth: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        confidence: ArrayLike,
        correct: ArrayLike,
        cumulative_s: ArrayLike,
        doubt: float = 0.0,
        weights: ArrayLike | None = None,
    ) -> Policies:
        """Find them from confidence and correct [n, K] and cumulative_s [K]; see `frontier`. Raises ValueError.

        `weights` [n] say what each sample counts in the accuracy, in proportion; time is what all of them take.
        One search serves every budget. A larger budget never gets a policy whose accuracy, less `doubt` standard errors
        of its difference to that of the last exit, is lower.
        """
        scores, right, cumulative = _checked(confidence, correct, cumulative_s)
        levels = Levels.of(scores, right, doubt, _weights(weights, len(scores)))
        chosen, counts, hits, worth = frontier(levels, cumulative)
        thresholds = levels.thresholds[np.arange(len(cumulative) - 1), chosen]
        n = len(scores)
        return cls(thresholds, counts / n, hits / n, expected_s(counts, cumulative), worth / n)

    def best(self, budget_s: float) -> Policy | None:
        """The policy that is worth most and costs at most `budget_s` on average, the cheapest if several are equal.

        It may cost much less, where running deeper gains nothing. None if even leaving always at the first exit
        breaks the budget.
        """
        row = self.row(budget_s)
        return None if row is None else self.at(row)

    def row(self, budget_s: float) -> int | None:
        """The number of the policy that `best` gives."""
        row = int(np.searchsorted(self.expected_s, budget_s, side="right")) - 1
        return None if row < 0 else row

    def at(self, row: int) -> Policy:
        """The policy of that number."""
        return Policy(
            tuple(self.thresholds[row].tolist()),
            tuple(self.rates[row].tolist()),
            float(self.accuracy[row]),
            float(self.expected_s[row]),
        )


def within_on_others(found: Scores, cumulative_s: NDArray[np.float64], limit_s: float, doubt: float = 0.0) -> Policy:
    """The policy that is worth most and whose mean cost, bounded for other images of the same kind, is in `limit_s`.

    Where even leaving always at the first exit costs more, that is what is nearest. `cumulative_s` [K] and `doubt` as
    in `Policies.of`.
    """
    policies = Policies.of(found.confidence, found.correct, cumulative_s, doubt, found.weights)
    for cost_s in policies.expected_s[::-1]:
        policy = policies.best(float(cost_s))
        if policy is not None and expected_upper_s(found.confidence, policy.thresholds, cumulative_s) <= limit_s:
            return policy
    first = policies.best(float(policies.expected_s[0]))
    if first is None:
        raise AssertionError("the cheapest policy costs what it costs")
    return first


def last_exit(correct: ArrayLike, cumulative_s: ArrayLike) -> Policy:
    """The policy under which nothing leaves early, from correct [n, K] and cumulative_s [K].

    It is the one for a limit on the worst case: leaving early gains no time there, and thresholds that seem to gain
    accuracy on the few hundred images they were chosen on do not gain it on others.
    """
    right, cumulative = np.asarray(correct), np.asarray(cumulative_s, dtype=np.float64)
    early = len(cumulative) - 1
    return Policy((math.inf,) * early, (0.0,) * early + (1.0,), float(right[:, -1].mean()), float(cumulative[-1]))


def exit_index(thresholds: Sequence[float], confidence: Floats) -> NDArray[np.int64]:
    """The exit [n] at which each sample of confidence [n, K] leaves under K - 1 thresholds."""
    early = confidence[:, :-1] >= np.asarray(thresholds, dtype=np.float64)
    exits: NDArray[np.int64] = np.column_stack((early, np.ones(len(early), dtype=np.bool_))).argmax(axis=1)
    return exits


def evaluate(thresholds: Sequence[float], confidence: ArrayLike, correct: ArrayLike, cumulative_s: ArrayLike) -> Policy:
    """What K - 1 thresholds give on confidence and correct [n, K] at costs cumulative_s [K]. Raises ValueError."""
    scores, right, cumulative = _checked(confidence, correct, cumulative_s)
    exits = _exits(thresholds, scores)
    counts = np.bincount(exits, minlength=len(cumulative))
    return Policy(
        tuple(float(threshold) for threshold in thresholds),
        tuple((counts / len(scores)).tolist()),
        float(right[np.arange(len(scores)), exits].sum() / len(scores)),
        float(expected_s(counts[None], cumulative)[0]),
    )


def expected_upper_s(
    confidence: ArrayLike, thresholds: Sequence[float], cumulative_s: ArrayLike, level: float = 0.95
) -> float:
    """The one-sided upper bound in seconds of the mean cost on the data of which confidence [n, K] is a sample.

    By the central limit theorem on the cost per sample, never above the worst case: it covers the sampling error of
    the exit rates, not that of the costs themselves, nor a shift of the data. Raises ValueError.
    """
    scores = np.asarray(confidence)
    scores, _, cumulative = _checked(scores, np.zeros(scores.shape, dtype=np.bool_), cumulative_s)
    cost = cumulative[_exits(thresholds, scores)]
    error = cost.std(ddof=1) / math.sqrt(len(cost)) if len(cost) > 1 else math.inf
    return float(min(cost.mean() + NormalDist().inv_cdf(level) * error, cumulative[-1]))


def _exits(thresholds: Sequence[float], scores: Floats) -> NDArray[np.int64]:
    if len(thresholds) != scores.shape[1] - 1:
        raise ValueError(f"{scores.shape[1]} exits need {scores.shape[1] - 1} thresholds, not {len(thresholds)}")
    return exit_index(thresholds, scores)


def _weights(weights: ArrayLike | None, n: int) -> NDArray[np.float64] | None:
    if weights is None:
        return None
    found = np.asarray(weights, np.float64)
    if found.shape != (n,) or not (np.isfinite(found).all() and (found >= 0).all() and found.any()):
        raise ValueError(f"weights {found.shape} must be [{n}] finite numbers of at least 0, and not all of them 0")
    return found


def _checked(
    confidence: ArrayLike, correct: ArrayLike, cumulative_s: ArrayLike
) -> tuple[NDArray[np.floating[Any]], NDArray[np.bool_], NDArray[np.float64]]:
    scores, right = np.asarray(confidence), np.asarray(correct).astype(np.bool_)
    cumulative = np.asarray(cumulative_s, dtype=np.float64)
    if scores.ndim != 2 or len(scores) == 0 or right.shape != scores.shape or cumulative.shape != scores.shape[1:]:
        raise ValueError(
            f"confidence {scores.shape} and correct {right.shape} must both be [n, K] with n > 0, "
            f"and cumulative_s {cumulative.shape} be [K]"
        )
    if not np.isfinite(scores).all():
        raise ValueError("confidence must be finite: a sample that no exit can judge has no place in calibration data")
    if not (np.isfinite(cumulative).all() and (cumulative > 0).all() and (np.diff(cumulative) >= 0).all()):
        raise ValueError(f"cumulative_s {cumulative} must be positive and finite, and a later exit cannot cost less")
    return scores, right, cumulative
