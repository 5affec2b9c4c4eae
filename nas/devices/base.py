"""What a device is to a run: where the networks of one target are timed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hardware_profiles import DeviceProfile, Target
from nas.deploy.cascade import Cascade
from nas.devices.measurement import ExitTime, Measurement, Purpose
from nas.devices.timing.measuring import Plan
from search_spaces.slots import SearchSpace


@dataclass(frozen=True)
class Exported:
    """An exported network that is loaded: its genome, its cascade, and whether its mean over samples is wanted too."""

    genome: tuple[int, ...]
    cascade: Cascade
    stream: bool


@dataclass(frozen=True)
class CascadeTimes:
    """Seconds of an exported network: to each exit, and the mean over samples where that was wanted."""

    to_exits: tuple[ExitTime, ...]
    stream: ExitTime | None


class Device(Protocol):
    """Takes readings on one target."""

    def time_networks(
        self,
        space: SearchSpace,
        genomes: Sequence[NDArray[np.integer[Any]]],
        purpose: Purpose,
        seed: int,
        blocks: int,
        block_s: float,
    ) -> tuple[Measurement, ...]:
        """Readings of networks of a space with random weights, to each of their exits, taken together."""

    def time_cascades(
        self, networks: Mapping[str, Exported], samples: Sequence[NDArray[np.float32]], plan: Plan
    ) -> dict[str, CascadeTimes]:
        """Readings of exported networks by name, taken together; `samples` are batches of one."""

    def time_stream(self, network: Exported, samples: Sequence[NDArray[np.float32]], plan: Plan) -> ExitTime:
        """The mean seconds of an exported network over samples, each a batch of one."""


#: Finds the device of a target, whose profile is given; None where it is not within reach.
DeviceFinder = Callable[[Target, DeviceProfile], Device | None]
