"""Random search: uniform among the genomes that keep a budget, the baseline that every other searcher has to beat.

Li and Talwalkar, "Random search and reproducibility for neural architecture search" (UAI 2019).
"""

from __future__ import annotations

from nas.searchers.base import Genomes, Problem, Values
from nas.searchers.feasibility_filter import FeasibilityFilter, uniform


class RandomSearch:
    """Asks for genomes at random and learns nothing but which were asked."""

    wants_prior = False

    def __init__(self, problem: Problem) -> None:
        self._filter = FeasibilityFilter(problem)
        self._source = uniform(problem.sizes)

    def ask(self, n: int) -> Genomes:
        """See `Searcher.ask`."""
        return self._filter.propose(self._filter.generator(), n, (self._source,))

    def tell(self, genomes: Genomes, values: Values, violation: Values) -> None:
        """See `Searcher.tell`; the values are not looked at."""
        self._filter.add(genomes)
