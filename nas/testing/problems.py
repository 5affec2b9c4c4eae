"""Problems with known answers: integers that cost something, without a device or a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.optimisers.base import Bools, Feedback, Floats, Ints
from nas.optimisers.cost import Additive, Factor
from nas.searchers.base import Genomes, Values
from search_spaces.slots import find_active


@dataclass(frozen=True)
class Chain:
    """A chain: gene 0 is its depth, every gene below it has options, and those behind the depth mean nothing.

    Latency is the sum of options in use, so the fastest genome is all zeros; `budgets` bound it, in the same unit. The
    objectives are those of ZDT1 (Zitzler, Deb and Thiele 2000) on the genes scaled to [0, 1]. In a `deep` chain every
    gene counts.
    """

    depth: int = 6
    options: int = 8
    budgets: tuple[float, ...] = (np.inf,)
    seed: int = 0
    deep: bool = False

    @cached_property
    def sizes(self) -> Genomes:
        """See `Problem.sizes`."""
        return np.array([self.depth] + [self.options] * self.depth)

    @cached_property
    def ordinal(self) -> NDArray[np.bool_]:
        """See `Problem.ordinal`; every second gene has an order."""
        return np.asarray(np.arange(len(self.sizes)) % 2 == 0)

    def canonical(self, genomes: Genomes) -> Genomes:
        """See `Problem.canonical`."""
        if self.deep:
            return genomes
        used = np.arange(self.depth) <= genomes[:, :1]
        return np.column_stack((genomes[:, :1], np.where(used, genomes[:, 1:], 0)))

    def latency(self, genomes: Genomes) -> Values:
        """What budgets bound [n]."""
        return np.asarray(genomes.sum(axis=1) * 1.0)

    def free_objectives(self, genomes: Genomes) -> tuple[Values, Values]:
        """See `Problem.free_objectives`: the latency."""
        latency = self.latency(genomes)
        return latency[:, None], np.maximum(latency[:, None] - np.array(self.budgets), 0)

    def evaluate(self, genomes: Genomes) -> tuple[Values, Values]:
        """What a searcher is told of genomes: two objectives [n, 2] and the violation [n, budgets]."""
        x = genomes / (self.sizes - 1)
        g = 1 + 9 * x[:, 1:].mean(axis=1)
        return np.column_stack((x[:, 0], g * (1 - np.sqrt(x[:, 0] / g)))), self.free_objectives(genomes)[1]


@dataclass(frozen=True)
class Choices:
    """Genes with that many `options`; where gene 0 is 0, the `optional` genes have no effect. Nothing has a budget."""

    options: tuple[int, ...]
    optional: tuple[int, ...] = ()
    seed: int = 0

    @property
    def sizes(self) -> Genomes:
        """See `Problem.sizes`."""
        return np.array(self.options)

    @property
    def ordinal(self) -> NDArray[np.bool_]:
        """See `Problem.ordinal`; none."""
        return np.zeros(len(self.options), np.bool_)

    def canonical(self, genomes: Genomes) -> Genomes:
        """See `Problem.canonical`."""
        result = np.array(genomes)
        for gene in self.optional:
            result[:, gene] *= result[:, 0] > 0
        return result

    def active(self, genomes: Genomes) -> Bools:
        """See `optimisers.base.Problem.active`."""
        return find_active(self.canonical, self.sizes, genomes)

    def free_objectives(self, genomes: Genomes) -> tuple[Values, Values]:
        """See `Problem.free_objectives`; nothing is known and nothing is violated."""
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
        """See `Cost.seconds`."""
        return self.of(np.asarray(genomes))


@dataclass(frozen=True, eq=False)
class Noisy:
    """The loss of a network whose choices have `utility` [genes, options], with noise that follows the step.

    Satisfies `Loss`. With `gradient` it says how much each option contributes: all of those of the genes that are
    `elastic`, and of the others the chosen one.
    """

    utility: Floats
    noise: float = 0.0
    scale: float = 1.0
    gradient: bool = True
    seed: int = 0
    failing: frozenset[int] = field(default_factory=frozenset)
    elastic: frozenset[int] = frozenset()

    def __call__(self, genome: Ints, step: int) -> Feedback:
        """The feedback of a genome; not a number at the `failing` steps."""
        rng: Any = np.random.default_rng((self.seed, step))
        chosen = self.utility[np.arange(len(genome)), genome]
        shape = self.utility.shape
        seen = genome[:, None] == np.arange(shape[1])
        seen[list(self.elastic)] = True
        if step in self.failing:
            return Feedback(float("nan"), *((np.full(shape, np.nan), seen) if self.gradient else ()))
        value = 3.0 - chosen.sum() + self.noise * rng.normal()
        if not self.gradient:
            return Feedback(self.scale * value)
        slope = self.scale * (self.noise * rng.normal(size=len(genome))[:, None] - self.utility)
        return Feedback(self.scale * value, np.where(seen, slope, 0.0), seen)


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
