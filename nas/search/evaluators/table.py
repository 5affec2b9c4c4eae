"""Networks judged by looking them up: tabular benchmarks, where all accuracies and latencies are known beforehand.

The latency table is that of `latency_models.table`. The accuracies are an `.npz` with `test_acc` [n] or [n, datasets],
in percent or as fractions, one row per row of the latency table; where it has `ops` too, rows are matched by these.
Ying et al. 2019, "NAS-Bench-101" (arXiv 1902.09635), explain why searchers are compared on such tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from latency_models.arrays import DAMAGED, read_arrays
from latency_models.table import MOST_OPTIONS, LatencyTable
from nas.errors import InputError
from nas.searchers.visited_set import VisitedSet
from search_spaces.slots import Genomes

Floats = NDArray[np.float64]
_CHUNK = 256


class Rows:
    """Finds the rows of networks in a table, by their integer encoding [n, positions]."""

    def __init__(self, ops: NDArray[np.int64]) -> None:
        self.ops = ops
        self.sizes: NDArray[np.int64] = ops.max(axis=0) + 1
        self._visited = VisitedSet(self.sizes)
        keys = self._visited.keys(ops)
        self._order = np.argsort(keys, kind="stable")
        self._sorted = keys[self._order]
        self._code = np.concatenate(
            [ops == option for option in range(int(self.sizes.max()))], axis=1, dtype=np.float32
        )

    def find(self, genomes: Genomes) -> NDArray[np.intp]:
        """The row of each genome [n]; -1 where the table has none."""
        keys = self._visited.keys(np.asarray(genomes))
        place = np.minimum(np.searchsorted(self._sorted, keys), len(self._sorted) - 1)
        return np.where(self._sorted[place] == keys, self._order[place], -1)

    def nearest(self, genomes: Genomes) -> NDArray[np.intp]:
        """The row of each genome [n], or that of the fewest differing positions, the first of several."""
        rows = self.find(genomes)
        missing = rows < 0
        different, place = np.unique(np.asarray(genomes)[missing], axis=0, return_inverse=True)
        nearest = np.empty(len(different), dtype=np.intp)
        for start in range(0, len(different), _CHUNK):
            chosen = different[start : start + _CHUNK]
            code = np.concatenate(
                [chosen == option for option in range(int(self.sizes.max()))], axis=1, dtype=np.float32
            )
            nearest[start : start + _CHUNK] = (code @ self._code.T).argmax(axis=1)
        rows[missing] = nearest[place]
        return rows


class TableEvaluator:
    """Accuracy and latency of the networks of a table."""

    def __init__(self, table: LatencyTable, accuracy: Floats) -> None:
        if len(accuracy) != len(table):
            raise InputError(f"there are {len(accuracy)} accuracies and {len(table)} latencies; there must be as many")
        self.table = table
        self.accuracy = accuracy
        self.rows = Rows(table.ops)

    def __call__(self, genomes: Genomes) -> dict[str, Floats]:
        """`accuracy` [n, datasets], a fraction, and `latency_s` [n, devices] of genomes [n, positions].

        Raises InputError for a genome that the table does not have.
        """
        rows = self.rows.find(genomes)
        if (rows < 0).any():
            raise InputError(f"the table has no network {np.asarray(genomes)[rows < 0][0].tolist()}")
        return {"accuracy": self.accuracy[rows], "latency_s": self.table.latency_s[rows]}


@dataclass(frozen=True, eq=False)
class TableProblem:
    """What a searcher sees of a table: satisfies `searchers.base.Problem` for one device and its budgets in seconds.

    Genomes that an incomplete table lacks mean the network nearest to them. What was not measured breaks every budget.
    """

    rows: Rows
    latency_s: Floats
    budgets_s: tuple[float, ...]
    seed: int = 0
    ordinal_positions: bool = False

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Number of options of each position [positions]."""
        return self.rows.sizes

    @cached_property
    def ordinal(self) -> NDArray[np.bool_]:
        """Whether the options of each position have neighbours [positions]."""
        return np.full(len(self.rows.sizes), self.ordinal_positions)

    @property
    def listed(self) -> NDArray[np.int64]:
        """Every network of the table [n, positions]."""
        return self.rows.ops

    def canonical(self, genomes: Genomes) -> Genomes:
        """Genomes [n, positions] of the table: the same, or the nearest."""
        return self.rows.ops[self.rows.nearest(genomes)]

    def free_objectives(self, genomes: Genomes) -> tuple[Floats, Floats]:
        """Seconds [n, 1], and violations [n, budgets] as shares of the budget."""
        seconds = self.latency_s[self.rows.find(genomes)][:, None]
        seconds = np.where(np.isfinite(seconds), seconds, np.inf)
        return seconds, np.maximum(seconds / np.asarray(self.budgets_s) - 1, 0.0)


def load_accuracy(path: str | Path, table: LatencyTable) -> Floats:
    """The accuracies of a table's networks as fractions [n, datasets].

    Raises InputError for a file without them, or whose rows are not those of the table.
    """
    try:
        found = read_arrays(path, ("test_acc", "ops"))
        if "test_acc" not in found:
            raise InputError("it has no array 'test_acc'")
        accuracy = np.asarray(found["test_acc"], dtype=np.float64)
        ops = np.asarray(found["ops"], dtype=np.int64) if "ops" in found else None
    except DAMAGED as problem:
        raise InputError(f"{path} holds no accuracies: {problem}") from problem
    if accuracy.ndim == 1:
        accuracy = accuracy[:, None]
    if accuracy.ndim != 2 or not np.isfinite(accuracy).all() or accuracy.min() < 0 or accuracy.max() > 100:
        raise InputError(f"{path}: test_acc must be [n] or [n, datasets], from 0 to 100, all of it known")
    if ops is not None:
        if ops.ndim != 2 or len(ops) != len(accuracy):
            raise InputError(
                f"{path}: ops must be [n, positions] for {len(accuracy)} accuracies, not {list(ops.shape)}"
            )
        if ops.size and not 0 <= int(ops.min()) <= int(ops.max()) < MOST_OPTIONS:
            raise InputError(f"{path}: ops run from {ops.min()} to {ops.max()}; they are numbers of options, from 0")
        rows = Rows(ops)
        place = rows.find(table.ops) if ops.shape[1:] == table.ops.shape[1:] else np.full(len(table), -1)
        if (place < 0).any():
            raise InputError(f"{path}: no accuracy for network {table.ops[place < 0][0].tolist()} of the latency table")
        accuracy = accuracy[place]
    if len(accuracy) != len(table):
        raise InputError(f"{path}: {len(accuracy)} accuracies for the {len(table)} networks of the latency table")
    return accuracy / 100 if accuracy.max() > 1 else accuracy
