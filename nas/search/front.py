"""What a search ends with: the Pareto set, and each budget's candidates, judged again on more images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nas.errors import NothingFits
from nas.run.latency import MODEL_VERSION
from nas.run.trial import Trial
from nas.search.asking import Asking
from nas.search.evaluation import Asked, Evaluation
from nas.search.executors.base import Failure
from nas.search.placing import Placing, can_place
from nas.search.problem import objective_columns
from nas.search.regret import regrets
from nas.search.scoring import scored
from nas.search.shrinkage import ranked
from nas.searchers.pareto import pareto_rank

SCHEMA = 1
#: Trials of what is asked, in that order; one that cannot be judged has failed.
Judged: TypeAlias = Callable[[Sequence[Asked]], Iterator[Trial]]
#: Where genomes do better with other exits at the budget of a number: these, and which images each is right on.
PlacedAnew: TypeAlias = Callable[[Sequence[tuple[int, ...]], int], Iterator[tuple[tuple[int, ...], NDArray[np.bool_]]]]


def front_of(evaluation: Evaluation, trials: list[Trial], judged: Judged, asking: Asking) -> dict[str, Any]:
    """The Pareto set of all trials, and the candidates of each budget `judged` again on every validation image."""
    complete = [trial for trial in trials if trial.status == "complete"]
    if not complete:
        raise NothingFits(f"none of the {len(trials)} networks that were judged keeps a budget")
    context, placed = evaluation.context, partial(_placed, asking, evaluation)
    objectives = context.experiment.search.objectives
    values = np.array([objective_columns(objectives, trial.metrics, trial.budgets) for trial in complete])
    pareto = [trial for trial, rank in zip(complete, pareto_rank(values), strict=True) if rank == 0]
    return {
        "schema": SCHEMA,
        "model_version": MODEL_VERSION,
        "regret": regrets(context, evaluation.problem, evaluation.evaluator, complete),
        "pareto": [asdict(trial) for trial in pareto],
        "budgets": {
            budget.name: [asdict(trial) for trial in _candidates(evaluation, complete, number, judged, placed)]
            for number, budget in enumerate(context.experiment.budgets)
        },
    }


def _candidates(
    evaluation: Evaluation, trials: list[Trial], number: int, judged: Judged, placed: PlacedAnew
) -> list[Trial]:
    """The most accurate networks at one budget, exits placed anew, judged on all validation images; the best first."""
    context = evaluation.context
    wanted = context.experiment.winners.candidates
    features = context.experiment.search.features
    able = ranked(context.space, [t for t in trials if t.budgets[number] is not None], (), number, features)
    images = len(context.data.splits.val)
    searched = [trial.genome for trial in able[:wanted]]
    better = {genome: right for genome, right in placed(searched, number) if genome not in searched}
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
    asking: Asking, evaluation: Evaluation, searched: Sequence[tuple[int, ...]], number: int
) -> Iterator[tuple[tuple[int, ...], NDArray[np.bool_]]]:
    """Where backbones do better with other exits at a budget: these genomes, and which images each is right on."""
    if not can_place(evaluation, number):
        return
    for found in asking(Placing(evaluation, number), searched, lambda placed, genome: placed.of == genome):
        if isinstance(found, Failure):
            evaluation.context.voice.warning(f"the exits of a candidate could not be placed anew: {found.cause}")
        elif found.better is not None:
            yield found.better
