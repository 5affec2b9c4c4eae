"""NSGA-II: evolve a population towards the whole Pareto front, feasible genomes first.

Deb, Pratap, Agarwal and Meyarivan, "A fast and elitist multiobjective genetic algorithm: NSGA-II" (IEEE TEVC 2002),
with uniform crossover and, for genes whose options have neighbours, mutation to a neighbour half of the time.
Budgeted initialisation is EEEA-Net's (Termritthikun et al. 2021, arXiv 2108.06156), where it is called early exit.
"""

from __future__ import annotations

import numpy as np

from nas.errors import InputError
from nas.searchers.archive import Archive
from nas.searchers.base import Genomes, Problem, Values
from nas.searchers.feasibility_filter import FeasibilityFilter, uniform
from nas.searchers.moves import mutate


class NSGA2:
    """Keeps the best `population` genomes by (rank, crowding distance) and breeds the next ones from them.

    Until `population` genomes were told, asks at random: within a budget if `budgeted_initialisation`, else anywhere.
    `crossover` is the probability that a child has two parents; `mutation` the probability that a gene of a child
    changes, by default one gene per child on average. Raises InputError for parameters out of range.
    """

    wants_prior = False

    def __init__(
        self,
        problem: Problem,
        *,
        population: int = 64,
        crossover: float = 0.9,
        mutation: float | None = None,
        budgeted_initialisation: bool = True,
    ) -> None:
        if population < 2:
            raise InputError(f"nsga2: a population of {population} cannot breed; it takes at least 2")
        for name, value in (("crossover", crossover), ("mutation", mutation)):
            if value is not None and not 0 <= value <= 1:
                raise InputError(f"nsga2: {name} is {value}, and a probability lies between 0 and 1")
        self._sizes = np.asarray(problem.sizes, dtype=np.int64)
        self._ordinal = np.asarray(problem.ordinal, dtype=np.bool_)
        self._filter = FeasibilityFilter(problem)
        self._mu = population
        self._crossover = crossover
        self._mutation = 1 / max(1, int((self._sizes > 1).sum())) if mutation is None else mutation
        self._budgeted = budgeted_initialisation
        self._count = 0
        self._archive = Archive(len(self._sizes))  # the population, the best first

    def ask(self, n: int) -> Genomes:
        """See `Searcher.ask`."""
        rng = self._filter.generator()
        if self._count < self._mu:
            return self._filter.propose(rng, n, (uniform(self._sizes),), anywhere=not self._budgeted)
        # A population that has converged makes few new children; random genomes then fill the batch.
        return self._filter.propose(rng, n, (self._children, uniform(self._sizes)))

    def tell(self, genomes: Genomes, values: Values, violation: Values) -> None:
        """See `Searcher.tell`: the population becomes the best of itself and the batch."""
        self._filter.add(genomes)
        self._count += len(genomes)
        self._archive.add(genomes, values, violation)
        self._archive.keep(self._archive.best()[: self._mu])

    def _children(self, rng: np.random.Generator, n: int, attempt: int) -> Genomes:
        """Breed n children; every further attempt mutates more, because the children of the last were all known."""
        first, second = self._parents(rng, n), self._parents(rng, n)
        mixed = (rng.random(first.shape) < 0.5) & (rng.random((n, 1)) < self._crossover)
        children = np.where(mixed, second, first)
        changed = rng.random(first.shape) < min(1.0, self._mutation * (1 + attempt))
        return mutate(rng, children, self._sizes, self._ordinal, changed)

    def _parents(self, rng: np.random.Generator, n: int) -> Genomes:
        """Choose n parents, each the better of two by (rank, crowding distance); the population is sorted by both."""
        pairs = rng.integers(len(self._archive), size=(n, 2))
        parents: Genomes = self._archive.genomes[pairs.min(axis=1)]
        return parents
