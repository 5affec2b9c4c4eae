"""Measure a run's winners on a device that its budgets do not name; the verdicts of the run stay as they are."""

from __future__ import annotations

import math
from dataclasses import replace

from hardware_profiles import load as load_profile
from nas.devices.finding import find_device
from nas.errors import InputError
from nas.run.artefacts import require_exported
from nas.run.context import Context
from nas.run.elsewhere import Elsewhere, today, write_elsewhere
from nas.run.winners import Winner, standing
from nas.search.winner_readings import deciding, taken_on


def measure_elsewhere(context: Context, name: str) -> tuple[Elsewhere, ...]:
    """Time every winner on the device of that name, against the budget that it was chosen for.

    Raises InputError where there is no such device within reach, or nothing to measure, and DeviceLost.
    """
    winners, _ = standing(context)
    if not winners:
        raise InputError(f"{context.run.path} has no winners: there is nothing to measure on {name}")
    profile = load_profile(name)
    rows: list[Elsewhere] = []
    for target in context.experiment.targets:
        mine: list[Winner] = [w for w in winners.values() if context.experiment.target_of(w.budget) == target]
        if not mine:
            continue
        for winner in mine:
            require_exported(context, winner)
        device = find_device(replace(target, device=name), profile, context.experiment.plugins)
        if device is None:
            raise InputError(
                f"{name} is neither this machine nor a board that was added: say where it is with `nas devices add "
                f'{name} --at "ssh me@board"`'
            )
        with context.voice.doing(f"measuring the winners on {name}"):
            taken = taken_on(context, device, target, mine)
        for winner in mine:
            budget, found = winner.budget, taken[winner.budget.name]
            measured_s, upper_s, refused = deciding(budget, found)
            over_images = budget.stream_statistic if found.times.stream is not None else ""
            rows.append(
                Elsewhere(
                    device=name,
                    machine=found.conditions.machine,
                    runtime=found.conditions.runtime,
                    date=today(),
                    budget=budget.name,
                    how=budget.how,
                    statistic=over_images or budget.statistic,
                    latency_s=budget.latency_s,
                    measured_s=measured_s,
                    upper_95_s=upper_s if math.isfinite(upper_s) else None,
                    refused=refused,
                )
            )
    write_elsewhere(context.files, name, rows)
    for row in rows:
        context.run.log("measured elsewhere", device=name, budget=row.budget, within=row.within)
    return tuple(rows)
