"""Relatives of a device: calibrations that `nas profile` left of other devices of its family, found beside profiles.

They say what to expect of the device before it is measured (`latency_models.family`). One that cannot be read is left
out: it would only have helped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hardware_profiles import DeviceProfile, ProfileError, Target
from hardware_profiles.host import is_here
from hardware_profiles.registry import SEARCH, read
from latency_models.calibration import Calibration
from latency_models.family import informed
from latency_models.roofline import LinearModel
from nas.devices.measurement import HOST
from nas.devices.profile_store import CALIBRATION, load
from search_spaces.slots import SearchSpace

#: So many relatives are enough; those measured with the most networks are taken.
MOST: Final = 8


@dataclass(frozen=True)
class _Found:
    """A calibration of a relative, and whether it was measured on networks of the space."""

    calibration: Calibration
    same_space: bool

    def rank(self, target: Target) -> tuple[bool, bool, int]:
        """How near it is to a target, for sorting: the space first, then the threads, then how much was measured."""
        calibration = self.calibration
        return (self.same_space, calibration.target.threads == target.threads, calibration.networks)


def with_relatives(
    model: LinearModel, profile: DeviceProfile, space: SearchSpace, search: Sequence[str | Path] = SEARCH
) -> LinearModel:
    """The model with the prior of its device's relatives; the same model where there are none.

    `search` are folders of profiles, as `hardware_profiles.load` has them.
    """
    found = relatives(profile, model.target, model.calibration.model, space, search)
    if not found:
        return model
    kind = type(model)
    return kind(None, model.target, informed(model.calibration, found))


def relatives(
    profile: DeviceProfile, target: Target, model: str, space: SearchSpace, search: Sequence[str | Path] = SEARCH
) -> tuple[Calibration, ...]:
    """For each other device of the same kind and family its calibration of this latency model nearest to the target.

    It has the target's runner, dtype and batch, and one thread where the target has one, else several; among those, one
    of the same space is preferred, then one with as many threads, then the one with the most networks.
    """
    if not _is_a_family(profile.family):
        return ()
    best = []
    for path in sorted({path for folder in search for path in Path(folder).glob("*.yaml")}):
        try:
            other = read(path)
        except ProfileError:
            continue
        if other.id == profile.id or (other.kind, other.family) != (profile.kind, profile.family):
            continue
        if _same_machine(profile, other):
            continue
        stored = [found for found in _stored(path, space) if found.calibration.target.device == other.id]
        fitting = [found for found in stored if _fits(found.calibration, target, model)]
        best += sorted(fitting, key=lambda found: found.rank(target))[-1:]
    best.sort(key=lambda found: found.rank(target), reverse=True)
    return tuple(found.calibration for found in best[:MOST])


def _is_a_family(family: str) -> bool:
    """Whether a profile's family says who made the cores: a level of an instruction set has relatives in name only."""
    return bool(family) and family != "unknown" and not family.startswith("x86-64")


def _same_machine(profile: DeviceProfile, other: DeviceProfile) -> bool:
    """Whether two profiles are of one machine under two names."""
    if profile.id == HOST:
        return is_here(other)
    return profile.machine is not None and profile.machine == other.machine


def _fits(calibration: Calibration, target: Target, model: str) -> bool:
    other = calibration.target
    alike = (other.runner, other.dtype, other.batch) == (target.runner, target.dtype, target.batch)
    threads = (other.threads == 1) == (target.threads == 1)
    return alike and threads and calibration.model == model and calibration.networks > 0


def _stored(path: Path, space: SearchSpace) -> Iterator[_Found]:
    """All calibrations that lie beside a profile."""
    for file in sorted(path.with_suffix("").glob(f"*/*/{CALIBRATION}")):
        try:
            head, _ = load(file.parent)
            yield _Found(Calibration.load(file), head.fits(space))
        except (OSError, ValueError, TypeError, KeyError):  # of another release, or of another program
            continue
