"""What a network is worth at a percentile, whether it may keep one, and what a candidate's reading says of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from latency_models.tail import Tail
from nas.config.budget import Budget, BudgetOf
from nas.exits.scores import Scores
from nas.search import scoring
from nas.search.percentiles import may_run_on
from nas.search.problem import BudgetProblem, problem_of
from tests.nas.opened_runs import HERE, opened

#: Predicted seconds of calls in a row to two exits; the percentile lies twice as high.
SECONDS, TAIL = np.array([1e-3, 4e-3]), Tail(2.0, 0.1)
N = 400


@contextmanager
def asked(run: Path, of: BudgetOf, limit_s: float) -> Iterator[BudgetProblem]:
    """The problem of a run whose budget is of that kind."""
    with opened(run) as context:
        problem = problem_of(context)
        budget = Budget(limit_s, of, "late")
        verify = replace(problem.experiment.verify, samples=1000)
        experiment = replace(problem.experiment, budgets=(budget,), verify=verify)
        yield replace(problem, experiment=experiment, tails={"late": TAIL}, safety_margin={HERE: 0.0})


def found() -> Scores:
    """The first exit is right where it is sure, and the last one always."""
    sure = np.linspace(0, 1, N)
    return Scores(np.stack([sure, sure], axis=1), np.stack([sure > 0.5, np.ones(N, bool)], axis=1))


@pytest.mark.parametrize(
    ("of", "limit_s", "violation", "decides_s", "run_on"),
    [
        ("p95", 1.9e-3, True, None, None),
        ("p95", 2.1e-3, False, 1e-3, "few"),
        ("p99", 2.1e-3, False, 1e-3, "none"),
        ("p99", 7.9e-3, False, 1e-3, "none"),
        ("p99", 8.1e-3, False, 4e-3, "all"),
    ],
)
def test_a_network_is_worth_what_it_answers_within_the_limit(
    run: Path, of: BudgetOf, limit_s: float, violation: bool, decides_s: float | None, run_on: str | None
) -> None:
    with asked(run, of, limit_s) as problem:
        amount = problem.violation({HERE: SECONDS[None]})[0]
        assert (amount > 0).all() == violation
        (at,) = scoring.at_budgets(problem, found(), scoring.solved(found(), {HERE: SECONDS}), amount)
        if decides_s is None:
            assert at is None
            return
        most = may_run_on(problem.experiment.budgets[0], N, problem.experiment.verify.samples)
        assert (most > 0) == (of == "p95")
        expected = {"few": most, "none": 0, "all": N}[run_on or ""]
        assert at is not None and at.latency_s == decides_s
        assert at.rates[1] * N == pytest.approx(expected) and at.accuracy == pytest.approx(
            (N / 2 + min(expected, N / 2)) / N
        )
        assert at.answers().sum() == round((at.accuracy or 0) * N)


@pytest.mark.parametrize("without", ["answers", "one call each"])
def test_where_nobody_leaves_early_the_last_exit_decides(run: Path, without: str) -> None:
    """By a score without answers, and in calls of several samples, as in the worst case."""
    with asked(run, "p95", 2.1e-3) as problem:
        experiment = problem.experiment
        if without == "answers":
            search = replace(experiment.search, evaluator=replace(experiment.search.evaluator, name="zero_cost"))
            changed = replace(experiment, search=replace(search, objectives=("score", "worst_case_latency")))
            target = HERE
        else:
            target = replace(HERE, batch=2)
            changed = replace(experiment, target=target)
        changed_problem = replace(problem, experiment=changed, safety_margin={target: 0.0})
        assert not changed_problem.leaves_early(experiment.budgets[0])
        assert changed_problem.violation({target: SECONDS[None]})[0, 0] == pytest.approx(8e-3 / 2.1e-3 - 1)
        assert problem.violation({HERE: SECONDS[None]})[0, 0] == 0


def test_only_a_percentile_lets_a_few_run_on() -> None:
    with pytest.raises(ValueError, match="about no percentile"):
        may_run_on(Budget(1e-3, name="worst"), 300, 300)
    assert may_run_on(Budget(8e-3, "p95"), 1000, 1000) > may_run_on(Budget(8e-3, "p99"), 1000, 1000) == 0
