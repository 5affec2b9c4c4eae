"""Readings of a new device: several of one network put together, and the step to which a clock rounds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from latency_models.base import Floats

#: A reading counts as at least this share of the median reading.
LEAST: Final = 1e-3
#: Without anything else to go by, one reading of a network is taken to be this exact.
READING_STD: Final = 0.01
#: Steps that a clock may round to, in seconds, and how close to a multiple of it, relatively, readings have to be:
#: single precision, a factor and a division leave some 2e-7.
_STEPS: Final = tuple(m * 10.0**e for e in range(0, -7, -1) for m in (5.0, 2.0, 1.0))
_EXACT: Final = 1e-6
#: A step below this share of the median reading does not matter.
_COARSE: Final = 2e-3
#: So many readings that say something of their own, and a probability that all are multiples by accident.
_EVIDENCE: Final = 3
_ACCIDENT: Final = 1e-4


@dataclass(frozen=True, eq=False)
class MergedReadings:
    """One line for each network read.

    `index` [k] among the candidates, `seconds` [k] mean of its readings, `times` [k] their number, `std` [k] the
    relative standard deviation of that mean (0 where nothing says so), `step` in seconds (0 = not rounded).
    """

    index: NDArray[np.intp]
    seconds: Floats
    times: NDArray[np.int64]
    std: Floats
    step: float


def gather(
    measured: Sequence[int] | NDArray[np.integer], seconds: Sequence[float] | Floats, count: int, noise: float | None
) -> MergedReadings:
    """Readings of candidates; raises ValueError for what cannot be readings of `count` candidates."""
    index, values = np.asarray(measured), np.asarray(seconds, np.float64)
    if index.ndim != 1 or index.shape != values.shape or not len(index):
        raise ValueError(
            f"there are {index.size} indices and {values.size} readings; give as many of each, and at least one"
        )
    if not np.issubdtype(index.dtype, np.integer) or index.min() < 0 or index.max() >= count:
        raise ValueError(f"measured networks must be indices of the {count} candidates, from 0 to {count - 1}")
    if not np.all(np.isfinite(values)) or np.any(values < 0) or not np.any(values > 0):
        raise ValueError("readings must be finite seconds, not negative and not all zero; leave out what failed")
    if noise is not None and not (np.isfinite(noise) and noise >= 0):
        raise ValueError(f"the noise of a reading is a relative standard deviation such as 0.02, not {noise}")
    step = rounding_step(values, index)
    values = np.maximum(values, max(LEAST * float(np.median(values)), step / 4, np.finfo(np.float64).tiny))
    where, inverse, times = np.unique(index, return_inverse=True, return_counts=True)
    mean = np.bincount(inverse, values) / times
    spread = _repeated(values, mean, inverse, len(where)) if noise is None else noise
    return MergedReadings(where.astype(np.intp), mean, times.astype(np.int64), spread / np.sqrt(times), step)


def rounding_step(seconds: Floats, index: NDArray[np.integer] | None = None) -> float:
    """The coarsest step of a clock, in seconds, of which all readings are multiples; 0 where there is none.

    Steps are 1, 2 and 5 times powers of ten. A reading that no clock rounded is the m-th multiple of a step, as far as
    floats tell, with probability 2e-6 m. Equal readings may have one cause, such as a simulator that adds up costs, so
    the probability of an accident is that product over different values; it must be next to nothing.

    Some devices do take round numbers, so at least three readings must say something of their own. `index` [k] is
    which network each reading is of: the same value of another network counts, the same value of the same network does
    not. Without `index` only different values count. Where there are fewer than three of these, steps of 2 and 5 are
    not told from 1, and powers of ten alone are looked for.
    """
    there = seconds > 0
    positive = np.unique(seconds[there])
    of = np.zeros(len(seconds), np.intp) if index is None else index
    if len(np.unique(np.stack([of[there], seconds[there]]), axis=1).T) < _EVIDENCE:
        return 0.0
    least = _COARSE * float(np.median(positive))
    few = len(positive) < _EVIDENCE
    for step in _STEPS[2::3] if few else _STEPS:
        multiples = positive / step
        nearest = np.round(multiples)
        if nearest.min() >= 1 and np.all(np.abs(multiples - nearest) <= _EXACT * nearest):
            accident = float(np.prod(np.minimum(2 * _EXACT * nearest, 1.0)))
            return step if step >= least and accident <= _ACCIDENT else 0.0
    return 0.0


def _repeated(values: Floats, mean: Floats, inverse: NDArray[np.intp], networks: int) -> float:
    """Relative standard deviation of single readings where networks were read several times, else 0."""
    degrees = len(values) - networks
    if degrees < 1:
        return 0.0
    return float(np.sqrt((((values / mean[inverse]) - 1.0) ** 2).sum() / degrees))
