"""The latency models of a run, one per target, and what is made of them: additive tables, and models refitted."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from hardware_profiles import Target
from latency_models.base import ErrorBar, LatencyModel, LooksUp, SpaceLatency
from latency_models.untabled import Untabled
from nas.devices.measurement import Measurement
from nas.process.files import atomic_write_bytes, understood
from nas.run.context import Context
from search_spaces.slots import SearchSpace

#: The search uses the model as calibrated before it; later measurements correct the choice of winners only.
MODEL_VERSION: Final = 0
#: Least relative error granted to a calibration of another space, and to a model that no device says anything of.
UNMEASURED_SAFETY_MARGIN: Final = 0.25


def model_path(context: Context, target: Target) -> Path:
    """Where the run keeps the latency model of a target; the experiment's own has the short name."""
    return context.files.latency_model(None if target == context.experiment.target else target.key)


def save_model(context: Context, target: Target, model: LatencyModel) -> None:
    """Write the latency model of a target."""
    data = io.BytesIO()
    model.save(data)
    atomic_write_bytes(model_path(context, target), data.getvalue())


def load_model(context: Context, target: Target) -> LatencyModel:
    """The latency model of a target as the search uses it."""
    kind: Any = context.experiment.latency_model.load()
    path = model_path(context, target)
    with understood(path, "delete it, and it is fitted again"):
        model: LatencyModel = kind.load(path)
    return model


def over_space(model: LatencyModel, space: SearchSpace) -> SpaceLatency:
    """What a model says of the networks of a space: by tables, by looking genomes up, or network by network."""
    found: SpaceLatency | None = model.additive(space)
    if found is None and isinstance(model, LooksUp):
        found = model.by_genome(space)
    return Untabled(space, model) if found is None else found


def load_tables(context: Context) -> tuple[dict[Target, SpaceLatency], dict[Target, float]]:
    """Seconds over the space for every target, and the relative error to allow for: of networks left out of the fit.

    Where nothing was measured but the sheet is corrected by what other devices took, its median is what counts: with
    an error of several times that, the least that is certain would fit no budget, and a verdict is not given there.
    """
    tables: dict[Target, SpaceLatency] = {}
    safety_margin = {}
    for target in context.experiment.targets:
        model = load_model(context, target)
        tables[target] = over_space(model, context.space)
        safety_margin[target] = safety_margin_of(model.error)
    return tables, safety_margin


def factors_90(context: Context) -> dict[Target, float]:
    """Of every target that nothing was measured on: the factor that 90 % of its predictions are right within."""
    one = [context.space.decode(context.space.canonical(np.zeros((1, len(context.space.genes)), np.int64))[0])]
    models = {target: load_model(context, target) for target in context.experiment.targets}
    # One factor is in doubt, the same for all networks.
    believed = {target: model.predict(one).believed() for target, model in models.items() if model.error.devices}
    return {target: float(each.quantile_s(0.95)[0] / each.mean_s[0]) for target, each in believed.items()}


def origin(error: ErrorBar) -> str:
    """By what a device is predicted that nothing was measured on, for people."""
    if error.networks:
        return f"{error.networks:,} networks that were measured elsewhere"
    if not error.devices:
        return "its profile"
    others = "that of one other device is" if error.devices == 1 else f"those of {error.devices} other devices are"
    return f"its profile and by how far {others} off"


def safety_margin_of(error: ErrorBar) -> float:
    """The relative error that a budget allows for."""
    if error.networks:
        return error.relative
    return 0.0 if error.devices else UNMEASURED_SAFETY_MARGIN


def refit(context: Context, model: LatencyModel, rows: Sequence[Measurement]) -> LatencyModel:
    """The model after these measurements besides those it has."""
    if not rows:
        return model
    width = max(len(row.exits) for row in rows)
    seconds = np.full((len(rows), width), np.nan)
    for number, row in enumerate(rows):
        seconds[number, : len(row.exits)] = row.cumulative_s
    return model.fit([context.space.decode(row.genome) for row in rows], seconds)
