"""What `nas profile` leaves on disk, and finding it again: a profile, and per target and space a folder of its own.

OUT/NAME.yaml                           the profile, as the shipped ones, with the identity of the machine
OUT/NAME/TARGET/SPACE/readings.jsonl    what was set up, then every reading in order; grows by whole lines
                      calibration.npz   the latency model fitted to them
                      table.npz         the latencies as a table
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from hardware_profiles import DeviceProfile, Target
from hardware_profiles.host import differences
from hardware_profiles.registry import read
from hardware_profiles.schema import parse as parse_profile
from nas.config import registry
from nas.config.plugins import NO_PLUGINS, Plugins
from nas.devices.measurement import Measurement, read_rows
from nas.devices.timing.rounds import drift
from nas.errors import InputError
from nas.process.files import read_jsonl, understood
from nas.tolerances import REFERENCE_DRIFT
from search_spaces.slots import SearchSpace, complete

SCHEMA: Final = 1
READINGS: Final = "readings.jsonl"
CALIBRATION: Final = "calibration.npz"
TABLE: Final = "table.npz"
#: The latency model that a calibration is of.
MODEL: Final = "latency_models.roofline:Roofline"
#: An error bar needs networks that are left out of the fit.
FEWEST: Final = 3


@dataclass(frozen=True)
class Setup:
    """What is measured: networks of a space, for one target. `reference` and `arguments` say how the space is made.

    `plugins` is what was granted to this command, and is not stored.
    """

    target: Target
    reference: str
    arguments: Mapping[str, Any]
    input_shape: tuple[int, ...]
    classes: int
    seed: int
    plugins: Plugins = field(default=NO_PLUGINS, compare=False, repr=False)

    def space(self) -> SearchSpace:
        """The search space; raises InputError or SpaceError where there is none."""
        make = registry.load(self.reference, self.plugins)
        return complete(make(input_shape=self.input_shape, classes=self.classes, **self.arguments))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able values; what they are compared with was read from JSON."""
        record = {**asdict(self), "input_shape": list(self.input_shape), "arguments": dict(self.arguments)}
        del record["plugins"]
        return record


@dataclass(frozen=True)
class Head:
    """The first line of the readings."""

    setup: Mapping[str, Any]
    space: str
    runtime: str
    profile: DeviceProfile

    def to_dict(self) -> dict[str, Any]:
        """JSON-able values."""
        return {
            "schema": SCHEMA,
            "setup": dict(self.setup),
            "space": self.space,
            "runtime": self.runtime,
            "profile": self.profile.to_dict(),
        }

    def fits(self, space: SearchSpace) -> bool:
        """Whether these are readings of that space, at that height and width; channels and classes matter little."""
        return self.space == space.name and tuple(self.setup["input_shape"][1:]) == tuple(space.input_shape[1:])

    @staticmethod
    def from_dict(record: Mapping[str, Any], where: Path) -> Head:
        """Read it back; raises InputError for another schema."""
        if record.get("schema") != SCHEMA or not {"setup", "space", "runtime", "profile"} <= record.keys():
            raise InputError(f"{where}: these are no readings of `nas profile` that this release can read")
        profile = parse_profile(record["profile"], str(where))
        setup = {**record["setup"], "input_shape": list(map(int, record["setup"]["input_shape"]))}
        return Head(setup, str(record["space"]), str(record["runtime"]), profile)


@dataclass(frozen=True)
class Reading:
    """The reading of a network that counts, and whether the machine was the same meanwhile."""

    row: Measurement
    stable: bool


def folder_of(out: Path, target: Target, space: SearchSpace) -> Path:
    """Where the readings of a target on a space lie; `target.device` is the profile's id."""
    return out / target.device / target.key / slug(space)


def slug(space: SearchSpace) -> str:
    """A file name for a space and its input: `mobile-28x28-1x28x28`."""
    text = f"{space.name}-{'x'.join(map(str, space.input_shape))}"
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in text)


def existing(out: Path, name: str, machine: Mapping[str, str]) -> DeviceProfile | None:
    """The profile of that name in `out`, which is to be of that `machine`; None if there is none.

    Raises InputError for one that is of another machine, or of none.
    """
    path = out / f"{name}.yaml"
    if not path.exists():
        return None
    found = read(path)
    if found.machine is None:
        raise InputError(f"{path} is there already and was not made by `nas profile`; choose another name")
    if problems := differences(found.machine, machine):
        raise InputError(f"{path} was measured on another machine ({'; '.join(problems)}); choose another name")
    return found


def load(folder: Path) -> tuple[Head, tuple[Measurement, ...]]:
    """The head and all readings of a folder; raises InputError for a file that is none of ours."""
    path = folder / READINGS
    records = read_jsonl(path)
    if not records:
        raise InputError(f"{path} is empty; delete {folder} and measure again")
    with understood(path, f"delete {folder} and measure again"):
        head = Head.from_dict(records[0], path)
    return head, read_rows(path, after=1)


def stored(profile_path: Path, target: Target) -> Iterator[tuple[Path, Head]]:
    """The folders with a calibration that `nas profile` left beside a profile for a target, sorted by space."""
    by_id = replace(target, device=profile_path.stem, runtime_version=None)
    for folder in sorted((profile_path.with_suffix("") / by_id.key).glob("*")):
        if (folder / CALIBRATION).is_file():
            head, _ = load(folder)
            if target.runtime_version in (None, head.runtime.split()[-1]):
                yield folder, head


def counting(rows: Sequence[Measurement]) -> tuple[Reading, ...]:
    """Of each network the last reading with the machine as usual, or else simply the last; in order of appearance.

    The machine was as usual if its core was undisturbed, the reading was not refused, and the reference network moved
    neither while it was taken nor from what it took on the whole.
    """
    if not rows:
        return ()
    references = [row.reference_s for row in rows if row.reference_s is not None]
    usual_s = float(np.median(references)) if references else math.nan
    found: dict[str, Reading] = {}
    for row in rows:
        moved = drift(() if row.reference_s is None else (row.reference_s,), usual_s)
        reading = Reading(row, row.steady and moved <= REFERENCE_DRIFT)
        if reading.stable or row.key not in found or not found[row.key].stable:
            found[row.key] = reading
    return tuple(found.values())


def to_fit(readings: Sequence[Reading]) -> tuple[Measurement, ...]:
    """What a model is fitted to: the stable readings, where they are the larger part and FEWEST or more; else all.

    What was refused is what others made of it, and is left out as long as anything was measured.
    """
    stable = tuple(reading.row for reading in readings if reading.stable)
    if 2 * len(stable) > len(readings) and len(stable) >= min(FEWEST, len(readings)):
        return stable
    rows = tuple(reading.row for reading in readings)
    return tuple(row for row in rows if not row.refused) or rows
