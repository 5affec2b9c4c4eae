"""Random search: uniform among the genomes that keep a budget, the baseline that every other searcher has to beat.

Li and Talwalkar, "Random search and reproducibility for neural architecture search" (UAI 2019).
"""

from __future__ import annotations

from nas.searchers.base import Genomes, Problem, Values
from nas.searchers.screen import Screen, uniform


class RandomSearch:
    """Asks for genomes at random and learns nothing but which were asked."""

    def __init__(self, problem: Problem) -> None:
        self._screen = Screen(problem)
        self._source = uniform(problem.sizes)

    def ask(self, n: int) -> Genomes:
        """See `Searcher.ask`."""
        return self._screen.propose(self._screen.generator(), n, (self._source,))

    def tell(self, genomes: Genomes, values: Values, violation: Values) -> None:
        """See `Searcher.tell`; the values are not looked at."""
        self._screen.add(genomes)
