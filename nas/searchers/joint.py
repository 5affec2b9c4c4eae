"""Joint search: evolution breeds, tables discard what breaks the budget, a predictor chooses what is evaluated.

A distribution over choices, such as a differentiable run learns, is the prior of the initial population and of the
mutations; what is evaluated trains an accuracy predictor with uncertainty, which screens the offspring. The surrogate
management is that of model-assisted evolution (Jin 2011, "Surrogate-assisted evolutionary computation").
"""

from __future__ import annotations

import numpy as np

from ..errors import InputError
from .base import Problem
from .moves import mutate
from .predictor import Pool, Predictor
from .screen import uniform


class Joint(Predictor):
    """Breeds `offspring` from the best `population` genomes per batch; the predictor picks those that are evaluated.

    A million offspring are possible: they cost about a second where a hundred genomes are known. `initial` and `prior`
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

    def _pool(self, rng: np.random.Generator) -> Pool:
        """Offspring of the population that are new and within a budget, with some strangers among them."""
        parents = self._told.genomes[self._told.best()[: self._population]]
        pairs = rng.integers(len(parents), size=(2, self._candidates, 2)).min(axis=2)
        first, second = parents[pairs[0]], parents[pairs[1]]
        mixed = np.where(rng.random(first.shape, np.float32) < 0.5, second, first)
        # From one changed gene to a third of them: close offspring refine, distant ones explore.
        rate = rng.uniform(1 / max(1, len(self._sizes)), 1 / 3 + 1e-9, size=(len(mixed), 1))
        mutated = mutate(rng, mixed, self._sizes, self._ordinal, rng.random(mixed.shape, np.float32) < rate)
        children = self._prior.redraw(rng, mixed, mutated)
        strangers = uniform(self._sizes)(rng, max(1, self._candidates // 16), 0)
        return self._judged(self._new(np.concatenate((children, strangers))))
