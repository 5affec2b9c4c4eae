"""Small changes of genomes that evolutionary searchers share: other options, mutation, neighbours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nas.searchers.base import Genomes

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


def other_options(rng: np.random.Generator, genomes: Genomes, sizes: Genomes, ordinal: Flags) -> Ints:
    """Give every gene of genomes [n, G] another option: a neighbour for half of the ordinal genes, else any other.

    `genomes` may be single genes [k] as well, with the sizes and the order of each.
    """
    far = (genomes + rng.integers(1, np.maximum(sizes, 2), size=genomes.shape)) % sizes
    step = np.where(rng.random(genomes.shape) < 0.5, 1, -1)
    # At either end the only neighbour lies inside.
    step = np.where(genomes == 0, 1, np.where(genomes == sizes - 1, -1, step))
    near = ordinal & (sizes > 1) & (rng.random(genomes.shape) < 0.5)
    moved: Ints = np.where(near, genomes + step, far).astype(np.int64)
    return moved


def mutate(rng: np.random.Generator, genomes: Genomes, sizes: Genomes, ordinal: Flags, where: Flags) -> Ints:
    """Give the genes of genomes [n, G] that are marked in `where` [n, G] another option, as `other_options` does."""
    result = np.array(genomes, dtype=np.int64)
    rows, genes = np.nonzero(where)
    result[rows, genes] = other_options(rng, result[rows, genes], sizes[genes], ordinal[genes])
    return result


def change(rng: np.random.Generator, genomes: Genomes, sizes: Genomes, ordinal: Flags, count: int) -> Ints:
    """Change exactly `count` genes of each genome [n, G], or all that have a choice where those are fewer."""
    order = np.where(sizes > 1, rng.random(genomes.shape), np.inf).argsort(axis=1).argsort(axis=1)
    return mutate(rng, genomes, sizes, ordinal, (order < count) & (sizes > 1))


def neighbours(genome: Genomes, sizes: Genomes) -> Ints:
    """All genomes that differ from `genome` [G] in one gene [sum of (sizes - 1), G]."""
    genes = np.repeat(np.arange(len(sizes)), np.asarray(sizes) - 1)
    shift = np.concatenate([np.arange(1, size) for size in sizes]) if len(genes) else np.empty(0, np.int64)
    result = np.repeat(np.asarray(genome, dtype=np.int64)[None], len(genes), axis=0)
    result[np.arange(len(genes)), genes] += shift
    return result % sizes
