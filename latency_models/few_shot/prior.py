"""The prior that source devices give, and what a new device's few readings make of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from latency_models.base import Floats
from latency_models.few_shot import sources as source_models
from latency_models.few_shot.conformal import ConformalFactors, leave_one_source_out
from latency_models.few_shot.encoding import Encoding, encode, renumbered
from latency_models.few_shot.posterior import LatencyPosterior
from latency_models.few_shot.readings import READING_STD, gather
from latency_models.few_shot.regression import fit
from latency_models.few_shot.sources import Candidates, Sources

#: A source needs as many measured networks as that to say anything.
LEAST_ROWS: Final = 5
#: No standard deviation is believed to be smaller.
_LEAST_STD: Final = 1e-3


@dataclass(frozen=True, eq=False)
class DevicePrior:
    """What is believed of a device before anything is measured on it; `learn` makes one.

    `op_names` are the operators that the integers of its encoding stand for, and `devices` the sources in order; either
    is empty where nothing was said.
    """

    encoding: Encoding
    sources: Sources
    conformal: ConformalFactors
    op_names: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()

    def candidates(self, networks: NDArray[np.generic], op_names: Sequence[str] = ()) -> Candidates:
        """What a fit needs of networks encoded as those that the prior was learned on; computed once.

        With `op_names`, the operators that integers of `networks` stand for, they may be numbered in another order.
        Raises ValueError for another encoding or other operators.
        """
        networks = renumbered(networks, op_names, self.op_names)
        return source_models.candidates(self.sources, self.encoding.columns(networks))

    def adapt(
        self,
        candidates: Candidates,
        measured: Sequence[int] | NDArray[np.integer],
        seconds: Sequence[float] | Floats,
        noise: float | None = None,
    ) -> LatencyPosterior:
        """Latencies of all candidates on a device on which some were read.

        `measured` [k] indices of candidates, `seconds` [k] their readings; a network may be read several times.
        `noise` is the relative standard deviation of one reading; without it, repeated readings and the clock's step
        say how exact readings are. The belief about a network that was read is that of its reading, up to this noise.
        Raises ValueError for indices and readings that cannot be.
        """
        read = gather(measured, seconds, len(candidates), noise)
        rows = candidates.rows(read.index)
        rounding = read.step / np.sqrt(12.0)
        own = np.hypot(read.std, rounding / read.seconds)
        fitted = fit(candidates, rows, read.seconds, own, self.conformal.log_prior)
        scale = np.hypot(fitted.std, rounding / fitted.seconds)
        scale = np.maximum(scale, _LEAST_STD)
        below, above = self.conformal.factors(len(read.index))
        mean_s, lower, upper = fitted.seconds, below * scale, above * scale
        exact = np.maximum(np.where(own > 0, own, READING_STD), _LEAST_STD)
        # Its own reading and what the others say of a network, each weighted by its precision.
        trust = 1.0 / (1.0 + (exact / scale[read.index]) ** 2)
        mean_s[read.index] *= (read.seconds / mean_s[read.index]) ** trust
        lower[read.index] = upper[read.index] = exact * np.sqrt(trust)
        broken = np.full(len(mean_s), fitted.broken)
        broken[read.index] = 0.0
        return LatencyPosterior(mean_s, lower, upper, broken)


def learn(
    networks: NDArray[np.generic],
    source_latency_s: Floats,
    seed: int = 0,
    *,
    op_names: Sequence[str] = (),
    devices: Sequence[str] = (),
) -> DevicePrior:
    """The prior from `networks` of a pool, encoded, and their seconds on source devices.

    `networks` is an integer encoding [n, positions] or a matrix of non-negative float features [n, columns];
    `source_latency_s` [n, sources], NaN where not measured. One source is enough. `seed` picks the networks on which
    sources are left out. `op_names` (of the integers) and `devices` (of the sources) are kept, to tell later whether
    another table goes with the prior. Raises ValueError for arrays and names that do not fit together and for sources
    without readings.
    """
    seconds = np.asarray(source_latency_s, np.float64)
    networks = renumbered(networks, op_names, op_names)
    encoding = encode(networks)
    if seconds.ndim != 2 or len(seconds) != len(networks) or not seconds.shape[1]:
        raise ValueError(
            f"seconds of the sources have shape {seconds.shape}; give a row for each of the {len(networks)} networks "
            "and a column for each source"
        )
    if len(devices) not in (0, seconds.shape[1]):
        raise ValueError(f"there are {len(devices)} names for {seconds.shape[1]} sources; give one for each, or none")
    if np.any(np.isinf(seconds)) or np.any(seconds < 0):
        raise ValueError("a source has a negative or infinite reading; write NaN for what was not measured")
    few = np.isfinite(seconds).sum(axis=0) < LEAST_ROWS
    if np.any(few) or np.any(np.nanmedian(np.where(few, 1.0, seconds), axis=0) <= 0):
        raise ValueError(
            f"source {int(np.argmax(few))} has fewer than {LEAST_ROWS} positive readings in the pool; leave it out"
        )
    relative = seconds / np.nanmedian(seconds, axis=0)
    columns = encoding.columns(networks)
    described = source_models.describe(encoding, columns, relative)
    conformal = leave_one_source_out(described, columns, relative, seed)
    return DevicePrior(encoding, described, conformal, tuple(op_names), tuple(devices))
