"""Upper bounds of what readings are about: of their median, or of their mean.

Two bounds say what shows within a measurement, and the larger one counts. The pooled readings bound their own median
without assuming a distribution (order statistics of the binomial; Conover, Practical Nonparametric Statistics, 3.2),
but neighbouring readings are alike, so that they are fewer than they look. Blocks are taken apart from each other, so
Student's t over their medians sees the drift that the readings within a block share. What shows only between
measurements minutes apart is added as an independent error of known size (`tolerances.REPEATABILITY`): without it,
bounds are narrower than measurements repeat.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from nas.tolerances import KEPT_BLOCKS, KEPT_LEVEL, REPEATABILITY

if TYPE_CHECKING:
    from nas.devices.timing.readings import Readings, Seconds


def upper_95_s(readings: Readings) -> float:
    """One-sided 95 % upper bound of the time on an undisturbed core, in seconds.

    Infinite where there are too few blocks or readings, and where they are refused. The samples of a stream are
    taken as draws from all that might come, so the bound covers other samples too.
    """
    if readings.refused or len(readings.seconds) < KEPT_BLOCKS:
        return math.inf
    if readings.statistic == "median":
        pooled = median_bound(readings.seconds.ravel())
    else:
        pooled = t_bound(readings.seconds.mean(axis=0))
    within = max(pooled, t_bound(readings.blocks_s)) - readings.value_s
    between = NormalDist().inv_cdf(KEPT_LEVEL) * REPEATABILITY[readings.statistic] * readings.value_s
    return readings.value_s + math.hypot(max(within, 0.0), between)


def median_bound(values: Seconds, level: float = KEPT_LEVEL) -> float:
    """The smallest order statistic that is at least the median with probability `level`, whatever the distribution.

    Of n readings the k-th smallest lies below the median with probability P(Binomial(n, 1/2) >= k); infinite where n
    is too small for any (n < 5 at 95 %).
    """
    from scipy.stats import binom

    n = len(values)
    rank = int(binom.ppf(level, n, 0.5)) + 1
    return float(np.partition(values, rank - 1)[rank - 1]) if rank <= n else math.inf


def t_bound(values: Seconds, level: float = KEPT_LEVEL) -> float:
    """Student's one-sided upper bound of the mean of few values; infinite for fewer than two."""
    from scipy.stats import t

    n = len(values)
    if n < 2:
        return math.inf
    return float(values.mean() + t.ppf(level, n - 1) * values.std(ddof=1) / math.sqrt(n))
