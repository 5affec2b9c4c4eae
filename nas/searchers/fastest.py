"""The smallest value of a free function over a whole space, by coordinate descent from many starts at once.

Used to say how fast a network can be made when no network keeps the budget. Exact for functions that add up over
genes; for others a local minimum of all single-gene changes, the best of `starts`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nas.searchers.base import Genomes, Problem, Values, least_violation


def fastest(
    problem: Problem, value: Callable[[Genomes], Values] | None = None, *, starts: int = 64, sweeps: int = 20
) -> tuple[NDArray[np.int64], float]:
    """The canonical genome [G] of the smallest value(genomes [n, G]) -> [n], and that value.

    Without `value`, the violation of the nearest budget. Deterministic in `problem.seed`.
    """
    score = value or (lambda genomes: least_violation(problem.free_objectives(genomes)[1]))
    sizes = np.asarray(problem.sizes, dtype=np.int64)
    rng = np.random.default_rng((problem.seed, starts))
    # The two corners are the smallest and the largest network of most spaces.
    genomes: Genomes = np.concatenate(
        (rng.integers(sizes, size=(starts, len(sizes))), [np.zeros_like(sizes), sizes - 1])
    )
    genomes, best = descend(problem, score, problem.canonical(genomes), rng, sweeps)
    winner = int(best.argmin())
    return genomes[winner].astype(np.int64), float(best[winner])


def descend(
    problem: Problem,
    value: Callable[[Genomes], Values],
    genomes: Genomes,
    rng: np.random.Generator,
    sweeps: int,
    enough: float = -np.inf,
) -> tuple[Genomes, Values]:
    """Give every gene of each genome [n, G] its best option, genes in random order, until `sweeps` passes are over.

    Returns the genomes and their values [n]; a genome that is no better after a pass, or is at `enough`, has stopped.
    """
    sizes = np.asarray(problem.sizes, dtype=np.int64)
    genomes = genomes.copy()
    best = _numbers(value(genomes))
    moving = np.flatnonzero(best > enough)
    for _ in range(sweeps):
        before = best.copy()
        orders = rng.permuted(np.tile(np.arange(len(sizes)), (len(genomes), 1)), axis=1)
        for turn in range(len(sizes)):
            moving = moving[best[moving] > enough]
            if len(moving) == 0:
                return genomes, best
            gene = orders[moving, turn]
            # Genes with fewer options than the largest try some of them twice.
            options = np.arange(sizes[gene].max())[:, None] % sizes[gene]
            tried = np.repeat(genomes[moving][None], len(options), axis=0)
            tried[:, np.arange(len(moving)), gene] = options
            tried = problem.canonical(tried.reshape(-1, len(sizes))).reshape(tried.shape)
            values = _numbers(value(tried.reshape(-1, len(sizes)))).reshape(options.shape)
            choice = values.argmin(axis=0)
            column = np.arange(len(moving))
            better = values[choice, column] < best[moving]
            genomes[moving[better]] = tried[choice, column][better]
            best[moving[better]] = values[choice, column][better]
        moving = moving[best[moving] < before[moving]]
    return genomes, best


def _numbers(values: Values) -> Values:
    return np.where(np.isnan(values), np.inf, values)
