"""What a search ends with: the Pareto set, and each budget's candidates, judged again on more images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from math import comb
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latency_models.additive import Additive
from nas.errors import NothingFits
from nas.exits.placement import MOST_SUBSETS, best_placement
from nas.process.machine import computing
from nas.run.context import Context
from nas.run.latency import MODEL_VERSION
from nas.run.trial import Trial
from nas.search.evaluation import Asked, Evaluation
from nas.search.evaluators.base import ScoresEveryExit
from nas.search.problem import BudgetProblem, objective_columns
from nas.search.regret import regrets
from nas.searchers.pareto import pareto_rank
from search_spaces.slots import with_exits

SCHEMA = 1
#: Trials of what is asked, in that order; one that cannot be judged has failed.
Judged: TypeAlias = Callable[[Sequence[Asked]], Iterator[Trial]]


def front_of(
    context: Context, problem: BudgetProblem, evaluation: Evaluation, trials: list[Trial], judged: Judged
) -> dict[str, Any]:
    """The Pareto set of all trials, and the candidates of each budget `judged` again on every validation image."""
    complete = [trial for trial in trials if trial.status == "complete"]
    if not complete:
        raise NothingFits(f"none of the {len(trials)} networks that were judged keeps a budget")
    objectives = context.experiment.search.objectives
    values = np.array([objective_columns(objectives, trial.metrics, trial.budgets) for trial in complete])
    pareto = [trial for trial, rank in zip(complete, pareto_rank(values), strict=True) if rank == 0]
    return {
        "schema": SCHEMA,
        "model_version": MODEL_VERSION,
        "regret": regrets(context, problem, evaluation.evaluator, complete),
        "pareto": [asdict(trial) for trial in pareto],
        "budgets": {
            budget.name: [
                asdict(trial) for trial in _candidates(context, problem, evaluation, complete, number, judged)
            ]
            for number, budget in enumerate(context.experiment.budgets)
        },
    }


def _candidates(
    context: Context, problem: BudgetProblem, evaluation: Evaluation, trials: list[Trial], number: int, judged: Judged
) -> list[Trial]:
    """The most accurate networks at one budget, exits placed anew, judged on all validation images; the best first."""
    wanted = context.experiment.winners.candidates
    able = [trial for trial in trials if trial.budgets[number] is not None]
    able.sort(key=lambda trial: _accuracy_then_speed(trial, number))
    images = len(context.data.splits.val)
    genomes = [np.array(trial.genome) for trial in able[:wanted]]
    genomes += [
        placed for genome in genomes if (placed := _placed(context, problem, evaluation, genome, number)) is not None
    ]
    different = list(dict.fromkeys(tuple(genome.tolist()) for genome in genomes))
    found = list(judged([Asked(genome, number, slot, len(different), images) for slot, genome in enumerate(different)]))
    for trial in found:
        if trial.status == "failed":
            context.voice.warning(f"a candidate could not be judged on all images: {trial.error}")
    found = [trial for trial in found if trial.budgets and trial.budgets[number] is not None]
    return sorted(found, key=lambda trial: _accuracy_then_speed(trial, number))[:wanted]


def _accuracy_then_speed(trial: Trial, number: int) -> tuple[float, float]:
    at = trial.budgets[number]
    if at is None:
        raise AssertionError("only trials that keep the budget are ranked by it")
    return -at.accuracy, at.latency_s


def _placed(
    context: Context, problem: BudgetProblem, evaluation: Evaluation, genome: NDArray[np.int64], number: int
) -> NDArray[np.int64] | None:
    """The same backbone with the best exits for a budget, found by enumeration; None where exits only cost time."""
    budget = context.experiment.budgets[number]
    target = context.experiment.target_of(budget)
    # Without tables the seconds of single exits are not known, nor their scores where they depend on other exits: those
    # that the search found stay.
    tabled = isinstance(problem.tables[target], Additive)
    evaluator = evaluation.evaluator
    if not (budget.needs_thresholds and tabled and isinstance(evaluator, ScoresEveryExit)):
        return None
    if context.experiment.policy.has_history:
        return None
    space = context.space
    every = with_exits(space, genome, range(len(space.slots)))
    most = len(space.decode(every).exits) - 1
    with computing():
        found = evaluator.every_exit(genome, len(context.data.splits.val))
    legal = np.flatnonzero(~np.isnan(found.confidence[0]))
    body_s, head_s = problem.parts(genome, target)
    while sum(comb(len(legal) - 1, size) for size in range(most + 1)) > MOST_SUBSETS:
        most -= 1
    best = best_placement(
        found.confidence[:, legal], found.correct[:, legal], body_s[legal], head_s[legal],
        problem.effective_budget_s(budget), most,
    )  # fmt: skip
    if best is None:
        return None
    return with_exits(space, genome, {int(legal[position]) for position in best.positions})
