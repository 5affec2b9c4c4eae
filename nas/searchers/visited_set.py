"""The set of genomes that a search asked for or was told of."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from nas.searchers.base import Genomes


class VisitedSet:
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
        # A space of one network has no genes.
        return np.indices(tuple(self._sizes)).reshape(len(self._sizes), self.total).T
