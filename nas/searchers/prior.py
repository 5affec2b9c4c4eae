"""A distribution over the options of every gene: where a search begins, and which way its mutations lean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nas.errors import InputError
from nas.searchers.base import Genomes

#: Share of the draws that ignore the prior, so that nothing is ruled out by it.
_DOUBT: Final = 0.2


class Prior:
    """Probabilities of the options of each gene [G][options]; uniform where none are given.

    Raises InputError for the wrong number of genes or options, and for probabilities that are negative or all zero.
    """

    def __init__(self, sizes: Genomes, probabilities: Sequence[Sequence[float]] | None = None) -> None:
        self._sizes = np.asarray(sizes, dtype=np.int64)
        self.given = probabilities is not None
        if probabilities is None:
            probabilities = [[1.0] * size for size in self._sizes.tolist()]
        if [len(row) for row in probabilities] != self._sizes.tolist():
            raise InputError(
                f"prior: it has {[len(row) for row in probabilities]} probabilities, and the genes have "
                f"{self._sizes.tolist()} options; give one probability per option"
            )
        self._table = np.zeros((len(self._sizes), int(self._sizes.max(initial=1))))
        for gene, row in enumerate(probabilities):
            values = np.asarray(row, dtype=np.float64)
            if not np.isfinite(values).all() or (values < 0).any() or values.sum() <= 0:
                raise InputError(f"prior: gene {gene} has the probabilities {values.tolist()}; they must be positive")
            self._table[gene, : len(values)] = (1 - _DOUBT) * values / values.sum() + _DOUBT / len(values)
        self._bounds = np.cumsum(self._table, axis=1)

    def source(self, rng: np.random.Generator, n: int, attempt: int) -> NDArray[np.int64]:
        """Draw n genomes gene by gene; a source for `FeasibilityFilter.propose`."""
        if not self.given:
            return np.asarray(rng.integers(self._sizes, size=(n, len(self._sizes))), dtype=np.int64)
        drawn = (rng.random((n, len(self._sizes), 1)) > self._bounds).sum(axis=2)
        return np.asarray(np.minimum(drawn, self._sizes - 1), dtype=np.int64)

    def redraw(self, rng: np.random.Generator, parents: Genomes, children: Genomes) -> NDArray[np.int64]:
        """Draw the genes in which children [n, G] differ from their parents anew, half of the time, if there is one."""
        if not self.given:
            return np.asarray(children, dtype=np.int64)
        drawn = self.source(rng, len(children), 0)
        again = (children != parents) & (rng.random(children.shape) < 0.5)
        return np.where(again, drawn, children).astype(np.int64)

    def score(self, genomes: Genomes) -> NDArray[np.float64]:
        """Log probability of genomes as a column [n, 1]; without a prior no column [n, 0]."""
        if not self.given:
            return np.empty((len(genomes), 0))
        genes = np.arange(len(self._sizes))
        return np.asarray(np.log(self._table[genes, genomes]).sum(axis=1, keepdims=True))
