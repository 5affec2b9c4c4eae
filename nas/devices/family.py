"""Relatives of a device: calibrations that `nas profile` left of other devices of its family, found beside profiles.

They say what to expect of the device before it is measured (`latency_models.family`). One that cannot be read is left
out: it would only have helped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar

from hardware_profiles import HOST, DeviceProfile, ProfileError, Target
from hardware_profiles.host import is_here
from hardware_profiles.registry import own_files, read
from latency_models.base import LatencyModel, TakesFamilyPrior
from nas.devices.profile_store import CALIBRATION, load
from search_spaces.slots import SearchSpace

#: So many same-family devices are enough; those measured with the most networks are taken.
MOST: Final = 8
Model = TypeVar("Model", bound=LatencyModel)


@dataclass(frozen=True)
class _Found(Generic[Model]):
    """A model fitted on a same-family device, and whether it was measured on networks of the space."""

    model: Model
    same_space: bool

    def rank(self, target: Target) -> tuple[bool, bool, int]:
        """How near it is to a target, for sorting: the space first, then the threads, then how much was measured."""
        return (self.same_space, self.model.target.threads == target.threads, self.model.error.networks)


def with_family_prior(
    model: LatencyModel, profile: DeviceProfile, space: SearchSpace, search: Sequence[str | Path] | None = None
) -> LatencyModel:
    """The model with the family prior of its device; the same model where there are none or it takes none.

    `search` are folders of profiles, as `hardware_profiles.load` has them.
    """
    if not isinstance(model, TakesFamilyPrior):
        return model
    found = same_family(profile, model.target, type(model), space, search)
    return model.with_family(found) if found else model


def same_family(
    profile: DeviceProfile,
    target: Target,
    kind: type[Model],
    space: SearchSpace,
    search: Sequence[str | Path] | None = None,
) -> tuple[Model, ...]:
    """For each other device of the same kind and family its model of this class that is nearest to the target.

    It has the target's runner, dtype and batch, and one thread where the target has one, else several; among those, one
    of the same space is preferred, then one with as many threads, then the one with the most networks.
    """
    if not _is_a_family(profile.family):
        return ()
    best = []
    for path in sorted(set(own_files(search))):
        try:
            other = read(path)
        except ProfileError:
            continue
        if other.id == profile.id or (other.kind, other.family) != (profile.kind, profile.family):
            continue
        if _same_machine(profile, other):
            continue
        stored = [found for found in _stored(path, kind, space) if found.model.target.device == other.id]
        fitting = [found for found in stored if _fits(found.model, target)]
        best += sorted(fitting, key=lambda found: found.rank(target))[-1:]
    best.sort(key=lambda found: found.rank(target), reverse=True)
    return tuple(found.model for found in best[:MOST])


def _is_a_family(family: str) -> bool:
    """Whether a profile's family says who made the cores: a level of an instruction set has a family in name only."""
    return bool(family) and family != "unknown" and not family.startswith("x86-64")


def _same_machine(profile: DeviceProfile, other: DeviceProfile) -> bool:
    """Whether two profiles are of one machine under two names."""
    if profile.id == HOST:
        return is_here(other)
    return profile.machine is not None and profile.machine == other.machine


def _fits(model: LatencyModel, target: Target) -> bool:
    other = model.target
    alike = (other.runner, other.dtype, other.batch) == (target.runner, target.dtype, target.batch)
    threads = (other.threads == 1) == (target.threads == 1)
    return alike and threads and model.error.networks > 0


def _stored(path: Path, kind: type[Model], space: SearchSpace) -> Iterator[_Found[Model]]:
    """All models of a class that lie beside a profile."""
    for file in sorted(path.with_suffix("").glob(f"*/*/{CALIBRATION}")):
        try:
            head, _ = load(file.parent)
            yield _Found(kind.load(file), head.fits(space))
        except (OSError, ValueError, TypeError, KeyError):  # of another release, model or program
            continue
