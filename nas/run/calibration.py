"""What is known of a target before anything is measured: borrowed readings, or what `nas profile` left."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hardware_profiles import HOST, ProfileError, Target
from hardware_profiles.registry import locate
from latency_models.base import LatencyModel, Transferable
from nas.config import registry
from nas.config.plugins import NO_PLUGINS
from nas.config.settings import Experiment
from nas.devices import profile_store
from nas.devices.family import with_family_prior
from nas.devices.measurement import Measurement, read_rows
from nas.errors import InputError
from nas.run.context import Context
from nas.run.latency import UNMEASURED_SAFETY_MARGIN
from search_spaces.slots import SearchSpace, SpaceError


def uncalibrated(context: Context, target: Target) -> LatencyModel:
    """The latency model of a target before any reading, with what devices of its family say."""
    spec, profile = context.experiment.latency_model, context.profiles[target.device]
    bare: LatencyModel = spec.load()(profile, target, **spec.arguments)
    return with_family_prior(bare, profile, context.space)


@dataclass(frozen=True)
class Stored:
    """The calibration that `nas profile` left for a target, as the search would use it, and what to say of it."""

    model: LatencyModel
    statement: str


def stored_calibration(experiment: Experiment, space: SearchSpace, target: Target, here: bool) -> Stored | None:
    """The calibration that `nas profile` left for a target, None if there is none or it is not to be taken.

    It is not where the experiment names readings to use, where it is of another latency model, and where it is of
    another space and the target can be measured anew, being `here`. Elsewhere, one of another space gets the error of a
    guess. Raises InputError for files that cannot be read.
    """
    settings = experiment.calibration
    if settings.measurements is not None or target.device == HOST:
        return None
    try:
        path = locate(target.device)
    except ProfileError:
        return None  # the file is gone since the run began, which holds the profile itself
    kind: Any = experiment.latency_model.load()
    found = [] if path is None else profile_store.stored(path, target)
    read = [(folder, head, _read(kind, folder)) for folder, head in found]
    pairs = [(folder, head, stored) for folder, head, stored in read if stored is not None]
    same = [pair for pair in pairs if pair[1].fits(space)]
    if not pairs or (not same and settings.networks > 0 and here):
        return None
    folder, head, stored = (same or pairs)[0]
    model, said = stored.moved_to(target, 0.0 if same else UNMEASURED_SAFETY_MARGIN), ""
    if not same:
        allowed = model.error.relative
        said = f"; it is of {folder.name} and not of this space, so an error of {allowed:.0%} is allowed for"
    return Stored(model, f"calibration of `nas profile`, {model.error.networks} networks with {head.runtime}{said}")


def _read(kind: type[LatencyModel], folder: Path) -> Transferable | None:
    """The model in a folder of `nas profile`; None where the experiment's is of another kind or cannot be moved."""
    path = folder / profile_store.CALIBRATION
    ours: Any = registry.load(profile_store.MODEL, NO_PLUGINS)
    try:
        stored: LatencyModel = ours.load(path)
    except ValueError as error:
        raise InputError(f"{error}; delete it and give the command `nas profile` again") from error
    return stored if type(stored) is kind and isinstance(stored, Transferable) else None


def borrowed_readings(experiment: Experiment, space: SearchSpace, target: Target) -> tuple[Measurement, ...] | None:
    """The calibration readings of another run on a target, None where the experiment names none.

    Raises InputError for a file that has none, or readings of another space.
    """
    if experiment.calibration.measurements is None:
        return None
    path = Path(experiment.calibration.measurements)
    if not path.is_file():
        raise InputError(f"calibration.measurements: there is no file {str(path)!r}")
    rows = [row for row in read_rows(path) if row.target == target.key and row.purpose == "calibration"]
    if not rows:
        raise InputError(f"calibration.measurements: {path} has no calibration readings of {target.key}")
    for row in rows:
        try:
            network = space.decode(row.genome)
        except SpaceError as error:
            raise InputError(f"calibration.measurements: {path}: {error}") from error
        if network.key != row.key:
            raise InputError(
                f"calibration.measurements: {path} is of another search space than {space.name}; "
                "latencies do not carry over, measure on this one"
            )
        seconds = row.cumulative_s
        if len(seconds) != len(network.exits) or not (np.isfinite(seconds) & (seconds > 0)).all():
            raise InputError(
                f"calibration.measurements: {path} has the seconds {seconds.tolist()} of a network with "
                f"{len(network.exits)} exits, and each takes a positive number; restore the file, or measure again"
            )
    return tuple(rows)
