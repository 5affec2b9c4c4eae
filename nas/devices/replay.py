"""A device that measures nothing: it answers from a log of measurements, for comparisons, tests and dry runs.

What is asked for is found by target, genome and purpose; asked again, the next reading of the same is given, as the
machine would have given another one. Two programs that ask for the same things then get the same seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hardware_profiles import DeviceProfile, Target
from nas.config.plugins import NO_PLUGINS, Plugins
from nas.deploy.artefact import Artefact
from nas.devices.base import Array, Device, Session, Times, Wanted
from nas.devices.conditions import Conditions
from nas.devices.local import InProcessSession
from nas.devices.measurement import Measurement, Purpose, read_rows
from nas.devices.runners import runner_for
from nas.devices.timing.plan import Plan
from nas.errors import InputError


class Recording:
    """The measurements of a log, by (target, genome, purpose) in the order in which they were taken."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: dict[tuple[str, tuple[int, ...], str], list[Measurement]] = {}
        for row in read_rows(path):
            self._rows.setdefault((row.target, row.genome, row.purpose), []).append(row)
        self._asked: Counter[tuple[str, tuple[int, ...], str]] = Counter()

    def device(self, target: Target, profile: DeviceProfile, plugins: Plugins = NO_PLUGINS) -> Device | None:
        """A `base.DeviceFinder`: the recorded device of a target, None where nothing was measured on it."""
        return Replay(self, target, plugins) if any(key == target.key for key, _, _ in self._rows) else None

    def next(self, target: Target, genome: tuple[int, ...], purpose: Purpose) -> Measurement:
        """The next reading; raises InputError where there is none."""
        left = self.left(target, genome, purpose)
        if not left:
            raise InputError(
                f"{self.path} has no more {purpose} readings of genome {list(genome)} on {target.key}, and one was "
                "asked for: this program does not measure what that one measured"
            )
        self._asked[target.key, genome, purpose] += 1
        return left[0]

    def left(self, target: Target, genome: tuple[int, ...], purpose: Purpose) -> Sequence[Measurement]:
        """The readings that were not asked for yet."""
        key = (target.key, genome, purpose)
        return self._rows.get(key, [])[self._asked[key] :]


class Replay:
    """Satisfies `base.Device` with the readings of a recording; what is run instead of timed runs here."""

    def __init__(self, recording: Recording, target: Target, plugins: Plugins = NO_PLUGINS) -> None:
        self.recording, self.target, self.plugins = recording, target, plugins

    @contextmanager
    def open(self, artefacts: Mapping[str, Artefact]) -> Iterator[Session]:
        """Open artefacts; nothing is built or loaded as long as it is only timed."""
        yield ReplaySession(self, artefacts)


@dataclass(frozen=True)
class ReplaySession:
    """Satisfies `base.Session`."""

    device: Replay
    artefacts: Mapping[str, Artefact]

    @property
    def runtime(self) -> str:
        """What the readings are from."""
        return f"replay of {self.device.recording.path.name}"

    def run(self, name: str, sample: Array) -> tuple[Array, int]:
        """The logits that answer one sample, and their exit, by the runtime of the target here."""
        return self._here.run(name, sample)

    def run_all(self, name: str, batch: Array) -> Sequence[Array]:
        """The logits of all exits, by the runtime of the target here."""
        return self._here.run_all(name, batch)

    def leaving(self, name: str, samples: Sequence[Array]) -> NDArray[np.int64]:
        """The exits at which samples leave [n], by the runtime of the target here."""
        return self._here.leaving(name, samples)

    def time(
        self, wanted: Sequence[Wanted], samples: Sequence[NDArray[np.float32]], plan: Plan, reference: str | None = None
    ) -> dict[str, Times]:
        """What was read of these networks; raises InputError where there is no such reading."""
        return {each.name: self._times(each) for each in wanted}

    def conditions(self) -> Conditions:
        """What this machine is like now."""
        return Conditions.now(self.runtime, self.device.target.threads)

    @cached_property
    def _here(self) -> Session:
        return InProcessSession(runner_for(self.device.target, self.device.plugins), self.artefacts)

    def _times(self, wanted: Wanted) -> Times:
        recording, target = self.device.recording, self.device.target
        if wanted.purpose is not None:
            row = recording.next(target, wanted.genome, wanted.purpose)
            return Times(row.exits, row.stream, row.reference_s)
        # Readings that nobody noted: those that will be taken when the network is verified stand in.
        for row in recording.left(target, wanted.genome, "winner"):
            if row.stream is not None or not wanted.leaves:
                return Times(row.exits, row.stream if wanted.leaves else None)
        raise InputError(f"{recording.path} has no mean over samples of genome {list(wanted.genome)}")
