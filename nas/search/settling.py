"""Thresholds of the exported winners: solved on validation images, and anew while what is measured takes too long."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from nas.config.budget import Budget
from nas.deploy import thresholds
from nas.deploy.artefact import Artefact
from nas.devices.base import Device, Wanted
from nas.devices.measurement import ExitTime, Purpose
from nas.devices.timing.plan import single_plan
from nas.exits.cross_fit import DOUBT, cross_fitted
from nas.exits.percentiles import within_percentile
from nas.exits.scores import Scores
from nas.exits.thresholds import Policy, last_exit, within_on_others
from nas.run.artefacts import plan_of, prepared_samples, shipped
from nas.run.context import Context
from nas.run.latency import load_model
from nas.run.tails import tail_of
from nas.run.verdict_files import load_verdicts
from nas.run.winners import Winner, files_of, val_scores
from nas.search.percentiles import may_run_on, streamed, verified_on
from nas.tolerances import KEPT_BLOCKS

#: Of an expected budget, what thresholds may use up: the rest is for exit rates that differ on other images.
_SHARE = 0.97
#: How often thresholds are solved anew after a measurement on validation images above the budget.
_TIGHTENINGS = 3


def settle_thresholds(context: Context, winner: Winner) -> float:
    """Write down the thresholds of a winner's budget; where it is here, solved anew while what it takes is above it.

    Returns the seconds that they were solved for in the end.
    """
    budget, target = winner.budget, context.experiment.target_of(winner.budget)
    device, allowed_s = context.device(target), budget.latency_s
    if budget.percentile is not None and leaves(context, winner):
        policy, allowed_s = _settled_percentile(context, winner, device)
    else:
        solve = partial(_solve, context, winner)
        policy = solve(allowed_s)
        if budget.needs_thresholds and device is not None:
            for _ in range(_TIGHTENINGS):
                taken = _measured(context, winner, device, policy)
                if taken is None or taken.refused or taken.upper_95_s <= budget.latency_s:
                    break
                allowed_s *= min(0.98, budget.latency_s / taken.upper_95_s)
                policy = solve(allowed_s)
    thresholds.write(files_of(context, winner).root, winner.trial.key, policy.thresholds)
    return allowed_s


def _settled_percentile(context: Context, winner: Winner, device: Device | None) -> tuple[Policy, float]:
    """The policy for a percentile, and the seconds it was solved for.

    What is measured above the budget lets nobody run on beyond the exit that decides, or else makes it an earlier one.
    """
    budget, tail = winner.budget, tail_of(context, winner.budget, "bound")
    found, seconds = val_scores(context, winner), exit_seconds(context, winner)
    allowed_s, most = budget.latency_s, may_run_on(budget, len(found.correct), verified_on(context))
    policy = within_percentile(found, seconds, allowed_s / tail.ratio, most)
    for _ in range(_TIGHTENINGS):
        if device is None:
            break
        taken = _measured(context, winner, device, policy)
        if taken is None or taken.single_refused or _bound_s(budget, taken) <= budget.latency_s:
            break
        decides, before = int(budget.deciding_exit(policy.rates)), policy
        if sum(policy.rates[decides + 1 :]) > 0:
            most = 0
        else:
            # It took so much longer than was allowed: another exit has to be as much earlier.
            took = float(budget.seconds(seconds, policy.rates, tail)) / _bound_s(budget, taken)
            allowed_s = budget.latency_s * took
        policy = within_percentile(found, seconds, allowed_s / tail.ratio, most)
        if policy.thresholds == before.thresholds:
            break
    return policy, allowed_s


def _measured(context: Context, winner: Winner, device: Device, policy: Policy) -> ExitTime | None:
    """What samples of the validation part take that leave by a policy; None where the device takes no stream."""
    target, name = context.experiment.target_of(winner.budget), winner.budget.name
    artefact = shipped(context, winner, target, policy.thresholds)
    with device.open({name: artefact}) as session:
        wanted = [wanted_of(context, winner, artefact, None)]
        return session.time(wanted, prepared_samples(context, "val"), plan_of(context, target))[name].stream


def _bound_s(budget: Budget, taken: ExitTime) -> float:
    return taken.percentile(budget.percentile or 0.0)[1]


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


def leaves(context: Context, winner: Winner) -> bool:
    """Whether what a budget bounds is measured over a stream of images, which leave where thresholds let them."""
    budget = winner.budget
    several = budget.needs_thresholds or len(context.space.decode(winner.genome).exits) > 1
    return several and streamed(context.experiment, budget, verified_on(context))


def wanted_of(context: Context, winner: Winner, artefact: Artefact, purpose: Purpose | None) -> Wanted:
    """What a session is to time of a winner: every exit, a stream of images where a mean counts, and single calls.

    Single calls are taken of what is verified; thousands where they decide, else some for the report. Where they decide
    and images leave early, they are over a stream of images that are drawn, anew each time that winners are measured,
    and some are taken of what is being settled too.
    """
    exits, budget = len(artefact.segments), winner.budget
    single = single_plan(budget.percentile, budget.every_s)
    drawn = budget.percentile is not None and leaves(context, winner)
    if drawn:
        looks = load_verdicts(context.files).looks
        single = replace(single, seed=context.seed("verify", "stream", winner.trial.key, looks))
    if purpose is None:
        few = replace(single, blocks=min(single.blocks, KEPT_BLOCKS), repeats=min(single.repeats, 1))
        return Wanted(budget.name, winner.trial.genome, exits, None, budget.needs_thresholds, few if drawn else None)
    return Wanted(budget.name, winner.trial.genome, exits, purpose, budget.needs_thresholds, single)
