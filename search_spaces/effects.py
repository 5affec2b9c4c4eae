"""Which genes of a staged network mean something: depth removes blocks and exits, a limit the exits beyond it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search_spaces.random_subset import random_subset
from search_spaces.slots import Genomes


@dataclass(frozen=True)
class Keep:
    """Which genes of a stage mean something at each depth: `table[depth option, gene]`; `depth` None if it is fixed."""

    depth: int | None
    genes: NDArray[np.intp]
    table: NDArray[np.bool_]


def canonical(genomes: Genomes, keeps: Sequence[Keep], exits: Sequence[int], max_exits: int) -> Genomes:
    """Genomes [n, genes] with genes that depth removed set to 0, and those of more than `max_exits` of `exits`."""
    result = np.array(genomes, order="F")
    for keep in keeps:
        if keep.depth is None or not len(keep.genes):
            continue
        depth = result[:, keep.depth]
        for column, gene in enumerate(keep.genes):
            allowed = keep.table[:, column]
            if not allowed.all():
                result[:, gene] *= allowed[depth]
    if len(exits) > max_exits:
        on = result[:, exits] != 0
        surplus = np.flatnonzero(on.sum(axis=1) > max_exits)
        stay = random_subset(on[surplus], max_exits)
        for column, gene in enumerate(exits):
            result[surplus, gene] *= stay[:, column]
    return result


def active(genomes: Genomes, keeps: Sequence[Keep], exits: Sequence[int], max_exits: int) -> NDArray[np.bool_]:
    """Whether each gene of canonical genomes [n, genes] has an effect; of more exits than may be, a random subset."""
    genomes = np.asarray(genomes)
    result = np.ones(genomes.shape, np.bool_)
    for keep in keeps:
        if keep.depth is not None:
            result[:, keep.genes] = keep.table[genomes[:, keep.depth]]
    if len(exits) > max_exits:
        on = genomes[:, exits] != 0
        full = on.sum(axis=1) == max_exits
        row, column = np.nonzero(full[:, None] & ~on & result[:, exits])
        more, at = on[row], np.arange(len(row))
        more[at, column] = True
        result[row, np.asarray(exits)[column]] = random_subset(more, max_exits)[at, column]
    return result
