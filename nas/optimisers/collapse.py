"""Whether a differentiable search has collapsed: onto layers left out, or onto nothing in particular.

Differentiable searches are known to end at networks of skips, which train fast and are worth little (Zela et al., ICLR
2020, arXiv 1909.09656; Chu et al., ECCV 2020, arXiv 1911.12126). A tight budget leaves layers out as well, so the share
left out is compared with that of random networks that take about as long.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from latency_models.additive import Tables
from nas.optimisers.base import Cost, Floats, Ints
from nas.searchers.base import Genomes, Problem
from nas.searchers.feasibility_filter import FeasibilityFilter, uniform

#: Networks drawn; those that take at least the share of the limit count, or so many of the slowest within it.
_DRAWN, _NEAR, _FEWEST = 800, 0.9, 20


def left_out(macs: Tables, genomes: Genomes) -> Floats:
    """The share of the body's slots that can do without arithmetic which do, of canonical genomes [n, genes] -> [n].

    `macs` are the space's tables of multiply-adds: layers that are absent, skips, zeros and poolings have none.
    """
    genomes = np.asarray(genomes)
    body = [
        (slot, bare)
        for slot, values in zip(macs.slots, macs.values, strict=True)
        if slot.role == "body" and (bare := values == 0).any() and not bare.all()
    ]
    if not body:
        return np.zeros(len(genomes))
    return np.asarray(np.mean([bare[slot.index(genomes)] for slot, bare in body], axis=0), np.float64)


def compare(problem: Problem, macs: Tables, cost: Cost, limit_s: float, chosen: Ints) -> dict[str, float]:
    """Figures for the report: the share left out of `chosen` [genes], and its mean and 95 % quantile among networks
    that take about as long; a function of its arguments and `problem.seed`."""
    rng = np.random.default_rng((problem.seed, _DRAWN))
    found = FeasibilityFilter(problem).propose(rng, _DRAWN, (uniform(np.asarray(problem.sizes, np.int64)),))
    seconds = cost.seconds(found)
    slowest = np.argsort(np.where(seconds <= limit_s, -seconds, seconds), kind="stable")
    near = int(((seconds <= limit_s) & (seconds >= _NEAR * limit_s)).sum())
    shares = left_out(macs, found[slowest[: max(near, _FEWEST)]])
    return {
        "left_out": float(left_out(macs, chosen[None])[0]),
        "left_out_random": float(shares.mean()),
        "left_out_random_95": float(np.quantile(shares, 0.95)),
    }


def statement(report: Mapping[str, float]) -> str:
    """What the figures of a report say about collapse, in a sentence; empty where there is nothing to say."""
    if report["left_out"] > max(report["left_out_random_95"], 0.5):
        return (
            f"collapsed: {report['left_out']:.0%} of the layers that can do without arithmetic do, and "
            f"{report['left_out_random']:.0%} of those of random networks that take as long"
        )
    explained, chance = report.get("loss_explained"), report.get("loss_explained_chance", 0.0)
    if explained is not None and explained < chance:
        return (
            f"undecided: what was learned foretells losses no better than chance (correlation {explained:.2f}, by "
            f"chance up to {chance:.2f}); more steps, or options that differ more, are needed"
        )
    return ""
