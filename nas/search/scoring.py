"""From the logits of one network at all its exits to what it is worth: accuracy at every budget, and a curve.

Thresholds are solved for each budget, not searched (`exits.thresholds`); they stand in the result. They are solved for
the plain accuracy. Where networks are chosen by the balanced one, that is what each is worth with its thresholds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hardware_profiles import Target
from nas.exits.scores import Scores
from nas.exits.thresholds import Policies, Policy, exit_index, last_exit
from nas.run.trial import AtBudget, Trial
from nas.search.problem import BudgetProblem

Floats = NDArray[np.float64]

#: Points of (share of a network's worst case, expected seconds, accuracy).
Curve: TypeAlias = tuple[tuple[float, float, float], ...]
#: Shares of a network's own worst case at which its curve is looked at.
GRID: Final = (0.4, 0.6, 0.8, 1.0)


def at_budgets(
    problem: BudgetProblem,
    found: Scores,
    cumulative: Mapping[Target, Floats],
    violation: Floats,
    weights: Floats | None = None,
) -> tuple[AtBudget | None, ...]:
    """The network at each budget: thresholds and what they give; None where it cannot keep the budget.

    `cumulative` has the seconds to each of the network's own exits per target [exits], `violation` an entry per budget.
    `weights` [images] say what each image counts, where they do not count the same.
    """
    policies = {target: Policies.of(found.confidence, found.correct, seconds) for target, seconds in cumulative.items()}
    result: list[AtBudget | None] = []
    for budget, amount in zip(problem.experiment.budgets, violation, strict=True):
        target = problem.experiment.target_of(budget)
        policy: Policy | None = None
        if amount == 0:
            if budget.needs_thresholds:
                policy = policies[target].best(problem.effective_budget_s(budget))
            else:
                policy = last_exit(found.correct, cumulative[target])
        if policy is None:
            result.append(None)
            continue
        accuracy = policy.accuracy if weights is None else weighted(found, policy, weights)
        result.append(AtBudget(accuracy, policy.expected_s, policy.thresholds, policy.rates))
    return tuple(result)


def weighted(found: Scores, policy: Policy, weights: Floats) -> float:
    """The accuracy under a policy where images count as `weights` [images] say, which are 1 in all."""
    leaving = exit_index(policy.thresholds, found.confidence)
    return float(weights @ found.correct[np.arange(len(leaving)), leaving])


def metrics(
    found: Scores, seconds: Floats, counts: Mapping[str, float], weights: Floats
) -> tuple[dict[str, float], Curve]:
    """Figures of one network, and its curve.

    `seconds` are those to each exit on the experiment's target; `counts` are static costs, passed through. `weights`
    [images] say what each image counts in the balanced accuracy.
    """
    policies = Policies.of(found.confidence, found.correct, seconds)
    free = policies.best(np.inf)
    if free is None:
        raise AssertionError("every network keeps an infinite budget")
    figures = {
        **counts,
        "accuracy": free.accuracy,
        "balanced_accuracy": weighted(found, free, weights),
        "final_accuracy": float(found.correct[:, -1].mean()),
        "expected_latency_s": free.expected_s,
        "worst_case_latency_s": float(seconds[-1]),
        "exits": float(len(seconds)),
    }
    points = [(fraction, policies.best(fraction * float(seconds[-1]))) for fraction in GRID]
    return figures, tuple((fraction, best.expected_s, best.accuracy) for fraction, best in points if best)


def with_accuracy(trial: Trial, accuracy: float) -> Trial:
    """A trial of a network with one exit whose accuracy is known, instead of estimated on images.

    How that is spread over the classes is not.
    """
    metrics = {name: value for name, value in trial.metrics.items() if name != "balanced_accuracy"}
    return replace(
        trial,
        metrics={**metrics, "accuracy": accuracy, "final_accuracy": accuracy},
        budgets=tuple(None if at is None else replace(at, accuracy=accuracy) for at in trial.budgets),
        curve=tuple((fraction, seconds, accuracy) for fraction, seconds, _ in trial.curve),
    )
