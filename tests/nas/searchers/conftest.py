"""Problems with known answers, for all searchers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pytest

from nas.searchers.base import Genomes, Values
from nas.testing.problems import Chain


@pytest.fixture
def toy() -> Callable[..., Chain]:
    return Chain


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

    def free_objectives(self, genomes: Genomes) -> tuple[Values, Values]:
        latency = genomes.sum(axis=1, keepdims=True) * 1.0
        return latency, np.maximum(latency - self.budget, 0)


@pytest.fixture
def plain() -> Callable[..., Plain]:
    return Plain
