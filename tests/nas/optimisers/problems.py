"""Problems without networks: genes of given sizes, some of which mean nothing when another one says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from nas.optimisers.base import Bools, Feedback, Floats, Ints
from nas.optimisers.cost import Additive, Factor
from nas.searchers.base import Genomes, Values
from search_spaces.slots import find_active


@dataclass(frozen=True)
class Choices:
    """Genes with that many `options`; where gene 0 is 0, the `optional` genes have no effect."""

    options: tuple[int, ...]
    optional: tuple[int, ...] = ()
    seed: int = 0

    @property
    def sizes(self) -> Genomes:
        return np.array(self.options)

    @property
    def ordinal(self) -> np.ndarray[Any, Any]:
        return np.zeros(len(self.options), np.bool_)

    def canonical(self, genomes: Genomes) -> Genomes:
        result = np.array(genomes)
        for gene in self.optional:
            result[:, gene] *= result[:, 0] > 0
        return result

    def active(self, genomes: Genomes) -> Bools:
        return find_active(self.canonical, self.sizes, genomes)

    def cheap(self, genomes: Genomes) -> tuple[Values, Values]:
        return np.zeros((len(genomes), 1)), np.zeros((len(genomes), 0))

    def every(self) -> Ints:
        """All canonical genomes."""
        genomes = np.array(list(product(*(range(n) for n in self.options))))
        return np.unique(self.canonical(genomes), axis=0)


@dataclass(frozen=True, eq=False)
class Opaque:
    """Seconds that nobody can look into; satisfies `Cost`."""

    of: Callable[[Genomes], Floats]

    def seconds(self, genomes: Genomes) -> Floats:
        return self.of(np.asarray(genomes))


def padded(problem: Choices, rng: np.random.Generator) -> Floats:
    """Random numbers for the options of each gene [genes, options], 0 where there is none."""
    values = rng.normal(size=(len(problem.options), max(problem.options)))
    return np.where(np.arange(values.shape[1]) < problem.sizes[:, None], values, 0.0)


def separate(problem: Choices, rng: np.random.Generator, constant: float = 0.5) -> Additive:
    """A cost with one factor per gene; gene 0's first option costs nothing."""
    factors = []
    for gene, size in enumerate(problem.options):
        seconds = rng.uniform(0.0, 1.0, size)
        factors.append(Factor((gene,), seconds, np.ones(size, np.bool_)))
    return Additive(constant, tuple(factors))


def chained(problem: Choices, rng: np.random.Generator) -> Additive:
    """Factors that share genes: 0 with all others, neighbours with each other; optional genes are absent without 0."""
    factors = [Factor((0,), rng.uniform(0.0, 0.2, problem.options[0]), np.ones(problem.options[0], np.bool_))]
    for gene in range(1, len(problem.options)):
        genes = (0, gene) if gene in problem.optional else (gene - 1, gene)
        shape = tuple(problem.options[g] for g in genes)
        seconds, present = rng.uniform(0.0, 1.0, shape), np.ones(shape, np.bool_)
        if gene in problem.optional:
            seconds[0], present[0] = 0.0, False
        factors.append(Factor(genes, seconds, present))
    return Additive(0.1, tuple(factors))


def additive_loss(
    utility: Floats, noise: float = 0.0, scale: float = 1.0, gradient: bool = True, seed: int = 0
) -> Callable[[Ints, int], Feedback]:
    """The loss of a path whose choices have `utility` [genes, options], with noise that follows the step."""

    def loss(path: Ints, step: int) -> Feedback:
        rng = np.random.default_rng((seed, step))
        chosen = utility[np.arange(len(path)), path]
        value = 3.0 - chosen.sum() + noise * rng.normal()
        return Feedback(scale * value, scale * (noise * rng.normal(size=len(path)) - chosen) if gradient else None)

    return loss
