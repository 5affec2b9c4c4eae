"""The networks of largest preference under a limit on additive seconds: a multiple-choice knapsack, solved exactly.

Dynamic programme over cells of latency (Kellerer, Pferschy and Pisinger 2004, "Knapsack Problems", chapter 11), factor
by factor. Genes that several factors read are carried as further axes until the last of them has been added, so that
spaces whose slots share depth and width are solved too. Seconds are rounded to the nearest cell on the way; every
cell's network is then priced exactly, and those that don't fit are dropped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from nas.optimisers.base import Floats, Ints
from nas.optimisers.cost import Additive, Factor

#: Cells up to the limit. Seconds are off by half a cell per factor at worst: 0.05 % of the limit for 21 factors.
CELLS = 20_000
#: The least that is worth it; the most cells of all tables of options together, and of the widest table of values:
#: half a gigabyte in all.
LEAST_CELLS, MOST, MOST_VALUES = 2_000, 1 << 27, 1 << 24


@dataclass(frozen=True)
class _Step:
    """One factor as the programme went through it, for the way back.

    `axes` are the genes carried while it was added; `shared` and `own` are its genes that others read too and that only
    it reads. For every combination of the shared and each of the own genes' [*shared, options]: `cells` it takes.
    `pick` [*axes, cells] is the best option, and `leaving` says for each gene dropped afterwards where it was among the
    axes and its best value [*axes without it, cells].
    """

    axes: tuple[int, ...]
    shared: tuple[int, ...]
    own: tuple[int, ...]
    options: Ints
    cells: Ints
    pick: NDArray[np.int16]
    leaving: tuple[tuple[int, int, NDArray[np.int16]], ...]


def best_per_cell(preference: Floats, sizes: Ints, cost: Additive, limit_s: float, cells: int = CELLS) -> Ints:
    """For each reachable cell of latency up to just above the limit, the genome of largest preference [n, genes].

    `preference` [genes, options] adds up over genes; where a factor is absent whatever its own genes are, those don't
    count. No network within `limit_s` less half a cell per factor is better than the best of these that fits.
    """
    slowest_s = cost.constant_s + sum(float(factor.seconds.max()) for factor in cost.factors)
    # Where everything fits, cells end at what there is: networks far below a loose limit must not share one.
    unit, width = (min(limit_s, slowest_s) or limit_s) / cells, cells + len(cost.factors) // 2 + 2
    start = round(cost.constant_s / unit)
    value = np.full(width, -np.inf)
    if start < width:
        value[start] = 0.0
    readers = [gene for factor in cost.factors for gene in factor.genes]
    last = {gene: number for number, factor in enumerate(cost.factors) for gene in factor.genes}
    axes: tuple[int, ...] = ()
    steps = []
    for number, factor in enumerate(cost.factors):
        shared = tuple(gene for gene in factor.genes if readers.count(gene) > 1)
        for gene in shared:
            if gene not in axes:
                value = value[..., None, :] + preference[gene, : sizes[gene], None]
                axes += (gene,)
        value, step = _add(value, factor, shared, axes, preference, unit)
        leaving = []
        for gene in shared:
            if last[gene] == number:
                axis = axes.index(gene)
                leaving.append((gene, axis, value.argmax(axis=axis).astype(np.int16)))
                value = value.max(axis=axis)
                axes = axes[:axis] + axes[axis + 1 :]
        steps.append(_Step(*step, tuple(leaving)))
    return _trace(np.flatnonzero(np.isfinite(value)), steps, preference, sizes)


def affordable_cells(cost: Additive, sizes: Ints) -> int:
    """How many cells `best_per_cell` can have within its memory: CELLS, fewer, or 0 where too many genes are shared."""
    readers = [gene for factor in cost.factors for gene in factor.genes]
    last = {gene: number for number, factor in enumerate(cost.factors) for gene in factor.genes}
    axes: set[int] = set()
    states, widest = 0, 1
    for number, factor in enumerate(cost.factors):
        axes |= {gene for gene in factor.genes if readers.count(gene) > 1}
        here = math.prod(int(sizes[gene]) for gene in axes)
        states, widest = states + here, max(widest, here)
        axes = {gene for gene in axes if last[gene] > number}
    cells = min(CELLS, MOST // max(states, 1), MOST_VALUES // widest)
    return cells if cells >= LEAST_CELLS else 0


def _add(
    value: Floats, factor: Factor, shared: tuple[int, ...], axes: tuple[int, ...], preference: Floats, unit: float
) -> tuple[Floats, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], Ints, Ints, NDArray[np.int16]]]:
    """The value after a factor, and the fields of its step but for what leaves."""
    own = tuple(gene for gene in factor.genes if gene not in shared)
    order = [factor.genes.index(gene) for gene in (*shared, *own)]
    seconds, present = factor.seconds.transpose(order), factor.present.transpose(order)
    own_sizes = seconds.shape[len(shared) :]
    options = np.indices(own_sizes).reshape(len(own), math.prod(own_sizes)).T
    gain = np.array([sum(preference[gene, v] for gene, v in zip(own, row, strict=True)) for row in options.tolist()])
    flat = seconds.reshape(*seconds.shape[: len(shared)], -1)
    taken = np.rint(flat / unit).astype(np.int64)
    counts = np.asarray(present.reshape(flat.shape).any(axis=-1))
    width = value.shape[-1]
    result, pick = np.full_like(value, -np.inf), np.zeros(value.shape, np.int16)
    for at in product(*(range(size) for size in flat.shape[:-1])):
        where = tuple(at[shared.index(gene)] if gene in shared else slice(None) for gene in axes)
        source, target, chosen = value[where], result[where], pick[where]
        for option, shift in enumerate(taken[at].tolist()):
            if shift < width:
                reached = source[..., : width - shift] + (gain[option] if counts[at] else 0.0)
                better = reached > target[..., shift:]
                np.copyto(target[..., shift:], reached, where=better)
                chosen[..., shift:][better] = option
    return result, (axes, shared, own, options, taken, pick)


def _trace(ends: NDArray[np.intp], steps: list[_Step], preference: Floats, sizes: Ints) -> Ints:
    """The genomes [n, genes] that reach the final cells `ends` [n]."""
    # Genes that cost nothing take their best option.
    legal = np.arange(preference.shape[1]) < sizes[:, None]
    genomes = np.repeat(np.where(legal, preference, -np.inf).argmax(axis=1)[None], len(ends), axis=0)
    cell = ends.copy()
    for step in reversed(steps):
        axes = step.axes
        # What left last had the fewest axes beside it: go back in the opposite order.
        left = [axes]
        for gene, _, _ in step.leaving:
            left.append(tuple(other for other in left[-1] if other != gene))
        for (gene, _, best), rest in zip(reversed(step.leaving), reversed(left[1:]), strict=True):
            genomes[:, gene] = best[(*(genomes[:, other] for other in rest), cell)]
        option = step.pick[(*(genomes[:, gene] for gene in axes), cell)]
        if step.own:
            genomes[:, list(step.own)] = step.options[option]
        cell = cell - step.cells[(*(genomes[:, gene] for gene in step.shared), option)]
    return np.asarray(genomes, np.int64)
