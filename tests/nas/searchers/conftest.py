"""Problems with known answers, for all searchers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pytest

from nas.searchers.base import Genomes, Values


@dataclass(frozen=True)
class Toy:
    """A chain: gene 0 is its depth, every gene below it has options, and those behind the depth mean nothing.

    Latency is the sum of options in use, so the fastest genome is all zeros; `budgets` bound it, in the same unit. The
    objectives are those of ZDT1 (Zitzler, Deb and Thiele 2000) on the genes scaled to [0, 1].
    """

    depth: int = 6
    options: int = 8
    budgets: tuple[float, ...] = (np.inf,)
    seed: int = 0
    deep: bool = False

    @cached_property
    def sizes(self) -> Genomes:
        return np.array([self.depth] + [self.options] * self.depth)

    @cached_property
    def ordinal(self) -> np.ndarray:
        return np.arange(len(self.sizes)) % 2 == 0

    def canonical(self, genomes: Genomes) -> Genomes:
        if self.deep:
            return genomes
        used = np.arange(self.depth) <= genomes[:, :1]
        return np.column_stack((genomes[:, :1], np.where(used, genomes[:, 1:], 0)))

    def latency(self, genomes: Genomes) -> Values:
        return genomes.sum(axis=1) * 1.0

    def cheap(self, genomes: Genomes) -> tuple[Values, Values]:
        latency = self.latency(genomes)
        return latency[:, None], np.maximum(latency[:, None] - np.array(self.budgets), 0)

    def evaluate(self, genomes: Genomes) -> tuple[Values, Values]:
        x = genomes / (self.sizes - 1)
        g = 1 + 9 * x[:, 1:].mean(axis=1)
        return np.column_stack((x[:, 0], g * (1 - np.sqrt(x[:, 0] / g)))), self.cheap(genomes)[1]


@pytest.fixture
def toy() -> Callable[..., Toy]:
    return Toy


@dataclass(frozen=True)
class Plain:
    """Genes without an order and without dependence on each other; the latency is the sum of the options."""

    genes: int
    options: int
    budget: float = np.inf
    seed: int = 0

    @cached_property
    def sizes(self) -> Genomes:
        return np.full(self.genes, self.options)

    @cached_property
    def ordinal(self) -> np.ndarray:
        return np.zeros(self.genes, dtype=np.bool_)

    def canonical(self, genomes: Genomes) -> Genomes:
        return genomes

    def cheap(self, genomes: Genomes) -> tuple[Values, Values]:
        latency = genomes.sum(axis=1, keepdims=True) * 1.0
        return latency, np.maximum(latency - self.budget, 0)


@pytest.fixture
def plain() -> Callable[..., Plain]:
    return Plain
