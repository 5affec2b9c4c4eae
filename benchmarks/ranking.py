"""How well scores rank networks whose accuracies are known: Kendall's tau, and the regret of choosing by them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau

Floats = NDArray[np.float64]
DRAWS = 1000


def tau(scores: Floats, accuracy: Floats) -> float:
    """Kendall's tau-b of scores [n] with accuracies [n]; 0 where all scores are equal, which rank nothing."""
    if (scores == scores[0]).all():
        return 0.0
    return float(kendalltau(scores, accuracy).statistic)


def best_half(accuracy: Floats) -> NDArray[np.bool_]:
    """Which networks [n] are at least as accurate as the middle one."""
    return np.asarray(accuracy >= np.median(accuracy))


@dataclass(frozen=True, eq=False)
class Compared:
    """Scores of the same networks [n] by two methods, and how accurate they are."""

    scores: Floats
    base: Floats
    accuracy: Floats

    @property
    def apart(self) -> float:
        """By how much the tau of `scores` is larger than that of `base`."""
        return tau(self.scores, self.accuracy) - tau(self.base, self.accuracy)

    def drawn(self, rng: np.random.Generator) -> Compared:
        """As many of the networks, drawn with replacement."""
        rows = rng.integers(len(self.accuracy), size=len(self.accuracy))
        return Compared(self.scores[rows], self.base[rows], self.accuracy[rows])


def difference(seeds: Sequence[Compared], draws: int = DRAWS) -> tuple[float, float, float]:
    """The difference between two taus, mean over seeds, and its 95 % interval: the networks of each drawn anew."""
    rng = np.random.default_rng(0)
    found = [np.mean([each.drawn(rng).apart for each in seeds]) for _ in range(draws)]
    low, high = np.quantile(found, [0.025, 0.975])
    return float(np.mean([each.apart for each in seeds])), float(low), float(high)


def chosen_accuracy(scores: Floats, accuracy: Floats, within: NDArray[np.bool_]) -> float:
    """The accuracy of the network of the largest score among those `within` [n], the mean of equal ones.

    A score that is NaN says nothing; where no score of those within says anything, one of them is taken at random.
    """
    known = within & ~np.isnan(scores)
    if not known.any():
        return float(accuracy[within].mean())
    return float(accuracy[known & (scores == scores[known].max())].mean())


def regrets(scores: Floats, accuracy: Floats, within: NDArray[np.bool_]) -> Floats:
    """How much accuracy is lost in each task [tasks] by choosing by scores [n] among the networks within its budget.

    `within` [tasks, n] says which those are.
    """
    return np.array([accuracy[there].max() - chosen_accuracy(scores, accuracy, there) for there in within])
