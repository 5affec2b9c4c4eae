"""Estimates of energy and memory beside a latency; nothing here is measured, and nothing should be called so.

Energy = idle power x seconds + energy per FLOP x FLOPs + energy per byte x bytes. The power above idle that a device
is sold for (TDP) is shared out as if 60 % of it went into arithmetic at the peak and 40 % into traffic at the full
bandwidth: a first guess that orders networks of one device, and no more. An energy budget needs a meter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from hardware_profiles import HOST, DeviceProfile, Target
from latency_models.base import Floats, Prediction, stack
from latency_models.counts import counts
from latency_models.features import machine
from search_spaces.ir import Network
from search_spaces.op import DTYPE_BYTES
from search_spaces.passes import fold_batch_norm

#: Shares of the power above idle.
ARITHMETIC_SHARE: Final = 0.6
TRAFFIC_SHARE: Final = 0.4


@dataclass(frozen=True, eq=False)
class EnergyEstimate:
    """Joules of each segment of n networks, one call with the target's batch each [n, K]; NaN where there is none.

    `idle_j` is the part that the device would have used anyway in those seconds.
    """

    segment_j: Floats
    idle_j: Floats

    @property
    def total_j(self) -> Floats:
        """Joules of a call that passes every exit [n]."""
        return np.asarray(np.nansum(self.segment_j, axis=1))

    def expected_j(self, rates: Floats) -> Floats:
        """Mean joules when the share `rates` [n, K] (or [K]) leaves at each exit [n]; raises as `expected_s` does."""
        return Prediction(self.segment_j, np.zeros((*self.segment_j.shape, self.segment_j.shape[1]))).expected_s(rates)


def energy(profile: DeviceProfile, target: Target, networks: Sequence[Network], seconds: Prediction) -> EnergyEstimate:
    """Estimated energy of networks that take these seconds.

    Raises ValueError for a profile without idle power or TDP, and UnpricedOperator.
    """
    if profile.idle_w is None or profile.tdp_w is None:
        missing = "idle_w" if profile.idle_w is None else "tdp_w"
        where = "the profile that nas profile makes of this machine" if profile.id == HOST else "its file"
        raise ValueError(f"device {profile.id!r} has no {missing}, which is not measured; add it to {where}")
    if len(networks) != len(seconds.segment_s):
        raise ValueError(f"{len(networks)} networks, but seconds of {len(seconds.segment_s)}")
    on = machine(profile, target)
    idle_w, above_w = profile.idle_w.value, max(profile.tdp_w.value - profile.idle_w.value, 0.0)
    # The device is at its power with all its cores busy.
    flop_j = ARITHMETIC_SHARE * above_w / profile.peak(target.dtype)
    byte_j = TRAFFIC_SHARE * above_w / profile.bandwidth()
    work = np.full(seconds.segment_s.shape, np.nan)
    for row, network in zip(work, networks, strict=True):
        count = counts(network, on.fusions, "energy", target)
        moved = (count.activation_bytes * on.batch + count.weight_bytes) * on.bytes_factor
        row[: count.exits] = np.bincount(
            count.segment, flop_j * count.flops * on.batch + byte_j * moved, minlength=count.exits
        )
    idle = idle_w * seconds.segment_s
    return EnergyEstimate(idle + work, idle)


def call_energy_j(
    profile: DeviceProfile, target: Target, network: Network, cumulative_s: ArrayLike, rates: ArrayLike | None = None
) -> float:
    """Estimated joules of a call of one network that takes `cumulative_s` [exits] seconds to its exits.

    The mean where the share `rates` [exits] of the calls leaves at each exit; without them a call passes every exit.
    Raises as `energy` does.
    """
    # Measured medians of two exits next to each other may come out in the wrong order.
    segment_s = np.diff(np.maximum.accumulate(np.asarray(cumulative_s, np.float64)), prepend=0.0)
    seconds = stack([segment_s], [np.zeros((len(segment_s), len(segment_s)))])
    found = energy(profile, target, [network], seconds)
    return float((found.total_j if rates is None else found.expected_j(np.asarray(rates, np.float64)))[0])


def peak_memory_bytes(network: Network, target: Target) -> int:
    """Estimated bytes of the largest set of live activations for one batch, and of all weights, batch norm folded.

    What a runtime allocates besides (arenas, copies in another layout, its own code) is not in it.
    """
    folded, _ = fold_batch_norm(network)
    elements = DTYPE_BYTES[target.dtype] / DTYPE_BYTES["float32"]
    return round((network.peak_memory * target.batch + folded.weight_bytes) * elements)
