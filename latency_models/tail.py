"""How far a percentile of single calls lies above the median of calls in a row, and what that says of predictions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from latency_models.base import LogStudent

#: Least error of a ratio that few networks were measured for: the slowest calls differ from one time to the next.
_LEAST_STD: Final = 0.05


@dataclass(frozen=True)
class Tail:
    """The seconds of a percentile over those of the median: the middle of it, and the error of its logarithm."""

    ratio: float = 1.0
    log_std: float = 0.0

    @staticmethod
    def learned(ratios: Sequence[float]) -> Tail:
        """Of the ratios of networks that were measured; raises ValueError without any."""
        if not ratios:
            raise ValueError("no network was measured that a ratio could be learned from")
        logs = np.log(ratios)
        std = max(float(logs.std(ddof=1)) if len(logs) > 1 else 0.0, _LEAST_STD)
        return Tail(max(1.0, math.exp(float(logs.mean()))), std * math.sqrt(1 + 1 / len(logs)))

    def of(self, believed: LogStudent) -> LogStudent:
        """What is believed of the percentile, of what is believed of the median."""
        if self == NO_TAIL:
            return believed
        mean_s = believed.mean_s * self.ratio
        variance = np.log1p((believed.std_s / believed.mean_s) ** 2) + self.log_std**2
        return LogStudent(mean_s, mean_s * np.sqrt(np.expm1(variance)), believed.degrees_of_freedom)


#: Of what is no percentile.
NO_TAIL: Final = Tail()
#: Where no single call was timed: a percentile is at least the median, and on quiet machines up to twice that, beside a
#: camera several times. All that is known is that it lies above.
UNKNOWN_TAIL: Final = Tail(1.0, 0.5)
