"""Settle the thresholds of a winner, and write them down: solved on validation data, tightened by measuring.

Under a limit on the worst case nothing leaves early. Writes winners/NAME/thresholds.json.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nas.deploy.thresholds import write
from nas.devices.timing.measuring import measure_stream
from nas.devices.timing.readings import kept
from nas.exits.thresholds import Policies, Policy, expected_upper_s, last_exit
from nas.run.context import Context
from nas.stages.latency import load_model
from nas.stages.train import val_scores
from nas.stages.winners import Winner, winner_folder

#: Of an expected budget, what thresholds may use up: the rest is for exit rates that differ on other images.
_SHARE = 0.97
#: How often thresholds of an expected budget are tightened after a measured mean above it.
_TIGHTENINGS = 3


def exit_seconds(context: Context, winner: Winner) -> NDArray[np.float64]:
    """Seconds to each exit of a winner [exits]: measured, or predicted for a device that is not here."""
    if winner.measurement is not None:
        return np.maximum.accumulate(winner.measurement.reach_s)
    model = load_model(context, context.experiment.target_of(winner.budget))
    return np.asarray(model.predict([context.space.decode(winner.genome)]).reach_s()[0])


def settle_thresholds(context: Context, winner: Winner) -> None:
    """Write down the thresholds of a winner's budget; where it is here, lowered while the measured mean is above it."""
    from nas.stages.verify import load_cascade, plan_of, prepared_samples

    budget, target = winner.budget, context.experiment.target_of(winner.budget)
    folder, allowed_s = winner_folder(context, budget), budget.latency_s
    policy = _solve(context, winner, allowed_s)
    if budget.of == "expected" and context.here(target):
        samples = prepared_samples(context, "val")
        for _ in range(_TIGHTENINGS):
            cascade = load_cascade(folder, target, policy.thresholds)
            readings = measure_stream({"": cascade}, samples, plan_of(context, target))[""]
            if kept(readings, budget.latency_s):
                break
            allowed_s *= min(0.98, budget.latency_s / readings.upper_95_s)
            policy = _solve(context, winner, allowed_s)
    write(folder, winner.trial.key, policy.thresholds)


def _solve(context: Context, winner: Winner, allowed_s: float) -> Policy:
    """The most accurate thresholds on validation data whose expected seconds stay within `allowed_s`.

    For an expected budget the upper bound over other images of the same kind has to stay within it too; where even the
    first exit alone does not, leaving there always is what is nearest.
    """
    found, seconds = val_scores(context, winner), exit_seconds(context, winner)
    if winner.budget.of == "worst_case":
        return last_exit(found.correct, seconds)
    policies = Policies.of(found.confidence, found.correct, seconds)
    limit_s = _SHARE * allowed_s
    for cost_s in policies.expected_s[::-1]:
        policy = policies.best(float(cost_s))
        if policy is not None and expected_upper_s(found.confidence, policy.thresholds, seconds) <= limit_s:
            return policy
    first = policies.best(float(policies.expected_s[0]))
    if first is None:
        raise AssertionError("the cheapest policy costs what it costs")
    return first
