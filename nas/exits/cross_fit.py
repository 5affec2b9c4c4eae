"""What thresholds are worth on images that they were not chosen on: each fifth is judged by those of the rest.

Thresholds chosen and judged on the same few hundred images gain accuracy that is not there: of 300 images one exit
without any information "gains" a point or two, three of them four. Cross-fitting (Stone 1974, "Cross-validatory choice
and assessment of statistical predictions") has no such gain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from nas.exits.scores import Scores
from nas.exits.thresholds import Policies, Policy, exit_index

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

FOLDS: Final = 5
#: By how many standard errors leaving early has to be better than the last exit, where both are within the limit: the
#: rule of one standard error (Breiman et al. 1984, "Classification and regression trees", 3.4.3).
DOUBT: Final = 1.0


@dataclass(frozen=True, eq=False)
class CrossFitted:
    """The policies of one network at all limits, and those of each fold's complement to judge them by."""

    found: Scores
    cumulative_s: Floats
    whole: Policies
    parts: tuple[Policies, ...]

    @classmethod
    def of(cls, found: Scores, cumulative_s: Floats) -> Self:
        """Solve for all limits from a network's scores [n, K] and the seconds to each of its exits [K]."""

        def solved(part: Scores) -> Policies:
            return Policies.of(part.confidence, part.correct, cumulative_s, DOUBT, part.weights)

        # With one exit there is nothing to choose.
        parts = tuple(solved(without(found, held)) for held in folds(found)) if found.correct.shape[1] > 1 else ()
        return cls(found, cumulative_s, solved(found), parts)

    def best(self, limit_s: float) -> tuple[Policy, Mask] | None:
        """The policy for a mean of `limit_s`, its accuracy by cross-fitting, and which images [n] count as right.

        None where even leaving always at the first exit costs more.
        """
        policy = self.whole.best(limit_s)
        if policy is None:
            return None
        if not self.parts:
            right = self.found.correct[:, 0]
        else:
            chosen = [part.best(limit_s) for part in self.parts]
            right = _held_out(self.found, [policy if each is None else each for each in chosen])
        return replace(policy, accuracy=float(right.mean())), right


def cross_fitted(found: Scores, solve: Callable[[Scores], Policy]) -> Mask:
    """Which images [n] are answered rightly by what `solve` makes of the other folds."""
    return _held_out(found, [solve(without(found, held)) for held in folds(found)])


def folds(found: Scores) -> Iterator[Mask]:
    """Which images each fold holds out [n]; the images are in random order."""
    number = np.arange(len(found.correct)) % FOLDS
    return (number == fold for fold in range(FOLDS))


def without(found: Scores, held: Mask) -> Scores:
    """The scores of the images that are not held out."""
    weights = None if found.weights is None else found.weights[~held]
    return Scores(found.confidence[~held], found.correct[~held], weights)


def _held_out(found: Scores, policies: list[Policy]) -> Mask:
    right = np.empty(len(found.correct), np.bool_)
    for held, policy in zip(folds(found), policies, strict=True):
        leaving = exit_index(policy.thresholds, found.confidence[held])
        right[held] = found.correct[held][np.arange(int(held.sum())), leaving]
    return right
