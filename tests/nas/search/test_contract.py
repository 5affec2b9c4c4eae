"""Evaluators and executors of ours keep their laws; what breaks one is told."""

from __future__ import annotations

import importlib.util
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.exits.scores import Scores
from nas.search.evaluators import EVALUATORS
from nas.search.evaluators.by_table import Tabulated
from nas.search.evaluators.by_training import Trained
from nas.search.evaluators.by_weights import SharedWeights
from nas.search.evaluators.by_zero_cost import ZeroCostScore
from nas.search.executors import EXECUTORS, Failure, Serial, attempted
from nas.search.executors.processes import Processes
from nas.search.executors.ray_actors import Ray
from nas.testing import BrokenLaw, Law, laws_of

#: Starting a cluster takes longest.
WITH_RAY = (
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed"),
)


@pytest.mark.parametrize("law", laws_of("evaluator"), ids=str)
@pytest.mark.parametrize(
    "make", [SharedWeights, Tabulated, ZeroCostScore, pytest.param(partial(Trained, epochs=1), marks=pytest.mark.slow)]
)
def test_evaluators(make: Any, law: Law[Any], accuracies: Path) -> None:
    law(partial(Tabulated, accuracies=str(accuracies)) if make is Tabulated else make)


@pytest.mark.parametrize("law", laws_of("executor"), ids=str)
@pytest.mark.parametrize("make", [Serial, partial(Processes, workers=2), pytest.param(Ray, marks=WITH_RAY)])
def test_executors(make: Any, law: Law[Any]) -> None:
    law(make)


def test_all_of_ours_are_tried() -> None:
    assert set(EVALUATORS) == {"supernet", "table", "train", "zero_cost"} and set(EXECUTORS) == {
        "serial",
        "processes",
        "ray",
    }


class Forgetful(SharedWeights):
    """Draws anew each time, and of other exits than the network's."""

    needs_weights = "yes"

    def scores(self, genome: Any, images: int, present: Any) -> Scores:
        found = super().scores(genome, images, present)
        noise = np.random.default_rng().random(found.confidence.shape)
        return Scores(found.confidence + noise, found.correct.astype(float))


class Unsteady:
    """Ranks by how often it was asked."""

    needs_weights = False

    def __init__(self, context: Any) -> None:
        self.asked = 0.0

    def score(self, genomes: Any) -> Any:
        self.asked += 1
        return np.full(len(genomes), self.asked)


class Terse(Unsteady):
    def score(self, genomes: Any) -> Any:
        return np.zeros(1)


class Hasty:
    """Answers backwards, and stops at the first failure."""

    def map(self, task: Any, items: Any) -> Any:
        return [task(item) for item in reversed(items)]

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("kind", "thing", "law", "said"),
    [
        ("evaluator", Forgetful, "it_has_what_a_run_uses", "its class does not say `needs_weights`"),
        ("evaluator", Forgetful, "every_exit_of_a_network_is_scored", "correct is float64"),
        ("evaluator", Forgetful, "equal_questions_have_equal_answers", "asked again it says something else"),
        ("evaluator", Forgetful, "another_one_says_the_same", "made anew it says something else"),
        ("evaluator", Unsteady, "networks_are_ranked_by_finite_numbers", "alone they are"),
        ("evaluator", Unsteady, "equal_questions_have_equal_answers", "asked again it says something else"),
        ("evaluator", Terse, "networks_are_ranked_by_finite_numbers", "2 networks have scores \\(1,\\)"),
        ("executor", Hasty, "answers_come_in_order", "keep the order of the items"),
    ],
)
def test_careless_ones_break_laws(kind: str, thing: Any, law: str, said: str) -> None:
    (found,) = [each for each in laws_of(kind) if each.name == law]
    with pytest.raises(BrokenLaw, match=said):
        found(thing)


def test_a_failure_is_told_in_a_line_and_what_stops_the_program_passes() -> None:
    def task(item: type[BaseException]) -> None:
        raise item("one\ntwo " + "x" * 1000)

    found = attempted(task, MemoryError)
    assert isinstance(found, Failure) and found.cause.startswith("MemoryError: one two xxx") and len(found.cause) == 500
    with pytest.raises(KeyboardInterrupt):
        attempted(task, KeyboardInterrupt)
