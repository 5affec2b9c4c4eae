"""From preferences to networks within a limit.

Exactly where the space is small or seconds add up, by single swaps where they don't, or where so many slots read the
same genes that a knapsack over them would not fit into memory.

The first proposal uses at least 99 % of the limit if any network does: what a budget leaves unused is capacity given
away. The others follow by preference alone, so that a better and faster one, if there is, stands second.
"""

from __future__ import annotations

import math

import numpy as np

from nas.errors import NothingFits
from nas.optimisers.base import Cost, Floats, Ints, Problem, legal, total
from nas.optimisers.cost import Additive
from nas.optimisers.knapsack import affordable_cells, best_per_cell
from nas.searchers.base import Genomes
from nas.searchers.fastest import fastest
from nas.searchers.feasibility_filter import ENUMERABLE

#: The share of the limit that a proposal should use.
FLOOR = 0.99
#: A limit that every network keeps.
_NO_LIMIT_S = 1e12


def derive(
    problem: Problem, preference: Floats, cost: Cost, limit_s: float, start: Ints, floor: float = FLOOR
) -> tuple[Ints, Floats]:
    """Canonical genomes [n, genes] within `limit_s` in the order of their worth, and their seconds [n].

    The first is the best by `preference` [genes, options] of those that take at least `floor` of the limit, if there
    are any; the others are the best whatever they take. `start` [genes] is where swaps begin if `cost` isn't additive.
    Raises NothingFits as `fastest_within` does.
    """
    sizes = np.asarray(problem.sizes, np.int64)
    cells = affordable_cells(cost, sizes) if isinstance(cost, Additive) else 0
    if math.prod(sizes.tolist()) <= ENUMERABLE:
        genomes = _all(sizes)
    elif isinstance(cost, Additive) and cells:
        genomes = best_per_cell(preference, sizes, cost, limit_s, cells)
    else:
        genomes = np.stack([swaps(problem, preference, cost, limit_s, start, least) for least in (0.0, floor)])
        # Whoever judges the proposals can do better with the networks around them than with two alone.
        genomes = np.concatenate([genomes, *(_neighbours(problem, preference, cost, g)[0] for g in genomes)])
    genomes = np.unique(problem.canonical(genomes), axis=0).astype(np.int64)
    seconds = cost.seconds(genomes)
    genomes, seconds = genomes[seconds <= limit_s], seconds[seconds <= limit_s]
    if not len(genomes):
        genomes = fastest_within(problem, cost, limit_s)[None]
        seconds = cost.seconds(genomes)
    order = np.argsort(-total(problem, preference, genomes), kind="stable")
    inside = seconds[order] >= floor * limit_s
    if inside.any():
        first = int(inside.argmax())
        order = np.concatenate((order[first : first + 1], np.delete(order, first)))
    return genomes[order], seconds[order]


def without_limit(problem: Problem, preference: Floats, cost: Cost) -> Ints:
    """The canonical genome [genes] of most `preference` [genes, options], whatever it takes.

    Genes count where they have an effect. Of spaces that are too large it is the best that single swaps come to.
    """
    sizes = np.asarray(problem.sizes, np.int64)
    if math.prod(sizes.tolist()) > ENUMERABLE:
        each = np.where(legal(problem), preference, -np.inf).argmax(axis=1)
        return swaps(problem, preference, cost, _NO_LIMIT_S, each, 0.0)
    genomes = np.asarray(problem.canonical(_all(sizes)), np.int64)
    best: Ints = genomes[total(problem, preference, genomes).argmax()]
    return best


def _all(sizes: Ints) -> Ints:
    """Every genome [n, genes] of genes with so many options [genes]."""
    return np.stack(np.unravel_index(np.arange(math.prod(sizes.tolist())), tuple(sizes)), axis=1).astype(np.int64)


def swaps(problem: Problem, preference: Floats, cost: Cost, limit_s: float, start: Ints, floor: float = FLOOR) -> Ints:
    """A canonical genome [genes] within `limit_s` by changes of one gene at a time.

    While it is too slow, the change that loses least preference per second saved; then the one that gains most within
    the limit, as long as there is one; then, below `floor` of the limit, the one that loses least on the way up.
    Raises NothingFits.
    """
    here = np.asarray(problem.canonical(np.asarray(start)[None])[0], np.int64)
    while float(cost.seconds(here[None])[0]) > limit_s:
        others, seconds, gain = _neighbours(problem, preference, cost, here)
        saving = float(cost.seconds(here[None])[0]) - seconds
        if not (saving > 0).any():
            here = fastest_within(problem, cost, limit_s)
            break
        loss = np.where(saving > 0, -gain / np.where(saving > 0, saving, 1.0), np.inf)
        here = others[loss.argmin()]
    while True:
        others, seconds, gain = _neighbours(problem, preference, cost, here)
        gain = np.where(seconds <= limit_s, gain, -np.inf)
        if not (gain > 1e-12).any():
            break
        here = others[gain.argmax()]
    while (now := float(cost.seconds(here[None])[0])) < floor * limit_s:
        others, seconds, gain = _neighbours(problem, preference, cost, here)
        rise = np.where(seconds <= limit_s, seconds - now, 0.0)
        if not (rise > 0).any():
            break
        inside = (rise > 0) & (seconds >= floor * limit_s)
        here = others[np.where(inside if inside.any() else rise > 0, gain, -np.inf).argmax()]
    return here


def _neighbours(problem: Problem, preference: Floats, cost: Cost, genome: Ints) -> tuple[Ints, Floats, Floats]:
    """Genomes that differ in one gene [n, genes], their seconds [n], and how much preference they gain [n]."""
    genes, options = np.nonzero(legal(problem))
    changed = np.repeat(genome[None], len(genes), axis=0)
    changed[np.arange(len(genes)), genes] = options
    others = np.unique(np.concatenate([genome[None], problem.canonical(changed)]), axis=0).astype(np.int64)
    value = total(problem, preference, others)
    own = total(problem, preference, genome[None])[0]
    return others, cost.seconds(others), value - own


def fastest_within(problem: Problem, cost: Cost, limit_s: float) -> Ints:
    """The fastest canonical genome [genes].

    Raises NothingFits if it takes more than `limit_s`. It is found by changing genes one at a time from many starts,
    which is exact where seconds add up over genes.
    """

    def seconds(genomes: Genomes) -> Floats:
        return cost.seconds(genomes)

    genome, least = fastest(problem, seconds)
    if least > limit_s:
        raise NothingFits(
            f"no network of the space is predicted to take at most {limit_s:.6g} s; the fastest takes {least:.6g} s"
        )
    return genome
