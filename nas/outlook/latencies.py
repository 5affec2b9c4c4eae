"""Between which times do the networks of a space lie on a target, as far as is believed beforehand?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hardware_profiles import Target
from latency_models.untabled import Untabled
from nas.outlook.rehearsal import Rehearsed
from nas.searchers.fastest import fastest
from search_spaces.ir import Network
from search_spaces.slots import Genomes

#: Bounds of the interval that a time is believed to lie in, with 90 %.
_LOW, _HIGH = 0.05, 0.95


@dataclass(frozen=True)
class Believed:
    """The worst case of one network: seconds, and the 90 % interval of what is believed."""

    seconds: float
    low_s: float
    high_s: float


@dataclass(frozen=True)
class Span:
    """The fastest and the slowest network that were found on a target."""

    fastest: Believed
    slowest: Believed


def span_of(found: Rehearsed, target: Target) -> Span:
    """The span of a target's latencies; of models that are asked network by network only a few are."""
    problem, tables = found.problem, found.problem.tables[target]

    def quick(genomes: Genomes) -> NDArray[np.float64]:
        return tables.latency_s(genomes)

    def slow(genomes: Genomes) -> NDArray[np.float64]:
        seconds = tables.latency_s(genomes)
        # A network that a table does not know takes infinitely long, and is no network to speak of.
        return np.where(np.isfinite(seconds), -seconds, np.inf)

    if isinstance(tables, Untabled):
        corner = problem.canonical(np.asarray(problem.sizes)[None] - 1)[0]
        genomes = (fastest(problem, quick, starts=2, sweeps=1)[0], corner)
    else:
        genomes = (fastest(problem, quick, starts=8)[0], fastest(problem, slow, starts=8)[0])
    first, last = (_believed(found, target, found.context.space.decode(genome)) for genome in genomes)
    return Span(first, last)


def _believed(found: Rehearsed, target: Target, network: Network) -> Believed:
    believed = found.beliefs[target].model.predict([network]).believed()
    low, high = (float(believed.quantile_s(q)[0]) for q in (_LOW, _HIGH))
    return Believed(float(believed.mean_s[0]), low, high)
