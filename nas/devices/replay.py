"""A device that measures nothing: it answers from a log of measurements, for comparisons, tests and dry runs.

What is asked for is found by target, genome and purpose; asked again, the next reading of the same is given, as the
machine would have given another one. Two programs that ask for the same things then get the same seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware_profiles import DeviceProfile, Target
from nas.devices.base import CascadeTimes, Device, Exported
from nas.devices.measurement import ExitTime, Measurement, Purpose, read_rows
from nas.devices.timing.plan import Plan
from nas.errors import InputError
from search_spaces.slots import SearchSpace


class Recording:
    """The measurements of a log, by (target, genome, purpose) in the order in which they were taken."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: dict[tuple[str, tuple[int, ...], str], list[Measurement]] = {}
        for row in read_rows(path):
            self._rows.setdefault((row.target, row.genome, row.purpose), []).append(row)
        self._asked: Counter[tuple[str, tuple[int, ...], str]] = Counter()

    def device(self, target: Target, profile: DeviceProfile) -> Device | None:
        """A `base.DeviceFinder`: the recorded device of a target, None where nothing was measured on it."""
        return Replay(self, target) if any(key == target.key for key, _, _ in self._rows) else None

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
    """Satisfies `base.Device` with the readings of a recording."""

    def __init__(self, recording: Recording, target: Target) -> None:
        self.recording, self.target = recording, target

    def time_networks(
        self,
        space: SearchSpace,
        genomes: Sequence[NDArray[np.integer[Any]]],
        purpose: Purpose,
        seed: int,
        blocks: int,
        block_s: float,
    ) -> tuple[Measurement, ...]:
        """What was read of these genomes."""
        return tuple(self.recording.next(self.target, tuple(int(g) for g in genome), purpose) for genome in genomes)

    def time_cascades(
        self, networks: Mapping[str, Exported], samples: Sequence[NDArray[np.float32]], plan: Plan
    ) -> dict[str, CascadeTimes]:
        """What was read of these networks once they were exported."""
        rows = {name: self.recording.next(self.target, network.genome, "winner") for name, network in networks.items()}
        return {name: CascadeTimes(row.exits, row.stream) for name, row in rows.items()}

    def time_stream(self, network: Exported, samples: Sequence[NDArray[np.float32]], plan: Plan) -> ExitTime:
        """The mean that will be read when the network is verified: readings on the way there are not in the log."""
        for row in self.recording.left(self.target, network.genome, "winner"):
            if row.stream is not None:
                return row.stream
        raise InputError(f"{self.recording.path} has no mean over samples of genome {list(network.genome)}")
