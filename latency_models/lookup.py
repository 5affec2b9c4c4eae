"""A look-up table of kernels measured alone, with what isolation misses: per call, per kernel and per byte.

HSCoNAS (Luo et al. 2021, arXiv 2103.08325) adds one constant to the sum of the table's entries: the mean difference to
complete networks. A constant cannot mend an overhead that grows with depth, so the terms here are seconds per call,
per kernel and per byte between kernels, and a factor on the sum; all fitted like a calibration, on a few networks.
"""

from __future__ import annotations

from typing import Self

from hardware_profiles import DeviceProfile, Target
from latency_models.calibration import Calibration, uncalibrated
from latency_models.features import FEATURES
from latency_models.kernels import KernelTable
from latency_models.roofline import LinearModel


class LookUp(LinearModel):
    """Seconds of the table's kernels, and overheads; `table` is the file of a KernelTable.

    Raises UnpricedOperator for a kernel that is not in the table and near none of its family, and ValueError without
    a table.
    """

    features = FEATURES["lookup"]

    def __init__(
        self,
        profile: DeviceProfile | None,
        target: Target,
        calibration: Calibration | None = None,
        *,
        table: str | None = None,
    ) -> None:
        if calibration is None and profile is not None and table is not None:
            calibration = uncalibrated(self.features, profile, target, table=KernelTable.load(table))
        if calibration is None:
            raise ValueError(
                "latency model 'lookup' needs a device profile and the file of a table of kernels, or a calibration; "
                "measure the kernels on the target and give the file as `table`"
            )
        super().__init__(None, target, calibration)

    @classmethod
    def of_table(cls, profile: DeviceProfile, target: Target, table: KernelTable) -> Self:
        """The model of a table that was just measured."""
        return cls(None, target, uncalibrated(cls.features, profile, target, table=table))
