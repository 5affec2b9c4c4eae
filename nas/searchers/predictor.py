"""Predictor-based search: a model of the accuracy, trained on what was evaluated, chooses what to evaluate next.

The scheme of BANANAS (White, Neiswanger and Savani, AAAI 2021, arXiv 1910.11858) with a Gaussian process for its
ensemble and expected improvement (Jones et al. 1998) as the acquisition. Candidates within a budget are free, so very
many are scored. With several objectives each pick improves another weighting of them (ParEGO, Knowles 2006).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from hardware_profiles.blas import blas_threads
from nas.errors import InputError
from nas.searchers.archive import Archive
from nas.searchers.base import Featured, Genomes, Problem, Values, least_violation
from nas.searchers.feasibility_filter import FeasibilityFilter
from nas.searchers.moves import change
from nas.searchers.prior import Prior
from nas.searchers.surrogate import Encoding, Floats, Points, Surrogate, normal_scores

#: Genomes whose uncertainty is computed, the most promising by their mean.
_SHORTLIST: Final = 512
#: Weightings of several objectives in one batch.
_DIRECTIONS: Final = 8
#: Most genomes that the model is conditioned on: the best half of them and the latest.
_ROWS: Final = 400
#: Candidates that are drawn at once have to fit into memory.
_MOST_CANDIDATES: Final = 1_000_000
_ROUNDS: Final = 3
_ELITE: Final = 64
#: A space of at most so many times the candidates is sampled, not bred from.
_FEW: Final = 4


@dataclass(frozen=True)
class Pool:
    """Candidates [n, G], and the targets that the model expects of them [n, t]."""

    genomes: Genomes
    mean: Floats

    def with_more(self, more: Pool) -> Pool:
        """These candidates followed by `more`."""
        return Pool(np.concatenate((self.genomes, more.genomes)), np.concatenate((self.mean, more.mean)))

    def shortlist(self, n: int) -> Pool:
        """The most promising: of every target some hundred, and n or more where there are so many."""
        each = max(n, _SHORTLIST // self.mean.shape[1])
        rows = np.unique(np.argsort(self.mean, axis=0, kind="stable")[:each])
        return Pool(self.genomes[rows], self.mean[rows])


class Predictor:
    """Asks for `initial` genomes at random, then for those of the largest expected improvement among `candidates`.

    A space of few genomes is scored whole; in others candidates are drawn, and bred from those that promise most.
    `prior` are probabilities of the options of each gene [G][options], such as differentiable search learns: they
    direct the first genomes and the candidates, and the model sees them as a feature, beside what a problem knows of
    genomes (`base.Featured`). Raises InputError for parameters out of range.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        initial: int = 16,
        candidates: int = 8192,
        prior: tuple[tuple[float, ...], ...] | None = None,
    ) -> None:
        if initial < 2 or not 1 <= candidates <= _MOST_CANDIDATES:
            raise InputError(
                f"predictor: initial is {initial} and candidates {candidates}; a model needs at least 2 genomes to "
                f"start from, and 1 to {_MOST_CANDIDATES:,} to choose from"
            )
        self._problem = problem
        self._sizes = np.asarray(problem.sizes, dtype=np.int64)
        self._ordinal = np.asarray(problem.ordinal, dtype=np.bool_)
        self._initial = initial
        self._candidates = candidates
        self._prior = Prior(self._sizes, prior)
        self._filter = FeasibilityFilter(problem)
        self._archive = Archive(len(self._sizes))
        self._encoding = Encoding(self._sizes, self._ordinal)
        self._learn_at = initial
        self._begin()

    def _begin(self) -> None:
        """Scale the features, of which the prior is one, and begin a model of them."""
        self._centre, self._scale = self._feature_scale()
        self._model = Surrogate(self._encoding, len(self._sizes), len(self._centre))

    @property
    def wants_prior(self) -> bool:
        """Whether none was given; see `Searcher.wants_prior`."""
        return not self._prior.given

    def take_prior(self, probabilities: Sequence[Sequence[float]], proposals: int) -> None:
        """See `TakesPrior.take_prior`; `initial` genomes are seen beside the proposals."""
        self._prior = Prior(self._sizes, probabilities)
        self._initial += proposals
        self._learn_at = self._initial
        self._begin()

    @blas_threads(1)
    def ask(self, n: int) -> Genomes:
        """See `Searcher.ask`."""
        rng = self._filter.generator()
        usable = self._usable()
        if n <= 0 or len(usable) < self._initial:
            return self._filter.propose(rng, n, (self._prior.source,))
        weights = self._weights(rng, n)
        targets = self._targets(usable, weights)
        self._model.condition(self._points(self._archive.genomes[usable]), targets)
        chosen = self._choose(self._pool(rng, n), targets, n)
        return self._filter.propose(rng, n, (lambda rng, n, attempt: chosen, self._prior.source))

    @blas_threads(1)
    def tell(self, genomes: Genomes, values: Values, violation: Values) -> None:
        """See `Searcher.tell`; the model's hyperparameters are learned anew whenever a quarter more is known."""
        self._filter.add(genomes)
        self._archive.add(genomes, values, violation)
        usable = self._usable()
        if len(usable) >= self._learn_at:
            self._learn_at = max(len(usable) + 8, len(usable) * 5 // 4)
            target = self._targets(usable, np.ones((1, self._archive.values.shape[1])))[:, 0]
            self._model.learn(self._points(self._archive.genomes[usable]), target)

    def _usable(self) -> NDArray[np.intp]:
        """Rows the model is trained on: within a budget, and failures."""
        rows = np.flatnonzero((self._archive.distance == 0) | np.isinf(self._archive.distance))
        if len(rows) <= _ROWS:
            return rows
        best = self._archive.best()
        kept = np.zeros(len(self._archive), dtype=np.bool_)
        kept[best[: _ROWS // 2]] = True
        kept[rows[-_ROWS // 2 :]] = True
        kept &= (self._archive.distance == 0) | np.isinf(self._archive.distance)
        return np.flatnonzero(kept)

    def _weights(self, rng: np.random.Generator, n: int) -> Floats:
        """Weightings of the objectives for a batch [t, m]."""
        objectives = self._archive.values.shape[1]
        if objectives == 1:
            return np.ones((1, 1))
        return rng.dirichlet(np.ones(objectives), size=min(n, _DIRECTIONS))

    def _targets(self, rows: NDArray[np.intp], weights: Floats) -> Floats:
        """What the model learns, smaller is better: per weighting the normal scores of the scalarised values [n, t].

        The scalarisation is the augmented Chebyshev norm of the objectives' scores; failures are worse than anything.
        """
        failed = np.isinf(self._archive.distance[rows])
        values = self._archive.values[rows]
        shares = np.stack([_shares(column) for column in values.T], axis=1)
        columns = []
        for weight in weights:
            weighted = weight * shares
            scalar = weighted.max(axis=1) + 0.05 * weighted.sum(axis=1)
            columns.append(normal_scores(np.where(failed, scalar.max() + 1, scalar)))
        return np.stack(columns, axis=1)

    def _choose(self, pool: Pool, targets: Floats, n: int) -> Genomes:
        """The n genomes of the pool with the largest expected improvement, each as if those before were measured."""
        if not len(pool.genomes):
            return pool.genomes
        short = pool.shortlist(n)
        genomes, mean = short.genomes, short.mean
        spread = self._model.spread(self._points(genomes), measurements=min(n, len(genomes)))
        best = targets.min(axis=0)
        free = np.ones(len(genomes), dtype=np.bool_)
        chosen = []
        for pick in range(min(n, len(genomes))):
            direction = pick % mean.shape[1]
            gain = expected_improvement(best[direction] - mean[:, direction], spread.sd)
            index = int(np.where(free, gain, -1.0).argmax())
            free[index] = False
            chosen.append(index)
            spread.measure(index)
        return genomes[chosen]

    def _pool(self, rng: np.random.Generator, n: int) -> Pool:
        """Genomes to choose from: new, and within a budget where any is."""
        if self._few is not None:
            pool = self._filter.visited.new(self._few)
            return self._scored(pool if len(pool) <= self._candidates else rng.permutation(pool)[: self._candidates])
        elite = self._archive.genomes[self._archive.best()[:_ELITE]]
        scored = self._scored(self._new(self._prior.source(rng, self._candidates // 4, 0)))
        for _ in range(_ROUNDS):
            bred = self._new(self._breed(rng, elite, self._candidates // 4))
            # What was scored stands first, and stays first of equal rows.
            joined = self._filter.visited.new(np.concatenate((scored.genomes, bred)))
            scored = scored.with_more(self._scored(joined[len(scored.genomes) :]))
            elite = scored.genomes[np.argsort(scored.mean.min(axis=1), kind="stable")[:_ELITE]]
            if not len(elite):
                break
        return scored

    def _scored(self, genomes: Genomes) -> Pool:
        return Pool(genomes, self._model.mean(self._points(genomes)))

    @cached_property
    def _few(self) -> Genomes | None:
        """All genomes within a budget, where they can be enumerated and are no more than a few times `candidates`."""
        everything = self._filter.everything()
        if everything is None:
            return None
        fitting = self._feasible(np.unique(everything, axis=0).astype(np.int64))
        return fitting if len(fitting) <= _FEW * self._candidates else None

    def _breed(self, rng: np.random.Generator, parents: Genomes, n: int) -> Genomes:
        """Change one to three genes of random parents."""
        chosen = parents[rng.integers(len(parents), size=n)]
        children = [
            change(rng, part, self._sizes, self._ordinal, 1 + count)
            for count, part in enumerate(np.array_split(chosen, 3))
        ]
        return self._prior.redraw(rng, chosen, np.concatenate(children))

    def _new(self, genomes: Genomes) -> Genomes:
        """The canonical genomes among [n, G] that are new and within a budget."""
        return self._feasible(self._filter.visited.new(self._problem.canonical(genomes).astype(np.int64)))

    def _feasible(self, genomes: Genomes) -> Genomes:
        return genomes[least_violation(self._problem.free_objectives(genomes)[1]) == 0] if len(genomes) else genomes

    def _points(self, genomes: Genomes) -> Points:
        features = (self._raw_features(genomes) - self._centre) / self._scale
        return Points(self._encoding(genomes), np.nan_to_num(features, posinf=0, neginf=0).astype(np.float32))

    def _raw_features(self, genomes: Genomes) -> Floats:
        """The free objectives, as logarithms where they are positive, what else the problem knows of genomes, and the
        prior's opinion [n, F]."""
        free = np.asarray(self._problem.free_objectives(genomes)[0], dtype=np.float64)
        free = np.where(free > 0, np.log(np.where(free > 0, free, 1.0)), free)
        more = self._problem.features(genomes) if isinstance(self._problem, Featured) else np.empty((len(genomes), 0))
        return np.column_stack((free, more, self._prior.score(genomes)))

    def _feature_scale(self) -> tuple[Floats, Floats]:
        """Mean and standard deviation of each feature over random genomes of the space, failures left out."""
        rng = np.random.default_rng((self._problem.seed, 512))
        sample = self._problem.canonical(rng.integers(self._sizes, size=(512, len(self._sizes))))
        raw = self._raw_features(sample)
        raw = np.where(np.isfinite(raw), raw, np.nan)
        raw = np.where(np.isnan(raw).all(axis=0), 0.0, raw)
        scale = np.nanstd(raw, axis=0)
        return np.nanmean(raw, axis=0), np.where(scale > 0, scale, 1.0)


def expected_improvement(gain: Floats, sd: Floats) -> Floats:
    """The mean of max(0, x) for x normal with mean `gain` [n] and standard deviation `sd` [n]."""
    z = gain / sd
    return np.asarray(gain * ndtr(z) + sd * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi))


def _shares(values: Floats) -> Floats:
    """Ranks of values [n] scaled to [0, 1]: objectives of different units become comparable."""
    order = np.unique(values, return_inverse=True)[1]
    return np.asarray(order / max(int(order.max(initial=0)), 1), dtype=np.float64)
