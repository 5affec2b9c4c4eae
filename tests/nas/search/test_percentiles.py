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
from nas.exits.percentiles import largest_counted
from nas.exits.scores import Scores
from nas.search import scoring
from nas.search.percentiles import least_images, may_run_on
from nas.search.problem import BudgetProblem, problem_of, too_few
from search_spaces.toy import toy
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
        yield replace(problem, experiment=experiment, tails={"late": TAIL}, safety_margin={HERE: 0.0}, test_images=1000)


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


@pytest.mark.parametrize("without", ["answers", "one call each", "test images", "samples"])
def test_where_nobody_leaves_early_the_last_exit_decides(run: Path, without: str) -> None:
    """By a score without answers, in calls of several samples, and with too few images, as in the worst case."""
    with asked(run, "p95", 2.1e-3) as problem:
        experiment, images = problem.experiment, 1000
        if without == "answers":
            search = replace(experiment.search, evaluator=replace(experiment.search.evaluator, name="zero_cost"))
            changed = replace(experiment, search=replace(search, objectives=("score", "worst_case_latency")))
            target = HERE
        elif without == "samples":
            changed, target = replace(experiment, verify=replace(experiment.verify, samples=298)), HERE
        elif without == "test images":
            changed, target, images = experiment, HERE, 298
        else:
            target = replace(HERE, batch=2)
            changed = replace(experiment, target=target)
        changed_problem = replace(problem, experiment=changed, safety_margin={target: 0.0}, test_images=images)
        assert not changed_problem.leaves_early(experiment.budgets[0])
        assert changed_problem.violation({target: SECONDS[None]})[0, 0] == pytest.approx(8e-3 / 2.1e-3 - 1)
        assert problem.violation({HERE: SECONDS[None]})[0, 0] == 0


@pytest.mark.parametrize(("of", "least"), [("p95", 299), ("p99", 299), ("worst_case", 0), ("expected", 0)])
def test_with_too_few_images_nobody_leaves_early_and_that_is_said(run: Path, of: BudgetOf, least: int) -> None:
    """As many as it takes to exclude that 1 in 100 runs on."""
    assert least_images(Budget(1e-3, of, "late")) == least
    assert not least or (largest_counted(least, 0.01), largest_counted(least - 1, 0.01)) == (0, -1)
    with asked(run, of, 2.1e-3) as problem:
        for images in (298, 299):
            few = replace(problem, test_images=images)
            told = list(too_few(few))
            assert bool(told) == (images < least)
            assert all(f"late: {images} images" in each and f"{least} are needed" in each for each in told)
            assert problem.leaves_early(problem.experiment.budgets[0]) == (of != "worst_case")
            assert few.leaves_early(problem.experiment.budgets[0]) == (of != "worst_case" and images >= least)
        assert not list(too_few(replace(problem, test_images=9, space=toy((8, 8, 1), 10, max_exits=0))))


def test_only_a_percentile_lets_a_few_run_on() -> None:
    with pytest.raises(ValueError, match="about no percentile"):
        may_run_on(Budget(1e-3, name="worst"), 300, 300)
    assert may_run_on(Budget(8e-3, "p95"), 1000, 1000) > may_run_on(Budget(8e-3, "p99"), 1000, 1000) == 0
