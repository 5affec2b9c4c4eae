"""What every latency model promises: seconds per segment with their joint uncertainty, for a target.

A network with exits is priced segment by segment, because a sample that leaves early pays for the segments it passed
and no more. Seconds up to an exit and expected seconds derive from the segments and their joint covariance, so the
error of an expected latency is right; nothing is computed twice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hardware_profiles import Target
from latency_models.additive import Additive
from search_spaces.ir import Network
from search_spaces.slots import Genomes, SearchSpace

Floats = NDArray[np.float64]
#: No standard deviation of a logarithm is less, so that a prediction that is certain divides by no 0.
_LEAST_WIDTH = 1e-6


class Distribution(Protocol):
    """What is believed of the seconds of n networks: `LogStudent` and `few_shot.LatencyPosterior` are two."""

    @property
    def mean_s(self) -> Floats:
        """The central prediction of each network, in seconds [n]."""

    def quantile_s(self, q: float) -> Floats:
        """Seconds that each network stays within with probability `q` [n]."""

    def probability_within(self, limit_s: float) -> Floats:
        """The probability that each network takes at most `limit_s` [n]."""


@dataclass(frozen=True, eq=False)
class LogStudent:
    """Student's t of the logarithm of seconds, since seconds are positive: centre `mean_s` [n], error `std_s` [n].

    `degrees_of_freedom`: its degrees of freedom; infinite is the normal distribution.
    """

    mean_s: Floats
    std_s: Floats
    degrees_of_freedom: float = math.inf

    def quantile_s(self, q: float) -> Floats:
        """Seconds that each network stays within with probability `q` [n]; the 90 % interval is from 0.05 to 0.95."""
        from scipy.special import ndtri, stdtrit

        factor = float(ndtri(q)) if math.isinf(self.degrees_of_freedom) else float(stdtrit(self.degrees_of_freedom, q))
        return np.asarray(self.mean_s * np.exp(factor * self._width()))

    def probability_within(self, limit_s: float) -> Floats:
        """The probability that each network takes at most `limit_s` [n]."""
        from scipy.special import ndtr, stdtr

        distance = np.log(limit_s / self.mean_s) / self._width()
        normal = math.isinf(self.degrees_of_freedom)
        return np.asarray(ndtr(distance) if normal else stdtr(self.degrees_of_freedom, distance), np.float64)

    def _width(self) -> Floats:
        """Standard deviation of the logarithm [n]."""
        return np.asarray(np.maximum(np.sqrt(np.log1p((self.std_s / self.mean_s) ** 2)), _LEAST_WIDTH))


@dataclass(frozen=True)
class ErrorBar:
    """How far a model is off: its `relative` error (a standard deviation), known from `networks` that were measured.

    Without networks nothing was measured on this device: what is known comes from other `devices`, by which predictions
    are corrected, or is believed at best.
    """

    relative: float
    networks: int
    devices: int = 0


@dataclass(frozen=True, eq=False)
class Prediction:
    """Latencies of n networks with at most K exits, for one call with the target's batch.

    `segment_s` [n, K]: mean seconds of each segment, its call and its decision included; NaN where a network has
    fewer exits. `covariance` [n, K, K]: joint covariance of the segments in s^2, 0 where there is none.
    `degrees_of_freedom`: degrees of freedom of Student's t behind the errors, infinite where they are not estimated
    from few networks.
    """

    segment_s: Floats
    covariance: Floats
    degrees_of_freedom: float = math.inf

    @property
    def exits(self) -> NDArray[np.int64]:
        """Number of exits of each network, the final one included [n]."""
        return np.asarray(np.isfinite(self.segment_s).sum(axis=1))

    def cumulative_s(self, k: int | None = None) -> Floats:
        """Seconds of a sample that leaves at each exit [n, K], or at exit `k` alone [n]; NaN where there is none."""
        cumulative = np.cumsum(self.segment_s, axis=1)
        return cumulative if k is None else cumulative[:, k]

    def cumulative_std_s(self) -> Floats:
        """Standard deviation of `cumulative_s` [n, K]."""
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

    def believed(self, rates: Floats | None = None) -> LogStudent:
        """What is believed of the worst case, or of the mean where the shares `rates` [n, K] leave at each exit."""
        if rates is None:
            return LogStudent(self.total_s, self.total_std_s, self.degrees_of_freedom)
        return LogStudent(self.expected_s(rates), self.expected_std_s(rates), self.degrees_of_freedom)

    def quantile_s(self, q: float, rates: Floats | None = None) -> Floats:
        """Seconds that the worst case, or the mean for `rates`, stays within with probability `q` [n]."""
        return self.believed(rates).quantile_s(q)

    def probability_within(self, limit_s: float, rates: Floats | None = None) -> Floats:
        """The probability that the worst case, or the mean for `rates`, is at most `limit_s` [n]."""
        return self.believed(rates).probability_within(limit_s)

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
    """Prices networks on one target; all that a run uses of a model. It is built from (profile, target).

    `nas check my_module:MyModel` runs the laws in `nas.testing.latency_model` that say the same.
    """

    @property
    def target(self) -> Target:
        """What the seconds hold for."""

    @property
    def error(self) -> ErrorBar:
        """The relative error to allow for; of a model that was never fitted, `networks` is 0."""

    def predict(self, networks: Sequence[Network]) -> Prediction:
        """Seconds of each network; raises UnpricedOperator rather than pricing an unknown operator at nothing."""

    def fit(self, networks: Sequence[Network], cumulative_s: Floats) -> Self:
        """Another model that has these measurements too: seconds up to each exit [n, K], NaN where there is none."""

    def save(self, file: str | Path | BinaryIO) -> None:
        """Write all that `load` needs; files hold no pickles."""

    @classmethod
    def load(cls, file: str | Path | BinaryIO) -> Self:
        """The model that `save` wrote, in any process; raises ValueError for a file of another kind."""

    def additive(self, space: SearchSpace) -> Additive | None:
        """Tables over a space that give what `predict` gives; None where seconds do not add up.

        Without tables every network that is screened is predicted on its own, and there is no differentiable search.
        """


class SpaceLatency(Protocol):
    """Seconds over a space; methods take canonical genomes [n, genes]."""

    @property
    def target(self) -> Target:
        """What the seconds hold for."""

    def cumulative_s(self, genomes: Genomes) -> Floats:
        """Seconds up to each exit position, the final one last [n, positions]; NaN where that exit is off."""

    def latency_s(self, genomes: Genomes) -> Floats:
        """Worst-case seconds [n]."""


@runtime_checkable
class LooksUp(LatencyModel, Protocol):
    """A model that knows networks by their genomes, so that none need be decoded to be screened."""

    def by_genome(self, space: SearchSpace) -> SpaceLatency | None:
        """Seconds over a space; None where networks have to be asked for one by one."""


@runtime_checkable
class TakesFamilyPrior(LatencyModel, Protocol):
    """A model that can be told before it is fitted what was measured on other devices of the same family."""

    @property
    def family(self) -> tuple[str, ...]:
        """Keys of the targets whose measurements it was told of."""

    def with_family(self, same_family: Sequence[Self]) -> Self:
        """Another model that believes what fitted models of the same class, on other devices, say of this one."""


@runtime_checkable
class Transferable(LatencyModel, Protocol):
    """A model whose fit may serve under another name of the same device, or with less trust."""

    def moved_to(self, target: Target, least_error: float = 0.0) -> Self:
        """The same fit for `target`, with a relative error of at least `least_error`."""


def stack(
    segments: Sequence[Floats], covariances: Sequence[Floats], degrees_of_freedom: float = math.inf
) -> Prediction:
    """One Prediction from per-network means [K_i] and covariances [K_i, K_i]."""
    count = max((len(s) for s in segments), default=1)
    mean = np.full((len(segments), count), np.nan)
    covariance = np.zeros((len(segments), count, count))
    for row, (values, joint) in enumerate(zip(segments, covariances, strict=True)):
        mean[row, : len(values)] = values
        covariance[row, : len(values), : len(values)] = joint
    return Prediction(mean, covariance, degrees_of_freedom)
