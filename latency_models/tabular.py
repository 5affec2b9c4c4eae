"""A latency table as a latency model: every network of a space was measured beforehand, and is looked up.

Comparisons of searchers rest on such tables: nothing is measured, and a budget's best network is known (HW-NAS-Bench,
Li et al. 2021, arXiv 2103.10584). What is measured nonetheless corrects all of the table by one factor.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from hardware_profiles import DeviceProfile, Target
from latency_models.additive import row_hash
from latency_models.arrays import read_arrays, understood
from latency_models.base import ErrorBar, Floats, Prediction, stack
from latency_models.errors import UnpricedOperator
from latency_models.table import load_table, nb201
from search_spaces.ir import Network
from search_spaces.slots import Genomes, SearchSpace, exit_positions, sizes

SCHEMA: Final = 1
#: The table that comes with the package.
SHIPPED: Final = "nb201"
#: A prediction is never certain: relative standard deviation of what a table says, at least.
_LEAST_ERROR: Final = 1e-6


@dataclass(frozen=True, eq=False)
class GenomeTable:
    """Seconds over a space without early exits, looked up; a network that was not measured takes infinitely long."""

    target: Target
    hashes: NDArray[np.uint64]
    seconds: Floats

    def cumulative_s(self, genomes: Genomes) -> Floats:
        """Seconds of canonical genomes [n, genes] up to the only exit [n, 1]."""
        wanted = row_hash(np.asarray(genomes, np.int64))
        place = np.minimum(np.searchsorted(self.hashes, wanted), len(self.hashes) - 1)
        return np.where(self.hashes[place] == wanted, self.seconds[place], np.inf)[:, None]

    def latency_s(self, genomes: Genomes) -> Floats:
        """Worst-case seconds [n]."""
        return self.cumulative_s(genomes)[:, -1]


class Tabular:
    """Satisfies `base.LatencyModel` and `base.LooksUp`: the networks whose genomes are the rows of a latency table.

    `latencies` is the file of a table (`latency_models.table`), or `nb201` for the one of NAS-Bench-201 that comes with
    the package; `column` the device's name there, by default the target's. `error` is the relative error to allow for:
    0 takes the table for the truth. Raises ValueError for a table or a column that is not there.
    """

    name: ClassVar[str] = "table"

    def __init__(
        self,
        profile: DeviceProfile | None,
        target: Target,
        *,
        latencies: str = SHIPPED,
        column: str | None = None,
        error: float = 0.0,
    ) -> None:
        if not (math.isfinite(error) and error >= 0):
            raise ValueError(f"error is {error}; it has to be a relative error, 0 or more")
        table = nb201() if latencies == SHIPPED else load_table(latencies)
        number = table.index(column or target.device)
        if table.batch and table.batch[number] != target.batch:
            raise ValueError(
                f"{table.devices[number]} was measured with batch {table.batch[number]}, and the target has "
                f"{target.batch}"
            )
        last = table.latency_s[:, number, None]
        early = np.empty((len(table), 0)) if table.early_s is None else table.early_s[:, number]
        self._fill(target, table.ops, np.concatenate([early, last], axis=1), error, ())

    def _fill(
        self, target: Target, genomes: Genomes, cumulative_s: Floats, error: float, logarithms: tuple[float, ...]
    ) -> None:
        known = np.isfinite(cumulative_s[:, -1])
        self._target, self._said, self._logarithms = target, error, logarithms
        self._genomes, self._cumulative_s = np.asarray(genomes[known], np.int64), cumulative_s[known]
        self._row = {genome.tobytes(): row for row, genome in enumerate(self._genomes)}

    @property
    def target(self) -> Target:
        """What the seconds hold for."""
        return self._target

    @property
    def error(self) -> ErrorBar:
        """What was said of the table, or how far readings lie from it; the table's own networks count as measured."""
        return ErrorBar(max(self._said, self._spread), len(self._genomes) + len(self._logarithms))

    @property
    def _spread(self) -> float:
        """Standard deviation of the readings' logarithms around the factor."""
        return float(np.std(self._logarithms, ddof=1)) if len(self._logarithms) > 1 else 0.0

    @property
    def _factor(self) -> float:
        """How many times the table's seconds were read."""
        return math.exp(float(np.mean(self._logarithms))) if self._logarithms else 1.0

    def predict(self, networks: Sequence[Network]) -> Prediction:
        """Seconds of each network; raises UnpricedOperator for one that is not in the table."""
        relative, segments, covariances = max(self.error.relative, _LEAST_ERROR), [], []
        for network in networks:
            row = self._cumulative_s[self._row_of(network)]
            segment_s = self._factor * np.diff(row[np.isfinite(row)], prepend=0.0)
            segments.append(segment_s)
            # One factor is in doubt, that of all of them.
            covariances.append(relative**2 * np.outer(segment_s, segment_s))
        few = math.inf if len(self._logarithms) < 2 else len(self._logarithms) - 1.0
        return stack(segments, covariances, few)

    def _row_of(self, network: Network) -> int:
        row = None if network.genome is None else self._row.get(np.array(network.genome, np.int64).tobytes())
        if row is None or len(network.exits) != np.isfinite(self._cumulative_s[row]).sum():
            last = network.ops[network.exits[-1]]
            what = "of no space" if network.genome is None else f"of genome {list(network.genome)}"
            raise UnpricedOperator(
                last.name, last.kind, self.name, self._target, f"its network, {what}, is not in the latency table"
            )
        return row

    def fit(self, networks: Sequence[Network], cumulative_s: Floats) -> Self:
        """Another model, whose seconds are all multiplied by what these readings of whole networks [n, K] say."""
        ends = np.array([len(network.exits) - 1 for network in networks], np.intp)
        read = np.asarray(cumulative_s, np.float64)[np.arange(len(networks)), ends]
        table = np.array([self._cumulative_s[self._row_of(network), -1] for network in networks], np.float64)
        found = np.log(read / table)
        return self._made(
            self._target,
            self._genomes,
            self._cumulative_s,
            self._said,
            (*self._logarithms, *found[np.isfinite(found)].tolist()),
        )

    @classmethod
    def _made(
        cls, target: Target, genomes: Genomes, cumulative_s: Floats, error: float, logarithms: tuple[float, ...]
    ) -> Self:
        made = cls.__new__(cls)
        made._fill(target, genomes, cumulative_s, error, logarithms)
        return made

    def additive(self, space: SearchSpace) -> None:
        """None: what was measured as a whole does not add up over a network's parts."""

    def by_genome(self, space: SearchSpace) -> GenomeTable | None:
        """The table over a space; None where networks have early exits, and are looked up one by one.

        Raises ValueError where the rows are no genomes of the space.
        """
        options = sizes(space)
        if self._genomes.shape[1] != len(options) or (self._genomes.max(axis=0) >= options).any():
            raise ValueError(
                f"the latency table has networks of {self._genomes.shape[1]} genes with up to "
                f"{int(self._genomes.max()) + 1} options, and space {space.name} has {len(options)} genes with "
                f"{', '.join(map(str, options))}: it is a table of another space"
            )
        if len(exit_positions(space)) > 1:
            return None
        hashes = row_hash(self._genomes)
        order = np.argsort(hashes)
        return GenomeTable(self._target, hashes[order], self._factor * self._cumulative_s[order, -1])

    def save(self, file: str | Path | BinaryIO) -> None:
        """Write what is looked up and what was read, without pickles."""
        header = {"schema": SCHEMA, "model": self.name, "target": asdict(self._target), "error": self._said}
        np.savez_compressed(
            file,
            allow_pickle=False,
            header=np.array(json.dumps(header)),
            genomes=self._genomes,
            cumulative_s=self._cumulative_s,
            logarithms=np.array(self._logarithms, np.float64),
        )

    @classmethod
    def load(cls, file: str | Path | BinaryIO) -> Self:
        """The model that `save` wrote; raises ValueError for a file of another kind."""
        with understood(f"{file}: is not a stored latency table of schema {SCHEMA}"):
            found = read_arrays(file)
            header = json.loads(str(found["header"]))
            if (header["schema"], header["model"]) != (SCHEMA, cls.name):
                raise ValueError(f"it is of model {header['model']!r} and schema {header['schema']!r}")
            target, logarithms = Target(**header["target"]), tuple(found["logarithms"].tolist())
            return cls._made(target, found["genomes"], found["cumulative_s"], float(header["error"]), logarithms)
