"""A look-up table of kernels measured alone, with what isolation misses: per call, per kernel and per byte.

HSCoNAS (Luo et al. 2021, arXiv 2103.08325) adds one constant to the sum of the table's entries: the mean difference to
complete networks. A constant cannot mend an overhead that grows with depth, so the terms here are seconds per call,
per kernel and per byte between kernels, and a factor on the sum; all fitted like a calibration, on a few networks.
"""

from __future__ import annotations

from typing import Final, Self

import numpy as np

from hardware_profiles import DeviceProfile, Target
from latency_models.base import Floats
from latency_models.calibration import Calibration, uncalibrated
from latency_models.features import CALLS, DECISIONS, FEATURES, KERNELS, Counts, FeatureSet, Machine, Prior
from latency_models.kernels import KernelTable
from latency_models.roofline import LinearModel

_TABLE: Final = "table"
_BETWEEN: Final = "bytes_between"
_COLUMNS: Final = (_TABLE, KERNELS, _BETWEEN, CALLS, DECISIONS)
#: A kernel measured alone may take this much less or more than within a network; relative standard deviation.
_TABLE_STD: Final = 0.3
#: An overhead that is estimated at nothing may still turn out this large; seconds.
_LEAST_STD_S: Final = 1e-6


def _matrix(count: Counts, on: Machine) -> Floats:
    """Seconds of the table, kernels, seconds to move what lies between them, calls and decisions [exits, 5]."""
    rows = np.zeros((count.exits, len(_COLUMNS)))
    rows[:, 0] = np.bincount(count.segment, count.table_s, count.exits)
    rows[:, 1] = np.bincount(count.segment, minlength=count.exits)
    moved = count.activation_bytes * on.batch * on.bytes_factor
    rows[:, 2] = np.bincount(count.segment, moved, count.exits) / on.bytes_per_s
    rows[:, 3] = 1.0
    rows[:-1, 4] = 1.0
    return rows


def _prior(on: Machine) -> Prior:
    """The table as it is; what isolation misses starts at nothing."""
    overheads = np.maximum([on.launch_s, 2.0 * on.call_s, 2.0 * on.decision_s], _LEAST_STD_S)
    return Prior(
        mean=np.array([1.0, 0.0, 0.0, on.call_s, on.decision_s]),
        std=np.array([_TABLE_STD, overheads[0], 0.5, *overheads[1:]]),
        factor=np.array([0, -1, -1, -1, -1], np.intp),
    )


FEATURES["lookup"] = FeatureSet(_COLUMNS, _matrix, _prior)


class LookUp(LinearModel):
    """Seconds of the table's kernels, and overheads; `table` is the file of a KernelTable.

    Raises UnpricedOperator for a kernel that is not in the table and near none of its family, and ValueError without
    a table.
    """

    name = "lookup"

    def __init__(
        self,
        profile: DeviceProfile | None,
        target: Target,
        calibration: Calibration | None = None,
        *,
        table: str | None = None,
    ) -> None:
        if calibration is None and profile is not None and table is not None:
            calibration = uncalibrated(self.name, profile, target, table=KernelTable.load(table))
        if calibration is None:
            raise ValueError(
                "latency model 'lookup' needs a device profile and the file of a table of kernels, or a calibration; "
                "measure the kernels on the target and give the file as `table`"
            )
        super().__init__(None, target, calibration)

    @classmethod
    def of_table(cls, profile: DeviceProfile, target: Target, table: KernelTable) -> Self:
        """The model of a table that was just measured."""
        return cls(None, target, uncalibrated(cls.name, profile, target, table=table))
