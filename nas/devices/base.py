"""What a device is to a run: where the networks of one target are opened, run and timed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hardware_profiles import DeviceProfile, Target
from nas.config.plugins import Plugins
from nas.deploy.artefact import Artefact
from nas.devices.conditions import Conditions
from nas.devices.measurement import ExitTime, Purpose, quantiles_of
from nas.devices.timing.cascades import CascadeReadings
from nas.devices.timing.plan import Plan, SinglePlan

Array = NDArray[Any]


@dataclass(frozen=True)
class Wanted:
    """What is to be timed of an artefact that is open: calls to each exit, and the mean of a `stream` if said.

    `genome` and `purpose` say of which network and what for, as the log of measurements will; a reading without a
    purpose does not come to stand there. `single` says which single calls are taken too, if any: with a seed,
    over a stream of samples that are drawn.
    """

    name: str
    genome: tuple[int, ...]
    exits: int
    purpose: Purpose | None = None
    stream: bool = False
    single: SinglePlan | None = None

    @property
    def leaves(self) -> bool:
        """Whether samples leave by their thresholds in what is timed."""
        return self.stream or (self.single is not None and self.single.seed is not None)


@dataclass(frozen=True)
class Times:
    """Seconds of an artefact: to each exit, and over a stream of samples, where that was wanted, mean and single calls.

    `reference_s` is what the reference took meanwhile, None where there was none or the core was never undisturbed.
    `single_s` are seconds of single calls at the quantiles `measurement.LEVELS`, empty where none were taken.
    """

    to_exits: tuple[ExitTime, ...]
    stream: ExitTime | None = None
    reference_s: float | None = None
    single_s: tuple[float, ...] = ()

    @staticmethod
    def of(read: CascadeReadings) -> Times:
        """What is kept of the readings of a network."""
        *early, last = read.to_exits
        single, over = read.single, _of_stream(read)
        return Times(
            (*map(ExitTime.of, early), ExitTime.of(last, single if over is None else None)),
            over,
            None if math.isnan(last.reference_s) else last.reference_s,
            () if single is None else quantiles_of(single),
        )


def _of_stream(read: CascadeReadings) -> ExitTime | None:
    """What is kept of a stream; where its single calls alone were taken, its mean is theirs."""
    if read.stream is not None:
        return ExitTime.of(read.stream, read.single)
    return None if read.single is None or not read.single.drawn else ExitTime.of_single(read.single)


class DeviceLost(Exception):
    """A device does not answer, or cannot do what was asked; what was read of it before is kept."""

    def __init__(self, device: str, reason: str) -> None:
        super().__init__(f"{device} {reason}")
        self.device, self.reason = device, reason


class Session(Protocol):
    """Artefacts that are open on a device, by name, until the session ends."""

    @property
    def runtime(self) -> str:
        """Name and version of what runs them."""

    def run(self, name: str, sample: Array) -> tuple[Array, int]:
        """The logits that answer one sample [1, ...], and the exit that they come from."""

    def run_all(self, name: str, batch: Array) -> Sequence[Array]:
        """The logits of all exits, each [batch, classes]; a batch is as large as the target's."""

    def leaving(self, name: str, samples: Sequence[Array]) -> NDArray[np.int64]:
        """The exits at which samples [1, ...] leave [n]."""

    def time(
        self, wanted: Sequence[Wanted], samples: Sequence[NDArray[np.float32]], plan: Plan, reference: str | None = None
    ) -> dict[str, Times]:
        """Seconds by the device's own clock, all taken together in interleaved blocks, by name.

        Calls take the first of the `samples`, repeated to the target's batch where it is one; streams take all of them,
        one by one. The artefact named `reference` is watched meanwhile.
        """

    def conditions(self) -> Conditions:
        """What the device is like now."""


class Device(Protocol):
    """Where one target is."""

    @property
    def target(self) -> Target: ...

    def open(self, artefacts: Mapping[str, Artefact]) -> AbstractContextManager[Session]:
        """Open artefacts; each is looked up when it is first needed, so that a mapping may build on demand.

        Raises InputError where the runtime is missing.
        """


#: Finds the device of a target, whose profile is given; None where it is not within reach.
DeviceFinder = Callable[[Target, DeviceProfile, Plugins], Device | None]
