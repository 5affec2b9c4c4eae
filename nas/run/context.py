"""What every stage is given: the experiment, its run folder, and the data, space and devices it names."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from hardware_profiles import DeviceProfile, Target
from nas.config.settings import Experiment
from nas.devices.base import Device, DeviceFinder, DeviceLost
from nas.devices.board.device import Board
from nas.devices.finding import find_device
from nas.devices.networks import Untrained
from nas.devices.runners import builder_for
from nas.process.events import Voice
from nas.process.interrupt import stop_if_asked
from nas.run import lengths
from nas.run.folder import RunFolder
from nas.run.layout import RunFiles
from nas.run.rungs import Rungs
from nas.seeds import derive_seed
from nas.tasks.image_classification.prepared import Dataset
from search_spaces.slots import SearchSpace

if TYPE_CHECKING:
    from nas.deploy.builders import Builder


Result = TypeVar("Result")


@dataclass(frozen=True)
class Context:
    """An opened run; `seed` derives seeds from what they are for, never from the order of calls.

    `lost` are devices that did not answer while this process was at it, and why; by its `rungs` a sweep may
    stop the run, None where there is none.
    """

    experiment: Experiment
    run: RunFolder
    data: Dataset
    space: SearchSpace
    profiles: Mapping[str, DeviceProfile]
    voice: Voice
    devices: DeviceFinder = find_device
    lost: dict[str, str] = field(default_factory=dict)
    rungs: Rungs | None = None

    @property
    def files(self) -> RunFiles:
        """Where the files of the run lie."""
        return RunFiles(self.run.path)

    def seed(self, *path: str | int) -> int:
        """The seed of the thing that `path` names in this run."""
        return derive_seed(self.experiment.seed, *path)

    def order(self, part: Literal["val", "test"]) -> NDArray[np.int64]:
        """A fixed random order of a part's images: its beginning is a fair sample, where files are sorted by class."""
        indices = self.data.splits.val if part == "val" else self.data.splits.test
        return np.random.default_rng(self.seed("order", part)).permutation(len(indices))

    def device(self, target: Target) -> Device | None:
        """Where networks of a target are opened and timed; None where its device is not within reach, or was lost."""
        if self.why_lost(target) is not None:
            return None
        return self.devices(target, self.profiles[target.device], self.experiment.plugins)

    def why_lost(self, target: Target) -> str | None:
        """Why the device of a target does not answer, None where it was not lost."""
        # A board is lost by the name that it was added by, which may be that of the target or of its profile.
        names = (target.device, self.profiles[target.device].id)
        return next((self.lost[name] for name in names if name in self.lost), None)

    def is_here(self, target: Target) -> bool:
        """Whether networks of a target are run by this machine."""
        device = self.device(target)
        return device is not None and not isinstance(device, Board)

    def builder(self, target: Target) -> Builder:
        """What builds for a target; its device need not be within reach."""
        return builder_for(target, self.profiles[target.device], self.experiment.plugins)

    def untrained(self, target: Target, purpose: str) -> Untrained:
        """Networks of the space with random weights, which only the run's seed and the purpose decide."""
        return Untrained(self.space, self.builder(target), self.seed(purpose))

    def with_devices(self, work: Callable[[], Result]) -> Result:
        """What `work` gives, begun again without the devices that it loses; what it wrote before is there."""
        while True:
            try:
                return work()
            except DeviceLost as error:
                self.lose(error)

    def lose(self, error: DeviceLost) -> None:
        """Do without a device from now on, and say so."""
        self.lost[error.device] = error.reason
        self.run.log("device lost", device=error.device, reason=error.reason)
        self.voice.warning(f"{error}. The run goes on without it, and with it when it is resumed and it answers.")

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Say that a stage begins, and write to the log how long it took."""
        self.voice.stage(stage)
        stop_if_asked()
        self.run.log("begin", stage=stage)
        start = time.perf_counter()
        yield
        self.run.log("end", stage=stage, seconds=round(time.perf_counter() - start, 3))
        lengths.note(self.files)
        stop_if_asked()
