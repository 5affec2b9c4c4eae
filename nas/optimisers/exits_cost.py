"""Mean seconds of networks with early exits, and their exact expectation when every gene is drawn on its own.

Of the samples that arrive at an exit that is on, a fixed share leaves there; everything behind is paid by the rest. So
a slot's seconds are multiplied by the chance of getting past each exit before it, one factor per exit. Whether an exit
is on is decided by a gene that no other slot reads, hence the expectation of the product is the product of the
expectations, and its gradient is exact. The worst case is `cost.of_tables`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from latency_models.additive import Tables
from nas.optimisers.base import Floats
from nas.optimisers.cost import Factor, contract
from nas.searchers.base import Genomes
from search_spaces.slots import ExitSite


@dataclass(frozen=True, eq=False)
class _Slot:
    """A slot's seconds; for an exit, the gene that switches it, which options [options] turn it on, who leaves."""

    factor: Factor
    own: int | None
    on: Floats
    exit_rate: float


class ExpectedExits:
    """The mean over samples of tables with exits; satisfies `Smooth`.

    `sites` say what switches each exit, the final one last, and `exit_rates` [early exits] which share of the arriving
    samples each sends away where it is on. Raises ValueError for shares outside [0, 1) or of another number, and for
    an exit that anything but a gene of its own turns on.
    """

    def __init__(self, tables: Tables, sites: Sequence[ExitSite], exit_rates: Sequence[float]) -> None:
        exits = [slot.name for slot in tables.slots if slot.role == "exit"]
        if len(exit_rates) != len(exits) or not all(0 <= share < 1 for share in exit_rates):
            raise ValueError(f"{len(exits)} shares in [0, 1) are needed, one per early exit, got {tuple(exit_rates)}")
        readers = [gene for slot in tables.slots for gene in slot.genes]
        early = zip(sites[:-1], exit_rates, strict=True)
        self._slots = []
        for slot, values, present in zip(tables.slots, tables.values, tables.present, strict=True):
            factor = Factor(slot.genes, values.reshape(slot.sizes), present.reshape(slot.sizes))
            own, leaving = None, 0.0
            on: Floats = np.zeros((0,))
            if slot.role == "exit":
                site, leaving = next(early)
                own = site.gene
                others = tuple(axis for axis, gene in enumerate(slot.genes) if gene != own)
                there = np.asarray(factor.present.any(others))
                if own is None or readers.count(own) != 1 or (there != factor.present.all(others)).any():
                    raise ValueError(f"exit {slot.name!r} is not turned on by one gene of its own alone")
                on = np.asarray(there, np.float64)
            self._slots.append(_Slot(factor, own, on, leaving))

    def seconds(self, genomes: Genomes) -> Floats:
        """Mean seconds of canonical genomes [n, genes] -> [n]."""
        genomes = np.asarray(genomes)
        result, arriving = np.zeros(len(genomes)), np.ones(len(genomes))
        for slot in self._slots:
            result += arriving * slot.factor.seconds[tuple(genomes[:, gene] for gene in slot.factor.genes)]
            if slot.own is not None:
                arriving *= 1 - slot.exit_rate * slot.on[genomes[:, slot.own]]
        return result

    def expected(self, probabilities: Floats) -> float:
        """Mean seconds over genomes too, every gene drawn on its own from probabilities [genes, options]."""
        return float(sum(arriving * mean for _, arriving, mean, _ in self._walk(probabilities)))

    def marginal(self, probabilities: Floats) -> Floats:
        """The derivative of `expected` by each probability [genes, options]."""
        result = np.zeros_like(probabilities)
        walked = self._walk(probabilities)
        behind = 0.0
        for slot, arriving, mean, passing in reversed(walked):
            if slot.own is not None:
                result[slot.own, : len(slot.on)] -= slot.exit_rate * slot.on * behind / passing
            for axis, gene in enumerate(slot.factor.genes):
                partial = contract(slot.factor, probabilities, axis)
                result[gene, : len(partial)] += arriving * partial
            behind += arriving * mean
        return result

    def _walk(self, probabilities: Floats) -> list[tuple[_Slot, float, float, float]]:
        """Per slot: itself, the share of samples that arrives, its own mean seconds, the share that goes on from it."""
        arriving, found = 1.0, []
        for slot in self._slots:
            passing = 1.0
            if slot.own is not None:
                passing -= slot.exit_rate * float(slot.on @ probabilities[slot.own, : len(slot.on)])
            found.append((slot, arriving, float(contract(slot.factor, probabilities, None)), passing))
            arriving *= passing
        return found
