"""A searcher that begins with given genomes, such as those a differentiable search proposes."""

from __future__ import annotations

import numpy as np

from nas.searchers.base import Genomes, Problem, Searcher, Values
from nas.searchers.visited_set import VisitedSet


class Seeded:
    """Asks for `genomes` [n, genes] in their order, then for what `inner` asks for, which hears of all of them."""

    wants_prior = False

    def __init__(self, problem: Problem, inner: Searcher, genomes: Genomes) -> None:
        self._visited = VisitedSet(problem.sizes)
        self._waiting = self._visited.new(problem.canonical(np.asarray(genomes)).astype(np.int64))
        self._inner = inner

    def ask(self, n: int) -> Genomes:
        """See `Searcher.ask`; a batch with given genomes holds no others."""
        waiting = self._visited.new(self._waiting)
        if not len(waiting):
            return self._inner.ask(n)
        self._waiting = waiting[n:]
        return waiting[:n]

    def tell(self, genomes: Genomes, values: Values, violation: Values) -> None:
        """See `Searcher.tell`."""
        self._visited.add(genomes)
        self._inner.tell(genomes, values, violation)
