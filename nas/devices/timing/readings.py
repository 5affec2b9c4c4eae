"""Readings of how long something takes, and their median or mean; `bounds` says what may be concluded from them.

Like every file here that takes readings, it may be sent to a board: Python 3.8 and numpy, and nothing else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from nas.tolerances import REFERENCE_DRIFT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Seconds = NDArray[np.float64]

Statistic = Literal["median", "mean"]

#: Why readings of a busy core may not be counted.
COARSE = "the CPU clock is too coarse to tell which calls waited"
_EMULATED = "the processor is emulated by "
_SLOWED = "the processor was slowed down"


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

    @property
    def drifted(self) -> bool:
        """Whether the reference says that the machine was not the same all the while, in spite of repeating."""
        return self.drift > REFERENCE_DRIFT


def emulated_by(program: str) -> str:
    """Why readings of an emulated processor may not be counted."""
    return _EMULATED + program


def remedy(refused: str) -> str:
    """What is to be done, in words, where readings were refused for a reason."""
    if _EMULATED in refused:
        return "measure on the device itself"
    return "let it cool, or see to its supply," if _SLOWED in refused else "end other programs"
