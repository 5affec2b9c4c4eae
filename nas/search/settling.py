"""Thresholds of the exported winners: solved on validation images, and lowered while the measured mean is too long."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from nas.deploy import thresholds
from nas.deploy.artefact import Artefact
from nas.devices.base import Wanted
from nas.devices.measurement import Purpose
from nas.devices.timing.plan import single_plan
from nas.exits.cross_fit import DOUBT, cross_fitted
from nas.exits.scores import Scores
from nas.exits.thresholds import Policy, last_exit, within_on_others
from nas.run.artefacts import plan_of, prepared_samples, shipped
from nas.run.context import Context
from nas.run.latency import load_model
from nas.run.winners import Winner, files_of, val_scores

#: Of an expected budget, what thresholds may use up: the rest is for exit rates that differ on other images.
_SHARE = 0.97
#: How often thresholds of an expected budget are tightened after a measured mean above it.
_TIGHTENINGS = 3


def settle_thresholds(context: Context, winner: Winner) -> float:
    """Write down the thresholds of a winner's budget; where it is here, lowered while the measured mean is above it.

    Returns the seconds that they were solved for in the end.
    """
    budget, target = winner.budget, context.experiment.target_of(winner.budget)
    device, folder, allowed_s = context.device(target), files_of(context, winner).root, budget.latency_s
    solve = partial(_solve, context, winner)
    policy = solve(allowed_s)
    if budget.needs_thresholds and device is not None:
        samples = prepared_samples(context, "val")
        for _ in range(_TIGHTENINGS):
            artefact = shipped(context, winner, target, policy.thresholds)
            with device.open({budget.name: artefact}) as session:
                times = session.time([wanted_of(winner, artefact, None)], samples, plan_of(context, target))
            taken = times[budget.name].stream
            if taken is None or taken.refused or taken.upper_95_s <= budget.latency_s:
                break
            allowed_s *= min(0.98, budget.latency_s / taken.upper_95_s)
            policy = solve(allowed_s)
    thresholds.write(folder, winner.trial.key, policy.thresholds)
    return allowed_s


def _solve(context: Context, winner: Winner, allowed_s: float) -> Policy:
    """The most accurate thresholds on validation data for a mean of `allowed_s`; the last exit's in the worst case."""
    return _solved(winner, val_scores(context, winner), exit_seconds(context, winner), allowed_s)


def _solved(winner: Winner, found: Scores, seconds: NDArray[np.float64], allowed_s: float) -> Policy:
    if not winner.budget.needs_thresholds:
        return last_exit(found.correct, seconds)
    return within_on_others(found, seconds, _SHARE * allowed_s, DOUBT)


def val_accuracy_of(winner: Winner, found: Scores, seconds: NDArray[np.float64], allowed_s: float) -> float:
    """The accuracy on validation images, each of them judged by thresholds that were solved for as much on others."""
    return float(cross_fitted(found, lambda part: _solved(winner, part, seconds, allowed_s)).mean())


def exit_seconds(context: Context, winner: Winner) -> NDArray[np.float64]:
    """Seconds to each exit of a winner [exits]: measured, or predicted for a device that is not here."""
    if winner.measurement is not None:
        return np.maximum.accumulate(winner.measurement.cumulative_s)
    model = load_model(context, context.experiment.target_of(winner.budget))
    return np.asarray(model.predict([context.space.decode(winner.genome)]).cumulative_s()[0])


def wanted_of(winner: Winner, artefact: Artefact, purpose: Purpose | None) -> Wanted:
    """What a session is to time of a winner: every exit, a stream of images where a mean counts, and single calls.

    Single calls are taken of what is verified only; thousands where they decide, else some for the report.
    """
    exits, budget = len(artefact.segments), winner.budget
    single = None if purpose is None else single_plan(budget.percentile, budget.every_s)
    return Wanted(budget.name, winner.trial.genome, exits, purpose, budget.needs_thresholds, single)
