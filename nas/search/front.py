"""What a search ends with: the Pareto set, and each budget's candidates, judged again on more images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from math import comb
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latency_models.additive import Additive
from nas.errors import NothingFits
from nas.exits.cross_fit import DOUBT
from nas.exits.placement import best_placement, placed_answers
from nas.exits.scores import Scores
from nas.process.machine import computing
from nas.run.context import Context
from nas.run.latency import MODEL_VERSION
from nas.run.trial import Trial
from nas.search.evaluation import Asked, Evaluation
from nas.search.evaluators.base import ScoresEveryExit
from nas.search.problem import BudgetProblem, objective_columns
from nas.search.regret import regrets
from nas.search.scoring import scored
from nas.search.shrinkage import ranked
from nas.searchers.pareto import pareto_rank
from search_spaces.slots import with_exits

SCHEMA = 1
#: Placements are tried on all images and once per fold: more subsets take minutes.
_MOST_SUBSETS: Final = 1000
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
    features = context.experiment.search.features
    able = ranked(context.space, [t for t in trials if t.budgets[number] is not None], (), number, features)
    images = len(context.data.splits.val)
    searched = [trial.genome for trial in able[:wanted]]
    placed = [_placed(context, problem, evaluation, np.array(genome), number) for genome in searched]
    better = {genome: right for genome, right in filter(None, placed) if genome not in searched}
    different = list(dict.fromkeys([*searched, *better]))
    found = list(judged([Asked(genome, number, slot, len(different), images) for slot, genome in enumerate(different)]))
    for trial in found:
        if trial.status == "failed":
            context.voice.warning(f"a candidate could not be judged on all images: {trial.error}")
    found = [
        _as_placed(trial, better.get(trial.genome), number, evaluation.weights)
        for trial in found
        if trial.budgets and trial.budgets[number] is not None
    ]
    return ranked(context.space, found, trials, number, features)[:wanted]


def _as_placed(
    trial: Trial, right: NDArray[np.bool_] | None, number: int, weights: NDArray[np.float64] | None
) -> Trial:
    """A trial whose answers at a budget are those of exits that were placed on other images, if they were placed."""
    at = trial.budgets[number]
    if right is None or at is None:
        return trial
    known = scored(at, right, weights)
    return replace(trial, budgets=(*trial.budgets[:number], known, *trial.budgets[number + 1 :]))


def _placed(
    context: Context, problem: BudgetProblem, evaluation: Evaluation, genome: NDArray[np.int64], number: int
) -> tuple[tuple[int, ...], NDArray[np.bool_]] | None:
    """The same backbone with the best exits for a budget, found by enumeration, and which images it is right on.

    None where exits only cost time. Whether it is right on an image is told by a placement on others.
    """
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
    while sum(comb(len(legal) - 1, size) for size in range(most + 1)) > _MOST_SUBSETS:
        most -= 1
    scores = Scores(found.confidence[:, legal], found.correct[:, legal], evaluation.weights)
    how = body_s[legal], head_s[legal], problem.effective_budget_s(budget), most, DOUBT
    best = best_placement(scores, *how)
    if best is None:
        return None
    with computing():
        right = placed_answers(scores, *how)
    genome = with_exits(space, genome, {int(legal[position]) for position in best.positions})
    return tuple(genome.tolist()), right
