"""The free filter that all searchers share: canonical, never asked before, and within a budget wherever possible.

Candidates come in vectorised batches from a list of sources, tried in turn for a bounded number of rounds. Where
sampling does not meet a budget (a tight one may admit one genome in a billion), the best candidates descend into it
one gene at a time, and then wander inside.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from nas.searchers.base import Genomes, Listed, Problem, least_violation
from nas.searchers.fastest import descend

#: (generator, number of genomes, round) -> genomes [number, G]; later rounds may stray further.
Source = Callable[[np.random.Generator, int, int], Genomes]

ROUNDS = 6
OVERSAMPLE = 4
ENUMERABLE = 1 << 16
FEWEST = 64


class Seen:
    """The genomes asked or told so far, by hash: grows only, and `count` is where a search stands."""

    def __init__(self, sizes: Genomes) -> None:
        self._sizes = np.asarray(sizes, dtype=np.int64)
        self.total = math.prod(int(size) for size in sizes)
        if self.total < 2**63:
            weights = np.cumprod(np.concatenate(([1], self._sizes[:-1]))).astype(np.uint64)
        else:
            # Above 2^63 genomes the mixed-radix number does not fit; random weights modulo 2^64 hardly ever
            # collide, and a collision only means that one genome is not proposed.
            weights = np.random.default_rng(0).integers(2**64, size=len(sizes), dtype=np.uint64) | np.uint64(1)
        self._weights = weights
        self._keys = np.empty(0, dtype=np.uint64)

    @property
    def count(self) -> int:
        """How many different genomes were asked or told."""
        return len(self._keys)

    def keys(self, genomes: Genomes) -> NDArray[np.uint64]:
        """Hash genomes [n, G] to [n]."""
        hashed: NDArray[np.uint64] = (genomes.astype(np.uint64) * self._weights).sum(axis=1, dtype=np.uint64)
        return hashed

    def new(self, genomes: Genomes) -> Genomes:
        """Keep the first of equal rows, and only those never added, in their order."""
        keys, firsts = np.unique(self.keys(genomes), return_index=True)
        return genomes[np.sort(firsts[~np.isin(keys, self._keys, assume_unique=True)])]

    def add(self, genomes: Genomes) -> None:
        """Remember genomes [n, G]."""
        self._keys = np.union1d(self._keys, self.keys(genomes))

    def everything(self) -> Genomes:
        """Enumerate the space [total, G]."""
        return np.stack(np.unravel_index(np.arange(self.total), tuple(self._sizes)), axis=1)


class Screen:
    """Turns sources of candidates into genomes worth evaluating; remembers what was asked and whether anything fits."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self.seen = Seen(problem.sizes)
        self._fits = False

    def generator(self) -> np.random.Generator:
        """The randomness of the next ask: a function of the seed and of how much was asked, not of history."""
        return np.random.default_rng((self._problem.seed, self.seen.count))

    def add(self, genomes: Genomes) -> None:
        """Remember genomes that were told; those that were asked here are known already."""
        new = self.seen.new(genomes)
        if len(new):
            self._fits = self._fits or bool((self._violation(new) == 0).any())
            self.seen.add(new)

    def everything(self) -> Genomes | None:
        """All canonical genomes [N, G], some of them twice; None where they are too many to enumerate."""
        if isinstance(self._problem, Listed):
            return self._problem.listed
        return self._problem.canonical(self.seen.everything()) if self.seen.total <= ENUMERABLE else None

    def fitting(self, candidates: Genomes) -> int:
        """How many of the candidates [n, G] are new, different and within a budget; nothing is remembered."""
        return int((self._violation(self.seen.new(self._problem.canonical(candidates))) == 0).sum())

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
            joined = self.seen.new(np.concatenate((pool, self._problem.canonical(candidates).astype(np.int64))))
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
        self.seen.add(chosen)
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
