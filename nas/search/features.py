"""What models of accuracy learn from besides genes and latency, where an experiment asks for it: `search.features`.

They cost a fraction of what judging a network does, and are known of networks that were never judged.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from nas.process.machine import computing
from nas.run.context import Context
from nas.run.trial import Trial
from nas.run.zero_cost import zero_cost
from search_spaces.slots import Genomes

if TYPE_CHECKING:
    from nas.zero_cost.scoring import ZeroCost

Floats = NDArray[np.float64]

#: The feature that is no score but a count, and stands in every trial under this name.
MACS: Final = "macs"


class Features:
    """The numbers of networks that a run's experiment asks for: zero-cost scores, logarithm of the multiply-adds."""

    def __init__(self, context: Context) -> None:
        self.names, self._scored = context.experiment.search.features, context.experiment.search.scored
        self._context = context

    def __call__(self, genomes: Genomes) -> Floats:
        """The features of canonical genomes [n, names]; scores are computed once for each network."""
        found = np.empty((len(genomes), len(self.names)))
        if not len(genomes):
            return found
        if MACS in self.names:
            found[:, self.names.index(MACS)] = self._log_macs(genomes)
        if self._scored:
            with computing():
                found[:, [self.names.index(name) for name in self._scored]] = self._scores(genomes)
        return found

    def noted(self, genome: NDArray[np.int64]) -> dict[str, float]:
        """The scores of one genome by name, as its trial notes them."""
        if not self._scored:
            return {}
        return dict(zip(self._scored, self._scores(genome[None])[0].tolist(), strict=True))

    @cached_property
    def _scores(self) -> ZeroCost:
        return zero_cost(self._context, self._scored)

    @cached_property
    def _tables(self) -> list[NDArray[np.int64]]:
        """The multiply-adds of every combination of each slot."""
        networks = [map(slot.network, slot.combinations()) for slot in self._context.space.slots]
        return [np.array([0 if network is None else network.macs for network in slot], np.int64) for slot in networks]

    def _log_macs(self, genomes: Genomes) -> Floats:
        """The logarithm of the multiply-adds of each network, exits that it has among them [n]."""
        total = np.zeros(len(genomes), np.int64)
        for slot, table in zip(self._context.space.slots, self._tables, strict=True):
            total += table[slot.index(genomes)]
        return np.asarray(np.log(np.maximum(total, 1)))


def of_trials(trials: Sequence[Trial], names: Sequence[str]) -> Floats:
    """The features that trials note [n, names]; NaN where one does not."""
    found = np.array([[trial.metrics.get(name, math.nan) for name in names] for trial in trials], np.float64)
    found = found.reshape(len(trials), len(names))
    if MACS in names:
        column = found[:, names.index(MACS)]
        column[:] = np.log(np.maximum(column, 1))
    return found
