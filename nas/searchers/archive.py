"""What a searcher was told, in order, and which of it is better: feasible first, then by Pareto rank and crowding."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nas.searchers.base import Genomes, Values, least_violation
from nas.searchers.pareto import crowding_distance, pareto_rank


def comparable(values: Values, violation: Values) -> tuple[Values, NDArray[np.float64]]:
    """Finite values [n, m] and a violation [n]; what failed within its budget has an infinite one."""
    finite = np.logical_and.reduce(np.isfinite(values), axis=1)
    distance = least_violation(violation)
    # What failed within its budget is worse than what is known to break one.
    return np.where(finite[:, None], values, 0.0), np.where(finite | (distance > 0), distance, np.inf)


def best_first(values: Values, distance: NDArray[np.float64]) -> NDArray[np.intp]:
    """The indices of genomes, the best first; ties in the order told."""
    if values.shape[1] == 1:
        return np.lexsort((np.where(distance > 0, 0.0, values[:, 0]), distance))
    rank = pareto_rank(values, distance)
    return np.lexsort((-crowding_distance(values, rank), rank))


class Archive:
    """Genomes [n, G] in the order told, with finite values [n, m] and the violation [n] of the nearest budget."""

    def __init__(self, genes: int) -> None:
        self.genomes: Genomes = np.empty((0, genes), dtype=np.int64)
        self.values: Values = np.empty((0, 0))
        self.distance: NDArray[np.float64] = np.empty(0)

    def __len__(self) -> int:
        return len(self.genomes)

    def add(self, genomes: Genomes, values: Values, violation: Values) -> None:
        """Append a batch as `Searcher.tell` hears it."""
        known = self.values if len(self) else np.empty((0, values.shape[1]))
        values, distance = comparable(values, violation)
        self.genomes = np.concatenate((self.genomes, genomes))
        self.values = np.concatenate((known, values))
        self.distance = np.concatenate((self.distance, distance))

    def keep(self, rows: NDArray[np.intp] | slice) -> None:
        """Forget all other rows; those kept stand in the order given."""
        self.genomes, self.values, self.distance = self.genomes[rows], self.values[rows], self.distance[rows]

    def best(self) -> NDArray[np.intp]:
        """The indices, the best first."""
        return best_first(self.values, self.distance)
