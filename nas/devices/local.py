"""This machine as a device: what is timed runs in this process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware_profiles import DeviceProfile, Target
from hardware_profiles.host import is_here
from nas.devices.base import CascadeTimes, Device, Exported
from nas.devices.measurement import ExitTime, Measurement, Purpose
from nas.devices.networks import BLOCKS, BLOCK_S, Loader, time_loaded
from nas.devices.timing.measuring import measure_stream, measure_together
from nas.devices.timing.plan import Plan
from search_spaces.slots import SearchSpace


def local_device(target: Target, profile: DeviceProfile) -> Device | None:
    """This machine, where the target's device is it: `host`, or a profile that `nas profile` measured on it."""
    return InProcess(target) if is_here(profile) else None


class InProcess:
    """Satisfies `base.Device`: the runtime that the target names, in this process."""

    def __init__(self, target: Target) -> None:
        self.target = target

    def time_networks(
        self,
        space: SearchSpace,
        genomes: Sequence[NDArray[np.integer[Any]]],
        purpose: Purpose,
        seed: int,
        blocks: int = BLOCKS,
        block_s: float = BLOCK_S,
    ) -> tuple[Measurement, ...]:
        """Export, load and time networks together; raises InputError where the runtime or a compiler is missing."""
        loader = Loader(space, self.target, seed)
        return time_loaded(loader, loader.reference(), genomes, purpose, blocks, block_s)

    def time_cascades(
        self, networks: Mapping[str, Exported], samples: Sequence[NDArray[np.float32]], plan: Plan
    ) -> dict[str, CascadeTimes]:
        """Time exported networks in interleaved blocks: to each exit, and over the samples where that is wanted."""
        batch = np.repeat(samples[0], self.target.batch, axis=0)
        calls = {
            f"{name}/{k}": partial(network.cascade.run_to, batch, k)
            for name, network in networks.items()
            for k in range(len(network.cascade))
        }
        streams = {name: network.cascade for name, network in networks.items() if network.stream}
        readings = measure_together(calls, streams, samples, plan)
        return {
            name: CascadeTimes(
                tuple(ExitTime.of(readings[f"{name}/{k}"]) for k in range(len(network.cascade))),
                ExitTime.of(readings[name]) if network.stream else None,
            )
            for name, network in networks.items()
        }

    def time_stream(self, network: Exported, samples: Sequence[NDArray[np.float32]], plan: Plan) -> ExitTime:
        """Time one exported network over samples."""
        return ExitTime.of(measure_stream({"": network.cascade}, samples, plan)[""])
