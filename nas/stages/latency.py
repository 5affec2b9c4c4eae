"""Calibrate: get to know each target by measuring a few networks there, before the search believes any latency.

Appends readings to measurements.jsonl and writes the latency model that the search uses. Where `nas profile` has
measured the target already, its calibration is taken. A device that is not this machine and was never measured is
predicted from its profile alone, and said to be.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.markup import escape

from hardware_profiles import ProfileError, Target
from hardware_profiles.registry import locate
from latency_models.additive import Additive
from latency_models.additive import compile as compile_tables
from latency_models.calibration import Calibration
from latency_models.roofline import LinearModel
from nas import registry
from nas.devices import profile_store
from nas.devices.family import with_relatives
from nas.devices.measurement import BLOCKS, BLOCK_S, HOST, Measurement, reference_genomes, time_networks
from nas.errors import InputError
from nas.process.files import append_jsonl, atomic_write_bytes, read_jsonl
from nas.run.context import Context

MEASUREMENTS = "measurements.jsonl"
#: The search uses the model as calibrated before it; later measurements correct the choice of winners only.
MODEL_VERSION = 0
#: Relative error granted to a model that nothing was measured for: a profile alone is a guess.
_UNMEASURED_CAUTION = 0.25
#: How often a network is measured again because the machine was not the same.
_REPEATS = 1


def model_path(context: Context, target: Target) -> Path:
    """Where the run keeps the latency model of a target; the experiment's own has the short name."""
    name = "latency_model.npz" if target == context.experiment.target else f"latency_model-{target.key}.npz"
    return context.path(name)


def calibrate(context: Context) -> None:
    """Measure, fit and save one latency model per target; what a killed run measured is not measured again."""
    for target in context.experiment.targets:
        path = model_path(context, target)
        if path.exists():
            continue
        model = _profiled(context, target)
        if model is None:
            model = refit(context, _uncalibrated(context, target), _trusted(context, target))
        data = io.BytesIO()
        model.save(data)
        atomic_write_bytes(path, data.getvalue())


def load_model(context: Context, target: Target) -> LinearModel:
    """The latency model of a target as the search uses it."""
    kind: Any = registry.load(context.experiment.latency_model.reference)
    model: LinearModel = kind.load(model_path(context, target))
    return model


def load_tables(context: Context) -> tuple[dict[Target, Additive], dict[Target, float]]:
    """Additive tables of every target, and the relative error to allow for: that of networks left out of the fit."""
    tables, caution = {}, {}
    for target in context.experiment.targets:
        model = load_model(context, target)
        tables[target] = compile_tables(context.space, model)
        caution[target] = model.calibration.fit.noise if model.calibration.networks else _UNMEASURED_CAUTION
    return tables, caution


def refit(context: Context, model: LinearModel, rows: Sequence[Measurement]) -> LinearModel:
    """The model after these measurements besides those it has."""
    if not rows:
        return model
    width = max(len(row.exits) for row in rows)
    seconds = np.full((len(rows), width), np.nan)
    for number, row in enumerate(rows):
        seconds[number, : len(row.exits)] = row.reach_s
    return model.fit([context.space.decode(row.genome) for row in rows], seconds)


def read_measurements(context: Context, target: Target, purpose: str | None = None) -> tuple[Measurement, ...]:
    """The run's measurements on a target in order, all or those of one purpose."""
    rows = (Measurement.from_dict(record) for record in read_jsonl(context.path(MEASUREMENTS)))
    return tuple(row for row in rows if row.target == target.key and purpose in (None, row.purpose))


def append_measurements(context: Context, rows: Sequence[Measurement]) -> None:
    """Add measurements to the run's log."""
    append_jsonl(context.path(MEASUREMENTS), [row.to_dict() for row in rows])


def _uncalibrated(context: Context, target: Target) -> LinearModel:
    part = context.experiment.latency_model
    profile = context.profiles[target.device]
    bare: LinearModel = registry.load(part.reference)(profile, target, **part.arguments)
    model = with_relatives(bare, profile, context.space)
    if names := model.calibration.relatives:
        context.console.print(
            f"{target.key}: relatives, heard unless the readings speak against them: {escape(', '.join(names))}"
        )
    return model


def _profiled(context: Context, target: Target) -> LinearModel | None:
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
    kind: Any = registry.load(context.experiment.latency_model.reference)
    found = [] if path is None else profile_store.stored(path, target)
    pairs = [(folder, head, _read(folder / profile_store.CALIBRATION)) for folder, head in found]
    pairs = [(folder, head, stored) for folder, head, stored in pairs if stored.model == kind.name]
    same = [pair for pair in pairs if pair[1].fits(context.space)]
    if not pairs or (not same and context.here(target) and settings.networks > 0):
        return None
    folder, head, stored = (same or pairs)[0]
    fit, said = stored.fit, ""
    if not same:
        fit = replace(fit, noise=max(fit.noise, _UNMEASURED_CAUTION))
        said = f"; it is of {folder.name} and not of this space, so an error of {fit.noise:.0%} is allowed for"
    context.console.print(
        f"{target.key}: calibration of `nas profile`, {stored.networks} networks with {head.runtime}{escape(said)}"
    )
    model: LinearModel = kind(None, target, replace(stored, target=target, fit=fit))
    return model


def _read(path: Path) -> Calibration:
    try:
        return Calibration.load(path)
    except ValueError as error:
        raise InputError(f"{error}; delete it and give the command `nas profile` again") from error


def _trusted(context: Context, target: Target) -> tuple[Measurement, ...]:
    """The readings to calibrate with, one of each network; says which are left out because they are unstable."""
    readings = profile_store.counting(_calibration_rows(context, target))
    rows = profile_store.to_fit(readings)
    if unstable := sum(not reading.stable for reading in readings):
        left = "these are left out"
        if len(rows) == len(readings):
            left = "too few others remain, and predictions will be poor"
        context.console.print(
            f"[yellow]{target.key}: while {unstable} of {len(readings)} networks were measured, the core was shared or "
            f"busy, or its clock moved; {left}.[/]"
        )
    return rows


def _calibration_rows(context: Context, target: Target) -> tuple[Measurement, ...]:
    """All calibration readings on a target, after those that are missing were taken."""
    settings = context.experiment.calibration
    if settings.measurements is not None:
        return _borrowed(context, target, Path(settings.measurements))
    if not context.here(target) or settings.networks == 0:
        context.console.print(f"[yellow]{target.key} is predicted from its profile; nothing is measured there.[/]")
        return ()
    how = (context.seed("calibration"), BLOCKS, BLOCK_S, context.here(target))
    chosen = _chosen(context, settings.networks)
    while wanted := _wanted(context, chosen, read_measurements(context, target, "calibration")):
        with context.console.status(f"measuring {len(wanted)} networks with {target.runner}"):
            rows = time_networks(context.space, wanted, target, "calibration", *how)
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
    rows = [Measurement.from_dict(record) for record in read_jsonl(path)]
    rows = [row for row in rows if row.target == target.key and row.purpose == "calibration"]
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
