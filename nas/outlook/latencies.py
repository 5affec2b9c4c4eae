"""Between which times do the networks of a space lie on a target, as far as is believed beforehand?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hardware_profiles import Target
from latency_models.untabled import Untabled
from nas.devices.networks import reference_genomes
from nas.outlook.rehearsal import Rehearsed
from nas.searchers.fastest import fastest
from search_spaces.ir import Network
from search_spaces.slots import Genomes

#: Bounds of the interval that a time is believed to lie in, with 90 %.
_LOW, _HIGH = 0.05, 0.95
#: A descent over more genes takes longer than anyone waits for an answer.
_MOST_GENES: Final = 150
#: Networks that are looked at instead: by tables, or by asking a model for each.
_LOOKED_AT: Final = 1_000
_ASKED: Final = 16


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
    """The span of a target's latencies; exact where seconds add up over few genes, else of some networks."""
    problem, tables = found.problem, found.problem.tables[target]

    def quick(genomes: Genomes) -> NDArray[np.float64]:
        return tables.latency_s(genomes)

    def slow(genomes: Genomes) -> NDArray[np.float64]:
        seconds = tables.latency_s(genomes)
        # A network that a table does not know takes infinitely long, and is no network to speak of.
        return np.where(np.isfinite(seconds), -seconds, np.inf)

    if isinstance(tables, Untabled) or len(problem.sizes) > _MOST_GENES:
        some = reference_genomes(problem.space, _ASKED if isinstance(tables, Untabled) else _LOOKED_AT, problem.seed)
        seconds = quick(np.stack(some))
        genomes = (some[int(seconds.argmin())], some[int(slow(np.stack(some)).argmin())])
    else:
        genomes = (fastest(problem, quick, starts=8)[0], fastest(problem, slow, starts=8)[0])
    first, last = (_believed(found, target, found.context.space.decode(genome)) for genome in genomes)
    return Span(first, last)


def _believed(found: Rehearsed, target: Target, network: Network) -> Believed:
    believed = found.beliefs[target].model.predict([network]).believed()
    low, high = (float(believed.quantile_s(q)[0]) for q in (_LOW, _HIGH))
    return Believed(float(believed.mean_s[0]), low, high)
