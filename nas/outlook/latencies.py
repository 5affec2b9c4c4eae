"""Between which times do the networks of a space lie on a target, as far as is believed beforehand?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
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


def spans_of(found: Rehearsed) -> dict[Target, Span]:
    """The span of each target's latencies; exact where seconds add up over few genes, else of some networks."""
    space, seed = found.problem.space, found.problem.seed
    # Targets differ in seconds, and not in networks: each is made once.
    some = cache(lambda n: reference_genomes(space, n, seed))
    decoded = cache(space.decode)
    spans = {}
    for target in found.context.experiment.targets:
        fastest_one, slowest = _extremes(found, target, some)
        spans[target] = Span(
            *(_believed(found, target, decoded(tuple(genome.tolist()))) for genome in (fastest_one, slowest))
        )
    return spans


def _extremes(
    found: Rehearsed, target: Target, some: Callable[[int], Sequence[NDArray[np.int64]]]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The fastest and the slowest genome on a target."""
    problem, tables = found.problem, found.problem.tables[target]

    def quick(genomes: Genomes) -> NDArray[np.float64]:
        return tables.latency_s(genomes)

    def slow(genomes: Genomes) -> NDArray[np.float64]:
        seconds = tables.latency_s(genomes)
        # A network that a table does not know takes infinitely long, and is no network to speak of.
        return np.where(np.isfinite(seconds), -seconds, np.inf)

    if isinstance(tables, Untabled) or len(problem.sizes) > _MOST_GENES:
        genomes = some(_ASKED if isinstance(tables, Untabled) else _LOOKED_AT)
        stacked = np.stack(genomes)
        return genomes[int(quick(stacked).argmin())], genomes[int(slow(stacked).argmin())]
    return fastest(problem, quick, starts=8)[0], fastest(problem, slow, starts=8)[0]


def _believed(found: Rehearsed, target: Target, network: Network) -> Believed:
    believed = found.beliefs[target].model.predict([network]).believed()
    low, high = (float(believed.quantile_s(q)[0]) for q in (_LOW, _HIGH))
    return Believed(float(believed.mean_s[0]), low, high)
