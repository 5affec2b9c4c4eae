"""Which two networks weights are judged by while they train, and that it is the search's own judge who does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nas.search.evaluation import Evaluation
from nas.search.problem import BudgetProblem, problem_of
from nas.search.rungs import RungJudge, ends
from tests.nas.opened_runs import opened


def with_budgets(problem: BudgetProblem, *seconds: float) -> BudgetProblem:
    """The problem with budgets of its own, all of the worst case."""
    first = problem.experiment.budgets[0]
    budgets = tuple(replace(first, name=f"budget{number}", latency_s=each) for number, each in enumerate(seconds))
    return replace(problem, experiment=replace(problem.experiment, budgets=budgets))


def macs(problem: BudgetProblem, genome: np.ndarray) -> int:
    return problem.space.decode(genome).macs


def test_the_largest_and_the_smallest_within_the_tightest_budget_are_judged(finished: Path) -> None:
    with opened(finished) as context:
        problem = problem_of(context)
        sizes = problem.sizes
        every = problem.canonical(np.indices(sizes).reshape(len(sizes), -1).T)
        margin = 1 + problem.safety_margin[problem.experiment.target]
        seconds = problem.free_objectives(every)[0][:, 0] * margin
        tight_s = float(np.quantile(seconds, 0.4))
        impossible_s = float(seconds.min()) / 2
        several = with_budgets(problem, 1.0, tight_s, impossible_s, 2 * tight_s)
        found, again = ends(several), ends(replace(several, seed=7))
        assert found is not None and again is not None
        number, genomes = found
        within = every[seconds <= tight_s]
        counts = [macs(problem, genome) for genome in within]
        assert number == 1 and [macs(problem, genome) for genome in genomes] == [max(counts), min(counts)]
        # What a run's own seed draws has no part in it.
        assert np.array_equal(again[1], genomes)
        assert ends(with_budgets(problem, impossible_s)) is None
        only = ends(with_budgets(problem, 1.0, float(seconds.min())))
        assert only is not None and only[0] == 1 and len(only[1]) == 1


def test_the_searchs_own_judge_is_asked(finished: Path) -> None:
    with opened(finished) as context:
        found, problem = RungJudge(context)(), problem_of(context)
        assert found is not None and found.budget in ("worst", "mean") and len(found.networks) == 2
        number = [budget.name for budget in problem.experiment.budgets].index(found.budget)
        evaluation = Evaluation(context, problem)
        for network in found.networks:
            at = evaluation.trial(np.array(network.genome), 0, 0, 1).budgets[number]
            assert at is not None and at.accuracy == network.accuracy
        assert found.value == pytest.approx(sum(network.accuracy for network in found.networks) / 2)
