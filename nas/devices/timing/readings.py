"""Readings of how long something takes, and what may be said of them: a median or mean with an upper bound.

Two bounds say what shows within a measurement, and the larger one counts. The pooled readings bound their own median
without assuming a distribution (order statistics of the binomial; Conover, Practical Nonparametric Statistics, 3.2),
but neighbouring readings are alike, so that they are fewer than they look. Blocks are taken apart from each other, so
Student's t over their medians sees the drift that the readings within a block share. What shows only between
measurements minutes apart is added as an independent error of known size (`tolerances.REPEATABILITY`): without it,
bounds are narrower than measurements repeat.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nas.tolerances import KEPT_BLOCKS, KEPT_LEVEL, REFERENCE_DRIFT, REPEATABILITY

Seconds = NDArray[np.float64]
Statistic = Literal["median", "mean"]

#: Why readings of a busy core may not be counted.
COARSE = "the CPU clock is too coarse to tell which calls waited"


@dataclass(frozen=True)
class Readings:
    """Seconds per call, [blocks, n], by the wall clock and by the CPU clock of the process.

    `statistic` is what the readings are for: the median of repeated calls, or the mean over the n samples of a stream.
    Each reading is the mean of `calls` calls. `contended` says that somebody else kept using the core, so that CPU
    time decides, which is legitimate where it is that of the same readings, on one thread. `cpu_per_reading` is False
    where the CPU clock was too coarse for that: then `cpu_s` is NaN, and `refused` says in words why nothing can be
    said of contended readings, whose wall time stands in but bounds nothing; it is empty for all others.
    `reference_s` is what a reference took meanwhile, usually (NaN: there was none), and `drift` its largest relative
    distance from that next to any of the blocks. `repeated` counts the blocks that were thrown away because of
    contention, drift or disturbance. `disturbed` is the share of readings beside which a probe of the core took longer
    than on an undisturbed one, where it takes `probe_s` (NaN: there was none).
    """

    wall_s: Seconds
    cpu_s: Seconds
    statistic: Statistic = "median"
    calls: int = 1
    threads: int = 1
    contended: bool = False
    repeated: int = 0
    cpu_per_reading: bool = True
    reference_s: float = math.nan
    drift: float = 0.0
    disturbed: float = 0.0
    probe_s: float = math.nan
    refused: str = ""

    def __post_init__(self) -> None:
        if self.wall_s.shape != self.cpu_s.shape or self.wall_s.ndim != 2 or not self.wall_s.size:
            raise ValueError(f"readings need two arrays [blocks, n], got {self.wall_s.shape} and {self.cpu_s.shape}")

    @property
    def seconds(self) -> Seconds:
        """The readings that count, [blocks, n]: wall time, or their own CPU time where the core was contended."""
        return self.cpu_s if self.contended and self.cpu_per_reading else self.wall_s

    @cached_property
    def blocks_s(self) -> Seconds:
        """The statistic of each block, [blocks]."""
        centre = np.median if self.statistic == "median" else np.mean
        return np.asarray(centre(self.seconds, axis=1), np.float64)

    @property
    def median_s(self) -> float:
        """Median of all readings, in seconds."""
        return float(np.median(self.seconds))

    @property
    def mean_s(self) -> float:
        """Mean of all readings, in seconds; for a stream the expected latency of a sample."""
        return float(np.mean(self.seconds))

    @property
    def value_s(self) -> float:
        """The statistic that these readings are for, in seconds."""
        return self.median_s if self.statistic == "median" else self.mean_s

    @cached_property
    def upper_95_s(self) -> float:
        """One-sided 95 % upper bound of the time on an undisturbed core, in seconds.

        Infinite where there are too few blocks or readings, and where they are refused. The samples of a stream are
        taken as draws from all that might come, so the bound covers other samples too.
        """
        if self.refused or len(self.seconds) < KEPT_BLOCKS:
            return math.inf
        if self.statistic == "median":
            pooled = median_bound(self.seconds.ravel())
        else:
            pooled = t_bound(self.seconds.mean(axis=0))
        within = max(pooled, t_bound(self.blocks_s)) - self.value_s
        between = NormalDist().inv_cdf(KEPT_LEVEL) * REPEATABILITY[self.statistic] * self.value_s
        return self.value_s + math.hypot(max(within, 0.0), between)

    @property
    def drifted(self) -> bool:
        """Whether the reference says that the machine was not the same all the while, in spite of repeating."""
        return self.drift > REFERENCE_DRIFT


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
