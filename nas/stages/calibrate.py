"""Calibrate: get to know each target by measuring a few networks there, before the search believes any latency.

Appends readings to measurements.jsonl and writes the latency model that the search uses. Where `nas profile` has
measured the target already, its calibration is taken. A device that is not within reach and was never measured is
predicted from its profile and from how far those of other devices are off, and said to be. Where a budget is about a
percentile of single calls, a few networks tell how far that lies above calls in a row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from hardware_profiles import Target
from latency_models.base import ErrorBar, LatencyModel, TakesFamilyPrior
from nas.config.budget import Budget
from nas.devices import profile_store
from nas.devices.board.device import Board
from nas.devices.measurement import Measurement
from nas.devices.networks import BLOCKS, BLOCK_S, reference_genomes, time_networks
from nas.devices.timing.plan import SinglePlan
from nas.process.events import Voice
from nas.process.side_by_side import side_by_side
from nas.run.calibration import borrowed_readings, stored_calibration, uncalibrated
from nas.run.context import Context
from nas.run.latency import model_path, origin, refit, save_model
from nas.run.measurements import append_measurements, read_measurements
from nas.run.tails import known

#: How often a network is measured again because the machine was not the same.
_REPEATS = 1
#: Networks whose single calls are timed for a budget, and how many: all in all about half a minute at a duty cycle.
_TAIL_NETWORKS = 3
#: Networks that a board is asked for at a time: what it gave before it was lost is kept.
_AT_A_TIME = 4
#: How often single calls that were refused are timed again, whenever the run goes on.
_TRIES = 3
_SINGLE = SinglePlan(calls=1000, least=20, block_s=4.0, repeats=_REPEATS)


def calibrate(context: Context) -> None:
    """Measure, fit and save one latency model per target; what a killed run measured is not measured again.

    A model that had to do without its device is made anew when the device answers.
    """
    targets = [
        target
        for target in context.experiment.targets
        if not model_path(context, target).exists() or _came_back(context, target)
    ]
    _measure_boards(context, targets)
    for target in targets:
        model = _profiled(context, target)
        if model is None:
            bare = _uncalibrated(context, target)
            model = refit(context, bare, _trusted(context, target, bare.error))
        save_model(context, target, model)
    for budget in context.experiment.budgets:
        if budget.percentile is not None:
            _learn_tail(context, budget)


def _learn_tail(context: Context, budget: Budget) -> None:
    """Time single calls of a few networks as a budget is about them, unless that was done; says if nothing was learned.

    All budgets of one duty cycle learn from the same calls.
    """
    target, networks = context.experiment.target_of(budget), context.experiment.calibration.networks
    device = context.device(target)
    chosen = _chosen(context, min(networks, _TAIL_NETWORKS))
    rows = read_measurements(context, target, "single_calls")
    if device is None or not chosen or _searching(context):
        if not known(budget, rows):
            context.voice.warning(
                f"{budget.name}: no single calls were timed on {target.key}, so a percentile is taken to lie anywhere "
                "above the time of calls in a row"
            )
        return
    mine = [row for row in rows if row.exits[-1].every_s == budget.every_s]
    taken = {row.key for row in mine if not (row.refused or row.exits[-1].single_refused)}
    tries = Counter(row.key for row in mine)
    keys = {context.space.decode(genome).key: genome for genome in chosen}
    missing = [genome for key, genome in keys.items() if key not in taken and tries[key] <= _TRIES]
    if missing:
        with context.voice.doing(f"timing single calls of {len(missing)} networks for {budget.name}"):
            untrained, single = context.untrained(target, "calibration"), replace(_SINGLE, every_s=budget.every_s)
            with untrained.on(device) as timer:
                append_measurements(context, timer.time(missing, "single_calls", single=single))
    if not known(budget, read_measurements(context, target, "single_calls")):
        context.voice.warning(
            f"{budget.name}: the machine was busy while single calls were timed on {target.key}; a percentile is taken "
            "to lie anywhere above the time of calls in a row. End other programs and begin a new run"
        )


def _measure_boards(context: Context, targets: Sequence[Target]) -> None:
    """Take what is missing of readings on different boards side by side: this machine only waits for them."""
    quiet = replace(context, voice=Voice())
    boards: dict[str, list[Target]] = {}
    for target in targets:
        if isinstance(context.device(target), Board) and _profiled(quiet, target) is None:
            boards.setdefault(target.device, []).append(target)
    if len(boards) > 1:
        with context.voice.doing(f"measuring networks on {', '.join(boards)}"):
            side_by_side({name: partial(_measure_all, quiet, each) for name, each in boards.items()})


def _measure_all(context: Context, targets: Sequence[Target]) -> None:
    for target in targets:
        _take_missing(context, target)


def _came_back(context: Context, target: Target) -> bool:
    """Whether the device of a target is within reach again, which was lost before all its readings were taken.

    A search that has begun ends with what it began with: its batches were drawn by that.
    """
    settings = context.experiment.calibration
    if (
        _searching(context)
        or settings.networks == 0
        or settings.measurements is not None
        or context.device(target) is None
    ):
        return False
    if stored_calibration(context.experiment, context.space, target, True) is not None:
        return False
    known = {row.key for row in read_measurements(context, target, "calibration")}
    return any(context.space.decode(genome).key not in known for genome in _chosen(context, settings.networks))


def _searching(context: Context) -> bool:
    """Whether networks were judged already, and more are to be."""
    return context.files.trials.exists() and not context.files.front.exists()


def _uncalibrated(context: Context, target: Target) -> LatencyModel:
    model = uncalibrated(context, target)
    if isinstance(model, TakesFamilyPrior) and (names := model.family):
        context.voice.note(
            f"{target.key}: same-family devices, believed unless readings speak against them: {', '.join(names)}"
        )
    return model


def _profiled(context: Context, target: Target) -> LatencyModel | None:
    """The calibration that `nas profile` left for a target, if it is to be taken, which is said."""
    here = context.device(target) is not None
    found = stored_calibration(context.experiment, context.space, target, here)
    if found is None:
        return None
    context.voice.note(f"{target.key}: {found.statement}")
    return found.model


def _trusted(context: Context, target: Target, known: ErrorBar) -> tuple[Measurement, ...]:
    """The readings to calibrate with, one of each network; says which are left out because they are unstable.

    `known` is what the model knows before: networks may have been measured, as in a table.
    """
    readings = profile_store.counting(_calibration_rows(context, target, known))
    rows = profile_store.to_fit(readings)
    if unstable := sum(not reading.stable for reading in readings):
        left = "these are left out"
        if len(rows) > len(readings) - unstable:
            left = "too few others remain, and predictions will be poor"
        context.voice.warning(
            f"{target.key}: while {unstable} of {len(readings)} networks were measured, {_why(readings)}; {left}."
        )
    return rows


def _calibration_rows(context: Context, target: Target, known: ErrorBar) -> tuple[Measurement, ...]:
    """All calibration readings on a target, after those that are missing were taken."""
    settings = context.experiment.calibration
    borrowed = borrowed_readings(context.experiment, context.space, target)
    if borrowed is not None:
        return _copied(context, target, borrowed)
    device = context.device(target)
    if device is None or settings.networks == 0:
        context.voice.warning(f"{target.key} is predicted by {origin(known)}; nothing is measured there.")
        return ()
    _take_missing(context, target)
    return read_measurements(context, target, "calibration")


def _take_missing(context: Context, target: Target) -> None:
    """Take the readings of networks that have none, and of those whose readings are unstable."""
    device, settings = context.device(target), context.experiment.calibration
    if device is None or settings.networks == 0 or settings.measurements is not None:
        return
    untrained = context.untrained(target, "calibration")
    chosen = _chosen(context, settings.networks)
    while wanted := _wanted(context, chosen, read_measurements(context, target, "calibration")):
        with context.voice.doing(f"measuring {len(wanted)} networks with {target.runner}"):
            some = wanted[:_AT_A_TIME] if isinstance(device, Board) else wanted
            rows = time_networks(device, untrained, some, "calibration", BLOCKS, BLOCK_S)
        append_measurements(context, rows)


def _wanted(
    context: Context, chosen: Sequence[NDArray[np.int64]], rows: Sequence[Measurement]
) -> list[NDArray[np.int64]]:
    """Networks that have no reading; then those whose readings are unstable, until they were repeated."""
    genomes = {context.space.decode(genome).key: genome for genome in chosen}
    tries = {key: sum(row.key == key for row in rows) for key in genomes}
    unstable = {reading.row.key for reading in profile_store.counting(rows) if not reading.stable}
    missing = [genome for key, genome in genomes.items() if not tries[key]]
    return missing or [g for key, g in genomes.items() if key in unstable and tries[key] <= _REPEATS]


def _why(readings: Sequence[profile_store.Reading]) -> str:
    """Why some of these readings are unstable."""
    refused = (reading.row.refused for reading in readings if reading.row.refused)
    return next(refused, "the core was shared or busy, or its clock moved")


def _copied(context: Context, target: Target, borrowed: Sequence[Measurement]) -> tuple[Measurement, ...]:
    """The calibration readings of another run, copied into this one."""
    known = read_measurements(context, target, "calibration")
    rows = list(borrowed)
    for row in known:
        if row in rows:
            rows.remove(row)
    append_measurements(context, rows)
    return read_measurements(context, target, "calibration")


def _chosen(context: Context, n: int) -> list[NDArray[np.int64]]:
    """Networks to calibrate with."""
    return reference_genomes(context.space, n, context.seed("calibration", "networks"))
