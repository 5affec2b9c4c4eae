"""What a network is worth at each budget, from its exits' answers and seconds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from nas.exits.scores import Scores
from nas.run.trial import AtBudget
from nas.run.winners import standing, val_scores
from nas.search import scoring
from nas.search.evaluation import Evaluation
from nas.search.problem import problem_of
from nas.tasks.image_classification.balance import class_weights
from tests.nas.opened_runs import HERE, opened


def test_a_network_at_a_budget_that_it_cannot_keep_is_nothing(run: Path) -> None:
    with opened(run) as context:
        problem = problem_of(context)
        pattern = np.array([[0.9, 0.8], [0.4, 0.7]]), np.array([[True, False], [False, True]])
        # Of 40 images 5 decide each fold's thresholds too.
        found = Scores(*(np.tile(half, (20, 1)) for half in pattern))
        reach = scoring.solved(found, {HERE: np.array([1e-5, 3e-5])})
        worst, mean = scoring.at_budgets(problem, found, reach, np.array([0.5, 0.0]))
        assert worst is None and mean is not None
        assert mean.accuracy == 1.0 and mean.rates == (0.5, 0.5)
        # Where the worst case counts, leaving early is not paid for with validation images: the last exit answers.
        worst, _ = scoring.at_budgets(problem, found, reach, np.array([0.0, 0.0]))
        assert worst is not None and worst.accuracy == 0.5 and worst.latency_s == 3e-5
        assert worst.thresholds == (np.inf,) and worst.rates == (0.0, 1.0)
        weights = np.tile([0.75, 0.25], 20) / 20
        figures, curve = scoring.metrics(found, reach[HERE], {"params": 3}, weights)
        assert figures["accuracy"] == 1.0 and figures["final_accuracy"] == 0.5 and figures["params"] == 3
        assert figures["worst_case_latency_s"] == 3e-5 and figures["exits"] == 2
        assert [fraction for fraction, _, _ in curve] == [0.4, 0.6, 0.8, 1.0]
        assert curve[0][1] == pytest.approx(1e-5) and curve[0][2] == 0.5 and curve[-1][2] == 1.0
        assert figures["balanced_accuracy"] == pytest.approx(1.0)
        # The same thresholds, rates and seconds, and what the images are worth.
        plain, _ = scoring.at_budgets(problem, found, reach, np.array([0.0, 0.0]))
        worst, mean = scoring.at_budgets(problem, found, reach, np.array([0.0, 0.0]), weights)
        assert worst is not None and plain is not None and worst.accuracy == pytest.approx(0.25)
        assert replace(worst, accuracy=0.5, images=plain.images, right=plain.right) == plain
        assert mean is not None and mean.accuracy == pytest.approx(1.0) and mean.rates == (0.5, 0.5)


def test_a_network_that_finds_none_of_a_rare_class_is_worth_half() -> None:
    labels = np.repeat(np.array([0, 1], np.int32), [98, 2])
    at = AtBudget(0.9, 1.0, (), (1.0,))
    always, finding = (
        scoring.scored(at, answers == labels, class_weights(labels)).accuracy
        for answers in (np.zeros(100), np.repeat([0, 1], [90, 10]))
    )
    assert always == pytest.approx(0.5) and finding == pytest.approx((90 / 98 + 1) / 2)
    assert scoring.scored(at, np.zeros(100) == labels, None).accuracy == 0.98


@pytest.mark.parametrize("objective", ["accuracy", "balanced_accuracy"])
def test_thresholds_are_solved_for_the_accuracy_that_networks_are_chosen_by(
    objective: str, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Scores] = []
    solve = scoring.solved
    monkeypatch.setattr(scoring, "solved", lambda found, seconds: seen.append(found) or solve(found, seconds))
    with opened(run) as context:
        search = replace(context.experiment.search, objectives=(objective, "worst_case_latency"))
        context = replace(context, experiment=replace(context.experiment, search=search))
        winner = standing(context)[0]["mean"]
        trained = val_scores(context, winner)
        evaluation = Evaluation(context, problem_of(context))
        # Put in the place of the one that would be made: what is asked is what becomes of its scores.
        evaluation.__dict__["evaluator"] = SimpleNamespace(
            needs_weights=True,
            scores=lambda genome, images, present: Scores(trained.confidence[:images], trained.correct[:images]),
        )
        evaluation.trial(np.array(winner.genome), 0, 0, 1)
        labels = context.data.labels("val")
        expected = None if objective == "accuracy" else class_weights(labels)
        assert (trained.weights is None) == (seen[0].weights is None) == (expected is None)
        if expected is not None:
            assert trained.weights == pytest.approx(expected)
            assert seen[0].weights == pytest.approx(class_weights(labels[context.order("val")][: search.images]))
