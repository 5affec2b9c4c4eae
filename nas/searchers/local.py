"""Local search: evaluate the neighbours of the best genome, go to a better one, start anew where there is none.

White, Nolen and Savani, "Exploring the loss landscape in neural architecture search" (UAI 2021, arXiv 2005.02960), who
found it to compete with far more elaborate methods.
"""

from __future__ import annotations

import numpy as np

from nas.errors import InputError
from nas.searchers.archive import Archive
from nas.searchers.base import Genomes, Problem, Values
from nas.searchers.feasibility_filter import FeasibilityFilter, uniform
from nas.searchers.moves import neighbours


class LocalSearch:
    """Descends from the best of `starts` random genomes until all neighbours within a budget are known, then restarts.

    Neighbours differ in one gene. A batch larger than a neighbourhood goes on with that of the next best genome.
    Raises InputError for parameters out of range.
    """

    wants_prior = False

    def __init__(self, problem: Problem, *, starts: int = 10) -> None:
        if starts < 1:
            raise InputError(f"local: a descent from {starts} genomes cannot start; starts is at least 1")
        self._problem = problem
        self._sizes = np.asarray(problem.sizes, dtype=np.int64)
        self._starts = starts
        self._filter = FeasibilityFilter(problem)
        self._archive = Archive(len(self._sizes))  # of the present descent

    def ask(self, n: int) -> Genomes:
        """See `Searcher.ask`."""
        rng = self._filter.generator()
        random = uniform(self._sizes)
        return self._filter.propose(
            rng, n, (random,) if len(self._archive) < self._starts else (self._neighbourhood, random)
        )

    def tell(self, genomes: Genomes, values: Values, violation: Values) -> None:
        """See `Searcher.tell`: a descent whose best genome has no unknown neighbour within a budget is over."""
        self._filter.add(genomes)
        self._archive.add(genomes, values, violation)
        if len(self._archive) >= self._starts and not self._filter.fitting(self._around(self._archive.best()[0])):
            self._archive = Archive(len(self._sizes))

    def _neighbourhood(self, rng: np.random.Generator, n: int, attempt: int) -> Genomes:
        """Neighbours, in random order, of as many of the best genomes as it takes to have n; more in each round."""
        found: list[Genomes] = []
        for index in self._archive.best():
            if sum(map(len, found)) >= n * (1 + attempt):
                break
            found.append(rng.permutation(self._around(index)))
        return np.concatenate(found)

    def _around(self, index: np.intp) -> Genomes:
        return neighbours(self._archive.genomes[index], self._sizes)
