"""Which networks of a space one training step trains: the sandwich rule, and fairness among operator choices.

Sandwich rule: BigNAS (Yu et al. 2020, arXiv 2003.11142). Strict fairness: FairNAS (Chu et al. 2021, arXiv 1907.01845).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search_spaces.slots import Gene, SearchSpace, random_genomes

#: A canonical genome [genes] that should be trained at a step; None for none.
Wish = Callable[[int], NDArray[np.int64] | None]


def _extreme(space: SearchSpace, choose: Callable[[NDArray[np.float64]], np.intp]) -> NDArray[np.int64]:
    genome = [_position(gene, choose) for gene in space.genes]
    result: NDArray[np.int64] = space.canonical(np.array([genome], np.int64))[0]
    return result


def _position(gene: Gene, choose: Callable[[NDArray[np.float64]], np.intp]) -> int:
    """Index of the extreme option; options that are no numbers count in the order of the table."""
    numbers = all(isinstance(option, (bool, int, float)) for option in gene.options)
    options = gene.options if numbers else range(len(gene.options))
    return int(choose(np.array(options, np.float64)))


def largest(space: SearchSpace) -> NDArray[np.int64]:
    """The canonical genome [genes] with every decision at its largest option."""
    return _extreme(space, np.argmax)


def smallest(space: SearchSpace) -> NDArray[np.int64]:
    """The canonical genome [genes] with every decision at its smallest option."""
    return _extreme(space, np.argmin)


def operator_genes(space: SearchSpace) -> tuple[int, ...]:
    """The genes that select operators with weights of their own."""
    return tuple(sorted({slot.genes[position] for slot in space.slots for position in slot.operator_choice}))


class Sandwich:
    """Satisfies `trainer.Sampler`: the largest network, the smallest, and `random` drawn ones.

    Genes of operator choices run through permutations of their options, and there are at least as many networks as the
    choice with most of them has: the operators of a choice take turns, each is trained in every step, and none more
    than once oftener than another. With such genes no network is fixed, and the first, which is then drawn as the
    others are, teaches none of them. Where a `wish` names a network for a step, that takes the place of the last of the
    `random` ones.
    """

    def __init__(self, space: SearchSpace, random: int, wish: Wish | None = None) -> None:
        self._space, self._random, self._wish = space, random, wish
        self._ends = np.stack([largest(space), smallest(space)])
        self._choices = operator_genes(space)
        self.fixed = self._ends[:0] if self._choices else self._ends
        self.teaches = not self._choices
        options = (len(space.genes[gene].options) for gene in self._choices)
        self._networks = max(2 + random, *options) if self._choices else random
        more = self._choices and self._networks > 2 + random
        # Said only where there are more of them than in earlier releases, whose checkpoints go on.
        self.identity: Mapping[str, Any] = {"random_subnets": random, **({"networks": self._networks} if more else {})}

    def draw(self, rng: np.random.Generator, step: int) -> NDArray[np.int64]:
        """Canonical genomes [n, genes] of one step that are not fixed."""
        drawn = self._drawn(rng)
        wished = self._wish(step) if self._wish is not None and self._random else None
        if wished is not None:
            drawn[-1] = wished
        return drawn

    def _drawn(self, rng: np.random.Generator) -> NDArray[np.int64]:
        if not self._choices:
            return random_genomes(self._space, self._networks, rng)
        genomes = np.concatenate([self._ends, random_genomes(self._space, self._networks - len(self._ends), rng)])
        for gene in self._choices:
            options = len(self._space.genes[gene].options)
            turns = [rng.permutation(options) for _ in range(-(-len(genomes) // options))]
            genomes[:, gene] = np.concatenate(turns)[: len(genomes)]
        result: NDArray[np.int64] = self._space.canonical(genomes).astype(np.int64)
        return result
