"""Calibrate: get to know each target by measuring a few networks there, before the search believes any latency.

Appends readings to measurements.jsonl and writes the latency model that the search uses. Where `nas profile` has
measured the target already, its calibration is taken. A device that is not within reach and was never measured is
predicted from its profile and from how far those of other devices are off, and said to be.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware_profiles import HOST, ProfileError, Target
from hardware_profiles.registry import locate
from latency_models.base import ErrorBar, LatencyModel, TakesFamilyPrior, Transferable
from nas.config import registry
from nas.config.plugins import NO_PLUGINS
from nas.devices import profile_store
from nas.devices.family import with_family_prior
from nas.devices.measurement import Measurement, read_rows
from nas.devices.networks import BLOCKS, BLOCK_S, reference_genomes, time_networks
from nas.errors import InputError
from nas.run.context import Context
from nas.run.latency import UNMEASURED_SAFETY_MARGIN, model_path, origin, refit, save_model
from nas.run.measurements import append_measurements, read_measurements

#: How often a network is measured again because the machine was not the same.
_REPEATS = 1


def calibrate(context: Context) -> None:
    """Measure, fit and save one latency model per target; what a killed run measured is not measured again."""
    for target in context.experiment.targets:
        if model_path(context, target).exists():
            continue
        model = _profiled(context, target)
        if model is None:
            bare = _uncalibrated(context, target)
            model = refit(context, bare, _trusted(context, target, bare.error))
        save_model(context, target, model)


def _uncalibrated(context: Context, target: Target) -> LatencyModel:
    spec = context.experiment.latency_model
    profile = context.profiles[target.device]
    bare: LatencyModel = spec.load()(profile, target, **spec.arguments)
    model = with_family_prior(bare, profile, context.space)
    if isinstance(model, TakesFamilyPrior) and (names := model.family):
        context.voice.note(
            f"{target.key}: same-family devices, believed unless readings speak against them: {', '.join(names)}"
        )
    return model


def _profiled(context: Context, target: Target) -> LatencyModel | None:
    """The calibration that `nas profile` left for a target, None if there is none or it is not to be taken.

    It is not where the experiment names readings to use, where it is of another latency model, and where it is of
    another space and this machine can be measured anew. Elsewhere, one of another space gets the error of a guess.
    """
    settings = context.experiment.calibration
    if settings.measurements is not None or target.device == HOST:
        return None
    try:
        path = locate(target.device)
    except ProfileError:
        return None  # the file is gone since the run began, which holds the profile itself
    kind: Any = context.experiment.latency_model.load()
    found = [] if path is None else profile_store.stored(path, target)
    read = [(folder, head, _read(kind, folder)) for folder, head in found]
    pairs = [(folder, head, stored) for folder, head, stored in read if stored is not None]
    same = [pair for pair in pairs if pair[1].fits(context.space)]
    if not pairs or (not same and settings.networks > 0 and context.device(target) is not None):
        return None
    folder, head, stored = (same or pairs)[0]
    model, said = stored.moved_to(target, 0.0 if same else UNMEASURED_SAFETY_MARGIN), ""
    if not same:
        allowed = model.error.relative
        said = f"; it is of {folder.name} and not of this space, so an error of {allowed:.0%} is allowed for"
    context.voice.note(
        f"{target.key}: calibration of `nas profile`, {model.error.networks} networks with {head.runtime}{said}"
    )
    return model


def _read(kind: type[LatencyModel], folder: Path) -> Transferable | None:
    """The model in a folder of `nas profile`; None where the experiment's is of another kind or cannot be moved."""
    path = folder / profile_store.CALIBRATION
    ours: Any = registry.load(profile_store.MODEL, NO_PLUGINS)
    try:
        stored: LatencyModel = ours.load(path)
    except ValueError as error:
        raise InputError(f"{error}; delete it and give the command `nas profile` again") from error
    return stored if type(stored) is kind and isinstance(stored, Transferable) else None


def _trusted(context: Context, target: Target, known: ErrorBar) -> tuple[Measurement, ...]:
    """The readings to calibrate with, one of each network; says which are left out because they are unstable.

    `known` is what the model knows before: networks may have been measured, as in a table.
    """
    readings = profile_store.counting(_calibration_rows(context, target, known))
    rows = profile_store.to_fit(readings)
    if unstable := sum(not reading.stable for reading in readings):
        left = "these are left out"
        if len(rows) == len(readings):
            left = "too few others remain, and predictions will be poor"
        context.voice.warning(
            f"{target.key}: while {unstable} of {len(readings)} networks were measured, the core was shared or busy, "
            f"or its clock moved; {left}."
        )
    return rows


def _calibration_rows(context: Context, target: Target, known: ErrorBar) -> tuple[Measurement, ...]:
    """All calibration readings on a target, after those that are missing were taken."""
    settings = context.experiment.calibration
    if settings.measurements is not None:
        return _borrowed(context, target, Path(settings.measurements))
    device = context.device(target)
    if device is None or settings.networks == 0:
        context.voice.warning(f"{target.key} is predicted by {origin(known)}; nothing is measured there.")
        return ()
    untrained = context.untrained(target, "calibration")
    chosen = _chosen(context, settings.networks)
    while wanted := _wanted(context, chosen, read_measurements(context, target, "calibration")):
        with context.voice.doing(f"measuring {len(wanted)} networks with {target.runner}"):
            rows = time_networks(device, untrained, wanted, "calibration", BLOCKS, BLOCK_S)
        append_measurements(context, rows)
    return read_measurements(context, target, "calibration")


def _wanted(
    context: Context, chosen: Sequence[NDArray[np.int64]], rows: Sequence[Measurement]
) -> list[NDArray[np.int64]]:
    """Networks that have no reading; then those whose readings are unstable, until they were repeated."""
    genomes = {context.space.decode(genome).key: genome for genome in chosen}
    tries = {key: sum(row.key == key for row in rows) for key in genomes}
    unstable = {reading.row.key for reading in profile_store.counting(rows) if not reading.stable}
    missing = [genome for key, genome in genomes.items() if not tries[key]]
    return missing or [g for key, g in genomes.items() if key in unstable and tries[key] <= _REPEATS]


def _borrowed(context: Context, target: Target, path: Path) -> tuple[Measurement, ...]:
    """The calibration readings of another run, copied into this one."""
    if not path.is_file():
        raise InputError(f"calibration.measurements: there is no file {str(path)!r}")
    known = read_measurements(context, target, "calibration")
    rows = [row for row in read_rows(path) if row.target == target.key and row.purpose == "calibration"]
    if not rows:
        raise InputError(f"calibration.measurements: {path} has no calibration readings of {target.key}")
    for row in rows:
        if context.space.decode(row.genome).key != row.key:
            raise InputError(
                f"calibration.measurements: {path} is of another search space than {context.space.name}; "
                "latencies do not carry over, measure on this one"
            )
    for row in known:
        if row in rows:
            rows.remove(row)
    append_measurements(context, rows)
    return read_measurements(context, target, "calibration")


def _chosen(context: Context, n: int) -> list[NDArray[np.int64]]:
    """Networks to calibrate with."""
    return reference_genomes(context.space, n, context.seed("calibration", "networks"))
