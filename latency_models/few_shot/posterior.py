"""What a new device is believed to take for each candidate: a distribution of the logarithm of seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from latency_models.base import Floats

#: Tails of networks that are read as usual: a Student distribution with so many degrees of freedom.
DEGREES: Final = 5.0
#: Standard deviation of the logarithm where a reading is broken or a network is unlike all others.
BROKEN_STD: Final = 0.6
#: Quantiles are found on this many scales and read off between them.
_SCALES: Final = 60
_HALVINGS: Final = 40
#: No quantile is farther from the median than this logarithm.
_FARTHEST: Final = 40.0


@dataclass(frozen=True, eq=False)
class LatencyPosterior:
    """Latencies of n candidates on one device, always positive and finite.

    `mean_s` [n]: the central prediction, the median of the distribution. `below` and `above` [n]: the scale of the
    logarithm to either side of it. `broken` [n]: the probability that a network is far off, with BROKEN_STD.
    """

    mean_s: Floats
    below: Floats
    above: Floats
    broken: Floats

    def quantile_s(self, q: float) -> Floats:
        """Seconds that a candidate stays within with probability `q` [n]; raises ValueError for q outside (0, 1)."""
        if not 0 < q < 1:
            raise ValueError(f"a quantile lies between 0 and 1, not at {q}")
        scale = self.below if q < 0.5 else self.above
        away = np.empty(len(scale))
        for broken in np.unique(self.broken):
            these = self.broken == broken
            away[these] = farther(scale[these], float(broken), min(q, 1 - q))
        return np.asarray(self.mean_s * np.exp(np.copysign(np.minimum(away, _FARTHEST), q - 0.5)))

    def probability_within(self, limit_s: float) -> Floats:
        """The probability that a candidate takes at most `limit_s` [n]; raises ValueError for a limit not above 0."""
        if not limit_s > 0:
            raise ValueError(f"a limit is a positive number of seconds, not {limit_s}")
        away = np.log(limit_s) - np.log(self.mean_s)
        outside = beyond(np.abs(away), np.where(away < 0, self.below, self.above), self.broken)
        return np.asarray(np.where(away < 0, outside, 1 - outside))


def beyond(away: Floats, scale: Floats, broken: Floats | float) -> Floats:
    """The probability to lie farther than `away` (>= 0) from the median to one side."""
    from scipy.special import ndtr, stdtr

    return np.asarray((1 - broken) * stdtr(DEGREES, -away / scale) + broken * ndtr(-away / BROKEN_STD))


def farther(scale: Floats, broken: float, tail: float) -> Floats:
    """How far from the median, to one side, there is a probability `tail` (<= 0.5) beyond, for each scale [n]."""
    low, high = float(np.log(scale.min())), float(np.log(scale.max()))
    grid = np.exp(np.linspace(low, high, _SCALES if high > low else 1))
    least, most = np.zeros(len(grid)), np.full(len(grid), _FARTHEST)
    for _ in range(_HALVINGS):
        middle = (least + most) / 2
        inside = beyond(middle, grid, broken) > tail
        least, most = np.where(inside, middle, least), np.where(inside, most, middle)
    return np.asarray(np.interp(np.log(scale), np.log(grid), most))
