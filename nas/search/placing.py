"""Which exits suit a candidate and a budget best? Found by enumeration, where all seconds and scores are known."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb
from typing import Final

import numpy as np
from numpy.typing import NDArray

from latency_models.additive import Additive
from nas.exits.cross_fit import DOUBT
from nas.exits.placement import best_placement, placed_answers
from nas.exits.scores import Scores
from nas.process.machine import computing
from nas.search.evaluation import Evaluation, OnRun
from nas.search.evaluators.base import ScoresEveryExit
from search_spaces.slots import with_exits

#: Placements are tried on all images and once per fold: more subsets take minutes.
_MOST_SUBSETS: Final = 1000


@dataclass(frozen=True)
class Placed:
    """The same backbone as `of` with the best exits for a budget, and which validation images it is right on [n].

    None where exits only cost time. Whether it is right on an image is told by a placement on others.
    """

    of: tuple[int, ...]
    better: tuple[tuple[int, ...], NDArray[np.bool_]] | None


def can_place(evaluation: Evaluation, number: int) -> bool:
    """Whether exits can be placed for a budget.

    Without tables the seconds of single exits are not known, nor their scores where they depend on other exits: those
    that the search found stay.
    """
    experiment = evaluation.context.experiment
    budget = experiment.budgets[number]
    tabled = isinstance(evaluation.problem.tables[experiment.target_of(budget)], Additive)
    scored = isinstance(evaluation.evaluator, ScoresEveryExit) and not experiment.policy.has_history
    return budget.needs_thresholds and tabled and scored


class Placing(OnRun):
    """What an executor is given: places the exits of a genome anew for a budget, that of this number."""

    def __init__(self, evaluation: Evaluation, number: int) -> None:
        super().__init__(evaluation)
        self._number = number

    def __call__(self, of: tuple[int, ...]) -> Placed:
        """What suits a genome."""
        with computing():
            evaluation, genome = self.evaluation, np.array(of)
            evaluator = evaluation.evaluator
            if not isinstance(evaluator, ScoresEveryExit):
                raise AssertionError("exits are placed where every one of them is scored")
            context, problem = evaluation.context, evaluation.problem
            budget, space = context.experiment.budgets[self._number], context.space
            every = with_exits(space, genome, range(len(space.slots)))
            most = len(space.decode(every).exits) - 1
            found = evaluator.every_exit(genome, len(context.data.splits.val))
            legal = np.flatnonzero(~np.isnan(found.confidence[0]))
            body_s, head_s = problem.parts(genome, context.experiment.target_of(budget))
            while sum(comb(len(legal) - 1, size) for size in range(most + 1)) > _MOST_SUBSETS:
                most -= 1
            scores = Scores(found.confidence[:, legal], found.correct[:, legal], evaluation.weights)
            how = body_s[legal], head_s[legal], problem.effective_budget_s(budget), most, DOUBT
            best = best_placement(scores, *how)
            if best is None:
                return Placed(of, None)
            placed = with_exits(space, genome, {int(legal[position]) for position in best.positions})
            return Placed(of, (tuple(placed.tolist()), placed_answers(scores, *how)))
