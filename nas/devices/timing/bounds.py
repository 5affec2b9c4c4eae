"""Upper bounds of what readings are about: of their median, of their mean, or of a percentile of single calls.

Two bounds say what shows within a measurement, and the larger one counts. The pooled readings bound their own median
without assuming a distribution (order statistics of the binomial; Conover, Practical Nonparametric Statistics, 3.2),
but neighbouring readings are alike, so that they are fewer than they look. Blocks are taken apart from each other, so
Student's t over their medians sees the drift that the readings within a block share. What shows only between
measurements minutes apart is added as an independent error of known size (`tolerances.REPEATABILITY`): without it,
bounds are narrower than measurements repeat.

A percentile is bounded by an order statistic too, block by block, and the largest of the blocks' bounds counts: calls
of one block share what the machine did meanwhile, and are fewer than they look. That takes blocks which lie apart: of
165 times three blocks of 1,000 calls on two vCPUs that others used too, the largest bound covered the 95th percentile
of the half minute around in 99 % where the blocks were 1.5 s apart, and in 90 % where they followed one another.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from nas.tolerances import KEPT_BLOCKS, KEPT_LEVEL, REPEATABILITY

if TYPE_CHECKING:
    from nas.devices.timing.readings import Readings, Seconds
    from nas.devices.timing.single_calls import SingleReadings


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


def percentile_upper_95_s(single: SingleReadings, q: float) -> float:
    """One-sided 95 % upper bound of the `q`-quantile of single calls, in seconds: the largest of the blocks' bounds.

    Infinite where they are refused, where there are too few blocks, and where a block has too few calls for any.
    """
    if single.refused or len(single.seconds) < KEPT_BLOCKS:
        return math.inf
    return max(quantile_bound(block, q) for block in single.seconds)


def median_bound(values: Seconds, level: float = KEPT_LEVEL) -> float:
    """The smallest order statistic that is at least the median with probability `level`; infinite for n < 5 at 95 %."""
    return quantile_bound(values, 0.5, level)


def quantile_bound(values: Seconds, q: float, level: float = KEPT_LEVEL) -> float:
    """The smallest order statistic that is at least the `q`-quantile with probability `level`, for any distribution.

    Of n values the k-th smallest lies below the quantile with probability P(Binomial(n, q) >= k); infinite where n is
    too small for any (at 95 %: n < 59 for the 95th percentile, n < 299 for the 99th).
    """
    from scipy.stats import binom

    n = len(values)
    rank = int(binom.ppf(level, n, q)) + 1
    return float(np.partition(values, rank - 1)[rank - 1]) if rank <= n else math.inf


def t_bound(values: Seconds, level: float = KEPT_LEVEL) -> float:
    """Student's one-sided upper bound of the mean of few values; infinite for fewer than two."""
    from scipy.stats import t

    n = len(values)
    if n < 2:
        return math.inf
    return float(values.mean() + t.ppf(level, n - 1) * values.std(ddof=1) / math.sqrt(n))
