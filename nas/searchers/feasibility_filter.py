"""The free filter that all searchers share: canonical, never asked before, and within a budget wherever possible.

Candidates come in vectorised batches from a list of sources, tried in turn for a bounded number of rounds. Where
sampling does not meet a budget (a tight one may admit one genome in a billion), the best candidates descend into it
one gene at a time, and then wander inside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from nas.searchers.base import Genomes, Listed, Problem, least_violation
from nas.searchers.fastest import descend
from nas.searchers.visited_set import VisitedSet

#: (generator, number of genomes, round) -> genomes [number, G]; later rounds may stray further.
Source = Callable[[np.random.Generator, int, int], Genomes]

ROUNDS = 6
OVERSAMPLE = 4
ENUMERABLE = 1 << 16
FEWEST = 64


class FeasibilityFilter:
    """Turns sources of candidates into genomes worth evaluating; remembers what was asked and whether anything fits."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self.visited = VisitedSet(problem.sizes)
        self._fits = False

    def generator(self) -> np.random.Generator:
        """The randomness of the next ask: a function of the seed and of how much was asked, not of history."""
        return np.random.default_rng((self._problem.seed, self.visited.count))

    def add(self, genomes: Genomes) -> None:
        """Remember genomes that were told; those that were asked here are known already."""
        new = self.visited.new(genomes)
        if len(new):
            self._fits = self._fits or bool((self._violation(new) == 0).any())
            self.visited.add(new)

    def everything(self) -> Genomes | None:
        """All canonical genomes [N, G], some of them twice; None where they are too many to enumerate."""
        if isinstance(self._problem, Listed):
            return self._problem.listed
        return self._problem.canonical(self.visited.everything()) if self.visited.total <= ENUMERABLE else None

    def fitting(self, candidates: Genomes) -> int:
        """How many of the candidates [n, G] are new, different and within a budget; nothing is remembered."""
        return int((self._violation(self.visited.new(self._problem.canonical(candidates))) == 0).sum())

    def propose(
        self, rng: np.random.Generator, n: int, sources: Sequence[Source], *, anywhere: bool = False
    ) -> Genomes:
        """At most n new genomes, from then on remembered: feasible ones, in the order in which the sources made them.

        If nothing in the space is known to be feasible, the least violating ones. In a space that can be enumerated
        nothing is missed. With `anywhere`, whatever is new counts as feasible.
        """
        pool: Genomes = np.empty((0, len(self._problem.sizes)), dtype=np.int64)
        violation = np.empty(0)
        if n <= 0:
            return pool

        def widen(candidates: Genomes) -> bool:
            nonlocal pool, violation
            joined = self.visited.new(np.concatenate((pool, self._problem.canonical(candidates).astype(np.int64))))
            more = np.zeros(len(joined) - len(pool)) if anywhere else self._violation(joined[len(pool) :])
            violation = np.concatenate((violation, more))
            pool = joined
            return int((violation == 0).sum()) >= n

        done = False
        for source in sources:
            for attempt in range(ROUNDS):
                done = done or widen(source(rng, max(FEWEST, OVERSAMPLE * n), attempt))
        everything = None if done else self.everything()
        if everything is not None:
            done = widen(rng.permutation(everything))
        elif not done and len(pool):
            walkers = pool[np.argsort(violation, kind="stable")[: max(FEWEST, 2 * n)]]
            walkers, _ = descend(self._problem, self._violation, walkers, rng, sweeps=1, enough=0.0)
            done = widen(walkers)
            for _ in range(ROUNDS):
                if not done:
                    walkers, visited = self._wander(rng, walkers)
                    done = widen(np.concatenate((walkers, visited)))
        feasible = violation == 0
        self._fits = self._fits or (bool(feasible.any()) and not anywhere)
        order = np.flatnonzero(feasible) if self._fits else np.argsort(violation, kind="stable")
        chosen = pool[order[:n]]
        self.visited.add(chosen)
        return chosen

    def _wander(self, rng: np.random.Generator, genomes: Genomes) -> tuple[Genomes, Genomes]:
        """Change as many genes as there are, one at a time, staying within a budget or coming closer to it.

        Returns where the genomes are then [n, G], and all that was tried on the way.
        """
        visited = []
        genomes = genomes.copy()
        violation = self._violation(genomes)
        rows = np.arange(len(genomes))
        for _ in range(genomes.shape[1]):
            gene = rng.integers(genomes.shape[1], size=len(rows))
            trial = genomes.copy()
            trial[rows, gene] = rng.integers(self._problem.sizes[gene])
            trial = self._problem.canonical(trial)
            changed = self._violation(trial)
            better = (changed < violation) | (changed == 0)
            genomes[better], violation[better] = trial[better], changed[better]
            visited.append(trial)
        return genomes, np.concatenate(visited)

    def _violation(self, genomes: Genomes) -> NDArray[np.float64]:
        return least_violation(self._problem.free_objectives(genomes)[1]) if len(genomes) else np.empty(0)


def uniform(sizes: Genomes) -> Source:
    """The source of uniformly random genomes."""

    def sample(rng: np.random.Generator, n: int, attempt: int) -> Genomes:
        return rng.integers(sizes, size=(n, len(sizes)))

    return sample
