"""What every latency model promises: seconds per segment with their joint uncertainty, for a target.

A network with exits is priced segment by segment, because a sample that leaves early pays for the segments it passed
and no more. Seconds up to an exit and expected seconds derive from the segments and their joint covariance, so the
error of an expected latency is right; nothing is computed twice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hardware_profiles import Target
from search_spaces.ir import Network

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Prediction:
    """Latencies of n networks with at most K exits, for one call with the target's batch.

    `segment_s` [n, K]: mean seconds of each segment, its call and its decision included; NaN where a network has
    fewer exits. `covariance` [n, K, K]: joint covariance of the segments in s^2, 0 where there is none. `freedom`:
    degrees of freedom of Student's t behind the errors, infinite where they are not estimated from few networks.
    """

    segment_s: Floats
    covariance: Floats
    freedom: float = math.inf

    @property
    def exits(self) -> NDArray[np.int64]:
        """Number of exits of each network, the final one included [n]."""
        return np.asarray(np.isfinite(self.segment_s).sum(axis=1))

    def reach_s(self, k: int | None = None) -> Floats:
        """Seconds of a sample that leaves at each exit [n, K], or at exit `k` alone [n]; NaN where there is none."""
        reach = np.cumsum(self.segment_s, axis=1)
        return reach if k is None else reach[:, k]

    def reach_std_s(self) -> Floats:
        """Standard deviation of `reach_s` [n, K]."""
        n, count = self.segment_s.shape
        passed = np.tril(np.ones((count, count)))
        variance = np.einsum("ij,njk,ik->ni", passed, self.covariance, passed)
        return np.where(np.isfinite(self.segment_s), np.sqrt(np.maximum(variance, 0)), np.nan).reshape(n, count)

    @property
    def total_s(self) -> Floats:
        """Worst case: seconds of a sample that passes every exit and leaves at the last [n]."""
        return np.asarray(np.nansum(self.segment_s, axis=1))

    @property
    def total_std_s(self) -> Floats:
        """Standard deviation of `total_s` [n]."""
        return np.asarray(np.sqrt(np.maximum(self.covariance.sum(axis=(1, 2)), 0)))

    def total_quantile_s(self, share: float) -> Floats:
        """Seconds below which the worst case stays with probability `share`, never below nothing [n].

        The interval of 90 % is from 0.05 to 0.95. Student's t, since the error itself is estimated.
        """
        from scipy.special import ndtri, stdtrit

        factor = float(ndtri(share)) if math.isinf(self.freedom) else float(stdtrit(self.freedom, share))
        return np.asarray(np.maximum(self.total_s + factor * self.total_std_s, 0.0))

    def expected_s(self, rates: Floats) -> Floats:
        """Mean seconds when the share `rates` [n, K] (or [K]) of the samples leaves at each exit [n].

        Raises ValueError for rates that are negative, do not sum to 1, or lie on exits a network lacks.
        """
        return np.asarray((np.nan_to_num(self.segment_s) * self._passing(rates)).sum(axis=1))

    def expected_std_s(self, rates: Floats) -> Floats:
        """Standard deviation of `expected_s`, for fixed rates [n]."""
        passing = self._passing(rates)
        return np.asarray(np.sqrt(np.maximum(np.einsum("ni,nij,nj->n", passing, self.covariance, passing), 0)))

    def _passing(self, rates: Floats) -> Floats:
        """The share of samples that runs each segment [n, K]."""
        rates = np.broadcast_to(np.asarray(rates, np.float64), self.segment_s.shape)
        if np.any(rates < 0) or np.any(np.abs(rates.sum(axis=1) - 1) > 1e-6):
            raise ValueError("exit rates must not be negative and must sum to 1 for each network")
        if np.any(rates[~np.isfinite(self.segment_s)] > 0):
            raise ValueError("exit rates give samples to an exit that the network does not have")
        return np.cumsum(rates[:, ::-1], axis=1)[:, ::-1]


class LatencyModel(Protocol):
    """Prices networks on one target."""

    @property
    def target(self) -> Target:
        """What the seconds hold for."""

    def predict(self, networks: Sequence[Network]) -> Prediction:
        """Seconds of each network; raises UnpricedOperator rather than pricing an unknown operator at nothing."""


class AdditiveModel(LatencyModel, Protocol):
    """A model whose seconds add up over operators, and which therefore compiles to tables over a space."""

    @property
    def call_s(self) -> float:
        """Seconds of one call to the runtime; every segment is one."""

    @property
    def decision_s(self) -> float:
        """Seconds of deciding at one early exit."""

    def body_s(self, networks: Sequence[Network]) -> Floats:
        """Seconds of the operators alone, without call and decision [n]."""


def stack(segments: Sequence[Floats], covariances: Sequence[Floats], freedom: float = math.inf) -> Prediction:
    """One Prediction from per-network means [K_i] and covariances [K_i, K_i]."""
    count = max((len(s) for s in segments), default=1)
    mean = np.full((len(segments), count), np.nan)
    covariance = np.zeros((len(segments), count, count))
    for row, (values, joint) in enumerate(zip(segments, covariances, strict=True)):
        mean[row, : len(values)] = values
        covariance[row, : len(values), : len(values)] = joint
    return Prediction(mean, covariance, freedom)
