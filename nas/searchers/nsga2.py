"""NSGA-II: evolve a population towards the whole Pareto front, feasible genomes first.

Deb, Pratap, Agarwal and Meyarivan, "A fast and elitist multiobjective genetic algorithm: NSGA-II" (IEEE TEVC 2002),
with uniform crossover and, for genes whose options have neighbours, mutation to a neighbour half of the time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..pareto import crowding_distance, pareto_rank
from .base import Genomes, Problem, Values, least_violation
from .screen import Screen, uniform


class NSGA2:
    """Keeps the best `population` genomes by (rank, crowding distance) and breeds the next ones from them.

    Until `population` genomes were told, asks at random. `crossover` is the probability that a child has two parents;
    `mutation` the probability that a gene of a child changes, by default one gene per child on average.
    Raises InputError for parameters out of range.
    """

    def __init__(
        self, problem: Problem, *, population: int = 64, crossover: float = 0.9, mutation: float | None = None
    ) -> None:
        if population < 2:
            raise InputError(f"nsga2: a population of {population} cannot breed; it takes at least 2")
        for name, value in (("crossover", crossover), ("mutation", mutation)):
            if value is not None and not 0 <= value <= 1:
                raise InputError(f"nsga2: {name} is {value}, and a probability lies between 0 and 1")
        self._sizes = np.asarray(problem.sizes, dtype=np.int64)
        self._ordinal = np.asarray(problem.ordinal, dtype=np.bool_)
        self._screen = Screen(problem)
        self._mu = population
        self._crossover = crossover
        self._mutation = 1 / max(1, int((self._sizes > 1).sum())) if mutation is None else mutation
        self._told = 0
        self._genomes: Genomes = np.empty((0, len(self._sizes)), dtype=np.int64)  # sorted, the best first
        self._values: Values = np.empty((0, 0))
        self._violation = np.empty(0)

    def ask(self, n: int) -> Genomes:
        """See `Searcher.ask`."""
        # A population that has converged makes few new children; random genomes then fill the batch.
        sources = (uniform(self._sizes),) if self._told < self._mu else (self._children, uniform(self._sizes))
        return self._screen.propose(self._screen.generator(), n, sources)

    def tell(self, genomes: Genomes, values: Values, violation: Values) -> None:
        """See `Searcher.tell`: the population becomes the best of itself and the batch."""
        self._screen.add(genomes)
        self._told += len(genomes)
        known = self._values if len(self._values) else np.empty((0, values.shape[1]))
        finite = np.logical_and.reduce(np.isfinite(values), axis=1)
        distance = least_violation(violation)
        # What failed within its budget is worse than what is known to break one.
        distance = np.where(finite | (distance > 0), distance, np.inf)
        genomes = np.concatenate((self._genomes, genomes))
        values = np.concatenate((known, np.where(finite[:, None], values, 0.0)))
        distance = np.concatenate((self._violation, distance))
        rank = pareto_rank(values, distance)
        best = np.lexsort((-crowding_distance(values, rank), rank))[: self._mu]
        self._genomes, self._values, self._violation = genomes[best], values[best], distance[best]

    def _children(self, rng: np.random.Generator, n: int, attempt: int) -> Genomes:
        """Breed n children; every further attempt mutates more, because the children of the last were all known."""
        first, second = self._parents(rng, n), self._parents(rng, n)
        mixed = (rng.random(first.shape) < 0.5) & (rng.random((n, 1)) < self._crossover)
        children = np.where(mixed, second, first)
        changed = rng.random(first.shape) < min(1.0, self._mutation * (1 + attempt))
        return np.where(changed, self._other_options(rng, children), children)

    def _parents(self, rng: np.random.Generator, n: int) -> Genomes:
        """Choose n parents, each the better of two by (rank, crowding distance); the population is sorted by both."""
        pairs = rng.integers(len(self._genomes), size=(n, 2))
        parents: Genomes = self._genomes[pairs.min(axis=1)]
        return parents

    def _other_options(self, rng: np.random.Generator, genomes: Genomes) -> NDArray[np.int64]:
        """Give every gene another option: a neighbour for half of the ordinal genes, any other for the rest."""
        sizes = self._sizes
        far = (genomes + rng.integers(1, np.maximum(sizes, 2), size=genomes.shape)) % sizes
        step = np.where(rng.random(genomes.shape) < 0.5, 1, -1)
        # At either end the only neighbour lies inside.
        step = np.where(genomes == 0, 1, np.where(genomes == sizes - 1, -1, step))
        near = self._ordinal & (sizes > 1) & (rng.random(genomes.shape) < 0.5)
        moved: NDArray[np.int64] = np.where(near, genomes + step, far)
        return moved
