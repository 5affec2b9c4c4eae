"""What are shared weights worth that are still being trained: how good are a large and a small network in the budget?

Two networks stand for all: weights that serve only the largest, or only the smallest, are no good for a search.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from statistics import fmean
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray

from nas.process.machine import breathe
from nas.run.context import Context
from nas.run.rungs import AtRung, Judged
from nas.search.evaluation import Evaluation
from nas.search.evaluators.base import Evaluator, Ranking
from nas.search.evaluators.by_weights import SharedWeights
from nas.search.feasibility import nearest
from nas.search.problem import BudgetProblem, problem_of
from nas.seeds import derive_seed
from nas.supernet.sampling import largest, smallest
from search_spaces.slots import Genomes, random_genomes

#: Genomes among which the largest and the smallest are looked for.
_GENOMES: Final = 128


class RungJudge:
    """Judges a run by the last checkpoint of its shared weights, as its search judges networks."""

    def __init__(self, context: Context) -> None:
        # What models of accuracy know of a network besides is asked when it is searched.
        self._context, self._problem = context, replace(problem_of(context), known=None)

    @cached_property
    def _ends(self) -> tuple[int, Genomes] | None:
        return ends(self._problem)

    def __call__(self) -> AtRung | None:
        """What the run is worth now; None where no network is predicted to keep any budget."""
        if self._ends is None:
            return None
        number, genomes = self._ends
        evaluation = _ByWeights(self._context, self._problem)
        networks = tuple(self._judged(evaluation, number, genome) for genome in genomes)
        value = fmean(network.accuracy for network in networks)
        return AtRung(value, self._problem.experiment.budgets[number].name, networks)

    def _judged(self, evaluation: Evaluation, number: int, genome: NDArray[np.int64]) -> Judged:
        breathe()
        at = evaluation.trial(genome, 0, 0, 1).budgets[number]
        # A network that no thresholds bring within its budget by these weights is worth what a search takes it for.
        accuracy = 0.0 if at is None or at.accuracy is None else at.accuracy
        return Judged(tuple(genome.tolist()), _macs(self._problem, genome), accuracy)


class _ByWeights(Evaluation):
    """By the weights that are trained, whatever the experiment's search judges by."""

    @cached_property
    def evaluator(self) -> Evaluator | Ranking:
        """The judge."""
        return cast(Evaluator, SharedWeights(self.context))


def ends(problem: BudgetProblem) -> tuple[int, Genomes] | None:
    """The number of the tightest budget, and of the genomes in it the one with most multiply-adds and with least.

    The tightest is the one that the fewest of a set of genomes are predicted to keep, of those that any may keep; None
    where there is none. The set is the same for all runs of a space, whatever their seed; where none of it keeps a
    budget, the fastest network found does so in its place.
    """
    space = problem.space
    rng = np.random.default_rng(derive_seed(0, "rungs"))
    genomes = np.concatenate([np.stack([largest(space), smallest(space)]), random_genomes(space, _GENOMES, rng)])
    kept = problem.free_objectives(genomes)[1] == 0
    for number in np.flatnonzero(~kept.any(axis=0)).tolist():
        genome, violation = nearest(problem, number)
        if violation == 0:
            genomes = np.concatenate([genomes, genome[None]])
    kept = problem.free_objectives(genomes)[1] == 0
    possible = np.flatnonzero(kept.any(axis=0))
    if not len(possible):
        return None
    number = int(possible[kept[:, possible].sum(axis=0).argmin()])
    within = sorted(genomes[kept[:, number]].tolist(), key=lambda genome: (_macs(problem, genome), genome))
    return number, np.array(within[-1:] if within[0] == within[-1] else [within[-1], within[0]], np.int64)


def _macs(problem: BudgetProblem, genome: NDArray[np.int64] | list[int]) -> int:
    return problem.space.decode(tuple(int(gene) for gene in genome)).macs
