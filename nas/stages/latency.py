"""Calibrate: get to know each target by measuring a few networks there, before the search believes any latency.

Appends readings to measurements.jsonl and writes the latency model that the search uses. A device that is not this
machine is predicted from its profile alone, and said to be.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware_profiles import Target
from latency_models.additive import Additive
from latency_models.additive import compile as compile_tables
from latency_models.roofline import LinearModel
from search_spaces.slots import random_genomes, sizes

from .. import registry
from ..errors import InputError
from ..measurement import HOST, Measurement, time_networks
from ..run_folder import append_jsonl, atomic_write_bytes, read_jsonl
from .context import Context

MEASUREMENTS = "measurements.jsonl"
#: The search uses the model as calibrated before it; later measurements correct the choice of winners only.
MODEL_VERSION = 0
#: Relative error granted to a model that nothing was measured for: a profile alone is a guess.
_UNMEASURED_CAUTION = 0.25


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
        rows = _calibration_rows(context, target)
        model = refit(context, _uncalibrated(context, target), rows)
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
    model: LinearModel = registry.load(part.reference)(context.profiles[target.device], target, **part.arguments)
    return model


def _calibration_rows(context: Context, target: Target) -> tuple[Measurement, ...]:
    settings = context.experiment.calibration
    if settings.measurements is not None:
        return _borrowed(context, target, Path(settings.measurements))
    if target.device != HOST or settings.networks == 0:
        context.console.print(f"[yellow]{target.key} is predicted from its profile; nothing is measured there.[/]")
        return ()
    known = {row.key for row in read_measurements(context, target, "calibration")}
    wanted = [g for g in _chosen(context, settings.networks) if context.space.decode(g).key not in known]
    if wanted:
        with context.console.status(f"measuring {len(wanted)} networks with {target.runner}"):
            rows = time_networks(context.space, wanted, target, "calibration", context.seed("calibration"))
        append_measurements(context, rows)
    return read_measurements(context, target, "calibration")


def _borrowed(context: Context, target: Target, path: Path) -> tuple[Measurement, ...]:
    """The calibration readings of another run, copied into this one."""
    if not path.is_file():
        raise InputError(f"calibration.measurements: there is no file {str(path)!r}")
    known = {row.key for row in read_measurements(context, target, "calibration")}
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
    append_measurements(context, [row for row in rows if row.key not in known])
    return read_measurements(context, target, "calibration")


def _chosen(context: Context, n: int) -> list[NDArray[np.int64]]:
    """Networks to calibrate with: the smallest, the largest, and random ones, all different."""
    limits = sizes(context.space)
    rng = np.random.default_rng(context.seed("calibration", "networks"))
    corners = context.space.canonical(np.stack([np.zeros_like(limits), limits - 1]))
    drawn = random_genomes(context.space, 8 * n, rng)
    different = dict.fromkeys(map(tuple, np.concatenate((corners, drawn)).tolist()))
    return [np.array(genome) for genome in different][:n]
