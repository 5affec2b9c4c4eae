"""Seconds that add up over groups of genes, and their exact expectation when every gene is drawn on its own.

The expectation of a sum of tables is the sum of the tables' expectations, so nothing is sampled: its value and its
gradient by the probabilities are exact. With early exits the sum over all slots is the worst case, a sample that passes
every exit; `exits_cost` has the mean over samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from latency_models.additive import Tables
from latency_models.choice_table import ChoiceTable
from nas.optimisers.base import Bools, Floats
from nas.searchers.base import Genomes


@dataclass(frozen=True, eq=False)
class Factor:
    """Seconds for every combination of some genes, as an array with one axis per gene.

    `present` has the same shape and is False where the combination leaves nothing to run.
    """

    genes: tuple[int, ...]
    seconds: Floats
    present: Bools


@dataclass(frozen=True, eq=False)
class Additive:
    """`constant_s` plus one entry of each factor; satisfies `Cost`."""

    constant_s: float
    factors: tuple[Factor, ...]

    def seconds(self, genomes: Genomes) -> Floats:
        """Seconds of canonical genomes [n, genes] -> [n]."""
        genomes = np.asarray(genomes)
        result = np.full(len(genomes), self.constant_s)
        for genes, table in self._single:
            result += table[np.arange(len(genes)), genomes[:, genes]].sum(axis=1)
        for factor in self._joint:
            result += factor.seconds[tuple(genomes[:, gene] for gene in factor.genes)]
        return result

    def marginal(self, probabilities: Floats) -> Floats:
        """The derivative of `expected` by each probability [genes, options].

        Up to a constant per gene, that is the expected seconds given each choice.
        """
        result = np.zeros_like(probabilities)
        for genes, table in self._single:
            result[genes, : table.shape[1]] += table
        for factor in self._joint:
            for axis, gene in enumerate(factor.genes):
                result[gene, : factor.seconds.shape[axis]] += contract(factor, probabilities, axis)
        return result

    def expected(self, probabilities: Floats) -> float:
        """Mean seconds when every gene is drawn on its own from probabilities [genes, options]."""
        single = sum(float((probabilities[genes, : t.shape[1]] * t).sum()) for genes, t in self._single)
        return self.constant_s + single + sum(float(contract(f, probabilities, None)) for f in self._joint)

    @cached_property
    def _joint(self) -> tuple[Factor, ...]:
        return tuple(factor for factor in self.factors if len(factor.genes) > 1)

    @cached_property
    def _single(self) -> list[tuple[list[int], Floats]]:
        """The factors of one gene, those with equally many options (and different genes) as one table."""
        groups: dict[tuple[int, int], list[Factor]] = {}
        seen: dict[int, int] = {}
        for factor in self.factors:
            if len(factor.genes) == 1:
                turn = seen[factor.genes[0]] = seen.get(factor.genes[0], -1) + 1
                groups.setdefault((factor.seconds.size, turn), []).append(factor)
        return [([f.genes[0] for f in group], np.stack([f.seconds for f in group])) for group in groups.values()]


def contract(factor: Factor, probabilities: Floats, keep: int | None) -> Floats:
    """The factor averaged over all its genes but the one at axis `keep`."""
    result = factor.seconds
    for axis in reversed(range(len(factor.genes))):
        if axis != keep:
            result = np.tensordot(result, probabilities[factor.genes[axis], : result.shape[axis]], axes=(axis, 0))
    return np.asarray(result)


def of_choices(table: ChoiceTable) -> Additive:
    """The cost of a space with one gene per layer."""
    ones = np.ones(table.table_s.shape[1], np.bool_)
    return Additive(table.bias_s, tuple(Factor((layer,), row, ones) for layer, row in enumerate(table.table_s)))


def of_tables(tables: Tables) -> Additive:
    """The cost that tables of a space add up to: the worst case, every exit that is on passed."""
    constant, factors = 0.0, []
    for slot, values, present in zip(tables.slots, tables.values, tables.present, strict=True):
        if slot.genes:
            factors.append(Factor(slot.genes, values.reshape(slot.sizes), present.reshape(slot.sizes)))
        else:
            constant += float(values[0])
    return Additive(constant, tuple(factors))
