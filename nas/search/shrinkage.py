"""How accurate the networks of a search are, better than each one's own score says: shrunken towards what all tell.

A score on a few hundred images is off by a point, and the best of many scores is the luckiest. All trials of a budget
are one hierarchical model: accuracy = linear in genes, logarithm of the latency and features + the network's own part,
score = accuracy + sampling error, whose variance the answers tell. Variances of the first two are those of largest
marginal likelihood (empirical Bayes; Efron & Morris 1975, "Data analysis using Stein's estimator"). Whether images are
hard is shared by all networks, moves none against another, and is left out of the sampling error.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize

from nas.run.trial import AtBudget, Trial
from nas.search.features import of_trials
from nas.searchers.surrogate import Encoding
from search_spaces.slots import SearchSpace, sizes

Floats = NDArray[np.float64]

#: With fewer networks there is nothing to learn from the others.
FEWEST: Final = 8
#: More networks take seconds to learn from and say little more; the better ones are taken.
MOST: Final = 500
#: Shares of the paired standard error: within the one accuracies count as equal, above the other a reading is worth it.
EQUAL, WORTH_READING = 0.1, 0.25
#: Expected gain that is not worth measuring another network for, where scores do not tell their error.
LEAST_GAIN: Final = 0.0005
#: The same where networks are ranked by a score that is no accuracy, in standard deviations of the candidates'.
LEAST_SCORE_GAIN: Final = 0.01


@dataclass(frozen=True, eq=False)
class Estimates:
    """Accuracies [n] as they are to be ranked by, and the standard error [] of a difference between two of the best.

    NaN where scores do not tell their error: accuracies that are known, and those of older releases. Where networks are
    ranked by a score that is no accuracy, it stands in its place as it is, and `least_gain` in its unit.
    """

    accuracy: Floats
    paired_std: float
    least_gain: float = LEAST_GAIN

    @property
    def equal(self) -> float:
        """The difference of accuracies that says nothing."""
        return 0.0 if math.isnan(self.paired_std) else EQUAL * self.paired_std

    @property
    def gain(self) -> float:
        """The expected gain that is not worth a reading."""
        return self.least_gain if math.isnan(self.paired_std) else WORTH_READING * self.paired_std

    def order(self, latency_s: Sequence[float]) -> list[int]:
        """Indices, the best first: by steps of accuracy that say nothing, the faster first within one."""
        seconds, left, found = np.asarray(latency_s), list(np.argsort(-self.accuracy, kind="stable")), []
        while left:
            level = [i for i in left if self.accuracy[i] >= self.accuracy[left[0]] - self.equal]
            best = min(level, key=lambda i: (seconds[i], -self.accuracy[i]))
            found.append(int(best))
            left.remove(best)
        return found


def estimates(
    space: SearchSpace, trials: Sequence[Trial], others: Sequence[Trial], number: int, features: Sequence[str] = ()
) -> Estimates:
    """The accuracies of complete `trials` at budget `number` [n], given theirs and those of `others`.

    Of a network that is among both, the score in `trials` counts. Trials that cannot keep the budget are not taken.
    `features` are further ones that the trials note (`features.of_trials`).
    """
    keys = {trial.key for trial in trials}
    rest = [t for t in others if t.key not in keys and t.status == "complete" and t.budgets[number] is not None]
    own = np.array([trial.worth(number) for trial in trials], np.float64)
    if not trials:
        return Estimates(own, math.nan)
    if any(_at(trial, number).accuracy is None for trial in trials):
        return Estimates(own, math.nan, LEAST_SCORE_GAIN * float(own.std()))
    # Those that are not learned from keep their scores, which are lower.
    chosen = np.argsort(-own, kind="stable")[:MOST]
    rest = sorted(rest, key=lambda trial: -trial.worth(number))[: MOST - len(chosen)]
    rows = [*(trials[index] for index in chosen), *rest]
    at = [_at(trial, number) for trial in rows]
    right = _answers(at)
    if right is None:
        return Estimates(own, math.nan)
    images = np.array([each.images for each in at], np.float64)
    score = _on_the_same(np.array([trial.worth(number) for trial in rows], np.float64), right, images)
    own = np.minimum(own, score[: len(chosen)].min())
    own[chosen] = score[: len(chosen)]
    paired = _paired_std(right[: len(chosen)], own[chosen], images)
    if len(at) >= FEWEST:
        genomes = np.array([trial.genome for trial in rows])
        more = np.column_stack((np.log([each.latency_s for each in at]), of_trials(rows, features)))
        columns = _columns(space, genomes, more)
        own[chosen] = _posterior(columns, score, _sampling_variance(right, images))[: len(chosen)]
    return Estimates(own, paired)


def ranked(
    space: SearchSpace, trials: Sequence[Trial], others: Sequence[Trial], number: int, features: Sequence[str] = ()
) -> list[Trial]:
    """The trials, the best at budget `number` first; `others` are learned from, and `features` (`estimates`)."""
    found = estimates(space, trials, others, number, features)
    return [trials[index] for index in found.order([_at(trial, number).latency_s for trial in trials])]


def _at(trial: Trial, number: int) -> AtBudget:
    at = trial.budgets[number]
    if at is None:
        raise AssertionError("only trials that may keep the budget are ranked by it")
    return at


def _answers(at: Sequence[AtBudget]) -> Floats | None:
    """Which images are answered rightly [n, images], those that all were judged on; None where that is not known."""
    few = min((each.images for each in at), default=0)
    return np.stack([each.answers()[:few] for each in at]).astype(np.float64) if few else None


def _on_the_same(score: Floats, right: Floats, images: Floats) -> Floats:
    """Scores [n] as they would be on the images that all were judged on, as far as images are hard or easy for all."""
    few, result = right.shape[1], score.copy()
    for count in np.unique(images[images > few]):
        group = images == count
        result[group] -= (score[group] - right[group].mean(axis=1)).mean()
    return result


def _sampling_variance(right: Floats, images: Floats) -> Floats:
    """Variance [n] of each score, of so many images [n], around its accuracy, apart from what all have in common."""
    n = len(right)
    # The mean over n networks holds 1 / n of each.
    return np.asarray((right - right.mean(axis=0)).var(axis=1) * n / max(n - 1, 1) / images)


def _paired_std(right: Floats, score: Floats, images: Floats) -> float:
    """Standard error of the difference between two of the best scores."""
    best = np.argsort(-score, kind="stable")[:FEWEST]
    if len(best) < 2:
        return 0.0
    variance = [
        (right[i] - right[j]).var() / min(images[i], images[j])
        for position, i in enumerate(best)
        for j in best[:position]
    ]
    return float(np.sqrt(np.mean(variance)))


def _columns(space: SearchSpace, genomes: NDArray[np.int64], more: Floats) -> Floats:
    """Genes and `more` [n, k], centred and scaled to a variance of 1 in all [n, columns]; without columns with NaN."""
    ordinal = np.array([gene.ordinal for gene in space.genes])
    columns = np.column_stack((Encoding(sizes(space), ordinal)(genomes), more)).astype(np.float64)
    columns -= columns.mean(axis=0)
    spread = columns.std(axis=0)
    varying = columns[:, spread > 1e-12] / spread[spread > 1e-12]
    return np.asarray(varying / math.sqrt(max(varying.shape[1], 1)), np.float64)


def _posterior(features: Floats, score: Floats, error: Floats) -> Floats:
    """The expected accuracies [n] given scores [n] with these sampling variances [n], under the likeliest variances."""
    n, inner = len(score), features @ features.T
    scale = max(float(score.var()), 1e-12)

    def solved(theta: Floats) -> tuple[float, Floats]:
        slopes, own = scale * np.exp(theta)
        prior = slopes * inner + own * np.eye(n)
        factor = cho_factor(prior + np.diag(error + 1e-9 * scale), lower=True)
        ones = cho_solve(factor, np.ones(n))
        mean = float(ones @ score) / float(ones.sum())
        away = cho_solve(factor, score - mean)
        # With a flat prior on the mean, its uncertainty counts too (restricted likelihood).
        loss = 0.5 * float((score - mean) @ away) + float(np.log(np.diag(factor[0])).sum()) + 0.5 * np.log(ones.sum())
        return float(loss), np.asarray(mean + prior @ away)

    found = minimize(
        lambda theta: solved(theta)[0], np.log([0.5, 0.1]), method="L-BFGS-B", bounds=[(-12, 3)] * 2
    )  # a share of the scores' variance each, down to nothing
    return solved(found.x)[1]
