"""From the logits of one network at all its exits to what it is worth: accuracy at every budget, and a curve.

Thresholds are solved for each budget, not searched (`exits.thresholds`); they stand in the result. What they are worth
is estimated on images that they were not solved on (`exits.cross_fit`). They are solved for the accuracy that networks
are chosen by, plain or balanced: `Scores.weights`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hardware_profiles import Target
from latency_models.tail import NO_TAIL
from nas.config.budget import Budget
from nas.exits.cross_fit import CrossFitted
from nas.exits.percentiles import within_percentile
from nas.exits.scores import Scores
from nas.exits.thresholds import Policy, exit_index, last_exit
from nas.run.trial import AtBudget, Trial, packed
from nas.search.percentiles import may_run_on
from nas.search.problem import BudgetProblem

Floats = NDArray[np.float64]

#: Points of (share of a network's worst case, expected seconds, accuracy).
Curve: TypeAlias = tuple[tuple[float, float, float], ...]
#: Shares of a network's own worst case at which its curve is looked at.
GRID: Final = (0.4, 0.6, 0.8, 1.0)


def solved(found: Scores, cumulative: Mapping[Target, Floats]) -> dict[Target, CrossFitted]:
    """Thresholds of one network for all limits per target; `cumulative` has the seconds to each own exit [exits]."""
    return {target: CrossFitted.of(found, seconds) for target, seconds in cumulative.items()}


def at_budgets(
    problem: BudgetProblem,
    found: Scores,
    thresholds: Mapping[Target, CrossFitted],
    violation: Floats,
    weights: Floats | None = None,
) -> tuple[AtBudget | None, ...]:
    """The network at each budget: thresholds and what they give; None where it cannot keep the budget.

    `thresholds` are those that `solved` found, `violation` has an entry per budget. `weights` [images] say what each
    image counts, where they do not count the same.
    """
    result: list[AtBudget | None] = []
    for budget, amount in zip(problem.experiment.budgets, violation, strict=True):
        best: tuple[Policy, NDArray[np.bool_]] | None = None
        if amount == 0:
            fitted = thresholds[problem.experiment.target_of(budget)]
            if budget.needs_thresholds:
                best = fitted.best(problem.effective_budget_s(budget))
            elif problem.leaves_early(budget):
                best = _at_percentile(problem, budget, found, fitted.cumulative_s)
            else:
                best = last_exit(found.correct, fitted.cumulative_s), found.correct[:, -1]
        result.append(None if best is None else _at_budget(*best, weights))
    return tuple(result)


def _at_percentile(
    problem: BudgetProblem, budget: Budget, found: Scores, cumulative_s: Floats
) -> tuple[Policy, NDArray[np.bool_]]:
    """The policy for a percentile of single calls, and which images are answered rightly; no answer was looked at.

    Its seconds are those to the exit that decides.
    """
    most = may_run_on(budget, len(found.correct), problem.images)
    policy = within_percentile(found, cumulative_s, problem.effective_budget_s(budget), most)
    leaving = exit_index(policy.thresholds, found.confidence)
    deciding_s = float(budget.seconds(cumulative_s, policy.rates, NO_TAIL))
    return replace(policy, expected_s=deciding_s), found.correct[np.arange(len(leaving)), leaving]


def at_last_exit(
    problem: BudgetProblem, cumulative: Mapping[Target, Floats], violation: Floats
) -> tuple[AtBudget | None, ...]:
    """A network that was ranked without answers at each budget: all samples run to its last exit.

    `cumulative` has the seconds to each own exit [exits], `violation` an entry per budget. No accuracy is known.
    """
    result: list[AtBudget | None] = []
    for budget, amount in zip(problem.experiment.budgets, violation, strict=True):
        seconds = cumulative[problem.experiment.target_of(budget)]
        never = (np.inf,) * (len(seconds) - 1)
        rates = (0.0,) * (len(seconds) - 1) + (1.0,)
        result.append(AtBudget(None, float(seconds[-1]), never, rates) if amount == 0 else None)
    return tuple(result)


def _at_budget(policy: Policy, right: NDArray[np.bool_], weights: Floats | None) -> AtBudget:
    return scored(AtBudget(policy.accuracy, policy.expected_s, policy.thresholds, policy.rates), right, weights)


def scored(at: AtBudget, right: NDArray[np.bool_], weights: Floats | None) -> AtBudget:
    """The same by other answers: whether each image [n] is right, and what it counts, all the same where it is None.

    Weighted accuracies have no answers beside them, since their error is not that of a share.
    """
    if weights is not None:
        return replace(at, accuracy=float(weights @ right), images=0, right="")
    return replace(at, accuracy=float(right.mean()), images=len(right), right=packed(right))


def metrics(
    found: Scores, thresholds: CrossFitted, counts: Mapping[str, float], weights: Floats
) -> tuple[dict[str, float], Curve]:
    """Figures of one network, and its curve.

    `thresholds` are those on the experiment's target; `counts` are static costs, passed through. `weights` [images]
    say what each image counts in the balanced accuracy.
    """
    free, worst_s = thresholds.best(np.inf), float(thresholds.cumulative_s[-1])
    if free is None:
        raise AssertionError("every network keeps an infinite budget")
    figures = {
        **counts,
        "accuracy": free[0].accuracy,
        "balanced_accuracy": float(weights @ free[1]),
        "final_accuracy": float(found.correct[:, -1].mean()),
        "expected_latency_s": free[0].expected_s,
        "worst_case_latency_s": worst_s,
        "exits": float(len(thresholds.cumulative_s)),
    }
    points = [(fraction, thresholds.best(fraction * worst_s)) for fraction in GRID]
    return figures, tuple((fraction, best[0].expected_s, best[0].accuracy) for fraction, best in points if best)


def with_accuracy(trial: Trial, accuracy: float) -> Trial:
    """A trial of a network with one exit whose accuracy is known, instead of estimated on images.

    How that is spread over the classes is not.
    """
    metrics = {name: value for name, value in trial.metrics.items() if name != "balanced_accuracy"}
    return replace(
        trial,
        metrics={**metrics, "accuracy": accuracy, "final_accuracy": accuracy},
        budgets=tuple(
            None if at is None else replace(at, accuracy=accuracy, images=0, right="") for at in trial.budgets
        ),
        curve=tuple((fraction, seconds, accuracy) for fraction, seconds, _ in trial.curve),
    )
