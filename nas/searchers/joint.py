"""Joint search: evolution breeds, tables discard what breaks the budget, a predictor chooses what is evaluated.

A distribution over choices, such as a differentiable run learns, is the prior of the initial population and of the
mutations; what is evaluated trains an accuracy predictor with uncertainty, which screens the offspring. The surrogate
management is that of model-assisted evolution (Jin 2011, "Surrogate-assisted evolutionary computation").
"""

from __future__ import annotations

from typing import Final

import numpy as np

from nas.errors import InputError
from nas.searchers.base import Genomes, Problem
from nas.searchers.feasibility_filter import uniform
from nas.searchers.moves import mutate
from nas.searchers.predictor import Pool, Predictor

#: Offspring that are bred and scored at a time, a chunk.
_CHUNK: Final = 16384


class Joint(Predictor):
    """Breeds `offspring` from the best `population` genomes per batch; the predictor picks those that are evaluated.

    A million offspring are possible: they cost seconds, and no more memory than a few thousand. `initial` and `prior`
    as for `Predictor`. Raises InputError for parameters out of range.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        population: int = 32,
        offspring: int = 8192,
        initial: int = 16,
        prior: tuple[tuple[float, ...], ...] | None = None,
    ) -> None:
        if population < 2 or offspring < 1:
            raise InputError(
                f"joint: a population of {population} with {offspring} offspring cannot breed; at least 2 and 1"
            )
        super().__init__(problem, initial=initial, candidates=offspring, prior=prior)
        self._population = population

    def _pool(self, rng: np.random.Generator, n: int) -> Pool:
        """The most promising offspring of the population that are new and within a budget, with some random
        immigrants."""
        parents = self._archive.genomes[self._archive.best()[: self._population]]
        found = Pool(parents[:0], np.empty((0, 1)))
        # A chunk at a time: of a million offspring few are remembered.
        for start in range(0, self._candidates, _CHUNK):
            chunk = self._scored(self._new(self._offspring(rng, parents, min(_CHUNK, self._candidates - start))))
            # Two chunks may have the same child.
            found = (_different(found.with_more(chunk)) if len(found.genomes) else chunk).shortlist(n)
        return found

    def _offspring(self, rng: np.random.Generator, parents: Genomes, count: int) -> Genomes:
        """`count` children of two parents each, the better ones more often, and some random immigrants."""
        pairs = rng.integers(len(parents), size=(2, count, 2)).min(axis=2)
        first, second = parents[pairs[0]], parents[pairs[1]]
        mixed = np.where(rng.random(first.shape, np.float32) < 0.5, second, first)
        # From one changed gene to a third of them: close offspring refine, distant ones explore.
        rate = rng.uniform(1 / max(1, len(self._sizes)), 1 / 3 + 1e-9, size=(len(mixed), 1))
        mutated = mutate(rng, mixed, self._sizes, self._ordinal, rng.random(mixed.shape, np.float32) < rate)
        children = self._prior.redraw(rng, mixed, mutated)
        immigrants = uniform(self._sizes)(rng, max(1, count // 16), 0)
        return np.concatenate((children, immigrants))


def _different(pool: Pool) -> Pool:
    """The first of equal genomes each."""
    firsts = np.sort(np.unique(pool.genomes, axis=0, return_index=True)[1])
    return Pool(pool.genomes[firsts], pool.mean[firsts])
