"""Regularised evolution: the best of a sample breeds by one mutation, and the oldest dies whatever it is worth.

Real, Aggarwal, Huang and Le, "Regularized evolution for image classifier architecture search" (AAAI 2019, arXiv
1802.01548). Several objectives are compared by Pareto rank and crowding distance, feasible genomes first.
"""

from __future__ import annotations

import numpy as np

from nas.errors import InputError
from nas.searchers.archive import Archive
from nas.searchers.base import Genomes, Problem, Values
from nas.searchers.feasibility_filter import FeasibilityFilter, uniform
from nas.searchers.moves import change


class RegularisedEvolution:
    """Keeps the last `population` genomes; the best of `sample` of them, drawn anew for each child, is its parent.

    Until `population` genomes were told, asks at random: within a budget if `budgeted_initialisation`, else anywhere.
    Raises InputError for parameters out of range.
    """

    wants_prior = False

    def __init__(
        self, problem: Problem, *, population: int = 30, sample: int = 10, budgeted_initialisation: bool = True
    ) -> None:
        if population < 1 or not 1 <= sample <= population:
            raise InputError(
                f"regularised: {sample} of a population of {population} cannot be drawn; sample lies between 1 and "
                "population"
            )
        self._sizes = np.asarray(problem.sizes, dtype=np.int64)
        self._ordinal = np.asarray(problem.ordinal, dtype=np.bool_)
        self._filter = FeasibilityFilter(problem)
        self._population = population
        self._sample = sample
        self._budgeted = budgeted_initialisation
        self._archive = Archive(len(self._sizes))

    def ask(self, n: int) -> Genomes:
        """See `Searcher.ask`."""
        rng = self._filter.generator()
        if len(self._archive) < self._population:
            return self._filter.propose(rng, n, (uniform(self._sizes),), anywhere=not self._budgeted)
        return self._filter.propose(rng, n, (self._children, uniform(self._sizes)))

    def tell(self, genomes: Genomes, values: Values, violation: Values) -> None:
        """See `Searcher.tell`: what came before the last `population` genomes is forgotten."""
        self._filter.add(genomes)
        self._archive.add(genomes, values, violation)
        self._archive.keep(slice(-self._population, None))

    def _children(self, rng: np.random.Generator, n: int, attempt: int) -> Genomes:
        """Mutate one gene of each parent; every further attempt one more, the children of the last were all known."""
        place = np.empty(len(self._archive), dtype=np.int64)
        place[self._archive.best()] = np.arange(len(place))
        drawn = rng.permuted(np.tile(np.arange(len(place)), (n, 1)), axis=1)[:, : self._sample]
        parents = drawn[np.arange(n), place[drawn].argmin(axis=1)]
        return change(rng, self._archive.genomes[parents], self._sizes, self._ordinal, 1 + attempt)
