"""Searches by a score that is no accuracy: it ranks, and nothing calls it an accuracy; and scores as features."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from nas.config.settings import Feature
from nas.config.signatures import configurable
from nas.process.files import read_jsonl
from nas.run.trial import AtBudget, Trial
from nas.search.evaluators.by_zero_cost import ZeroCostScore
from nas.search.problem import objective_columns
from nas.search.shrinkage import LEAST_SCORE_GAIN, estimates, ranked
from nas.zero_cost.scoring import SCORES
from search_spaces.slots import random_genomes
from search_spaces.toy import toy
from tests.nas.small_runs import Command, small, write

SPACE = toy((1, 8, 8), 4, max_exits=0)


def experiment(**changes: Any) -> dict[str, Any]:
    """Nothing is measured; a score judges, another one tells the predictor; winners learn for one epoch."""
    return (
        small(
            target={"device": "rpi4b", "runner": "onnxruntime"},
            budgets=[{"name": "fast", "latency": "200 ms"}],
            search={
                "evaluator": {"name": "zero_cost", "images": 16},
                "objectives": ["score", "worst_case_latency"],
                "searcher": {"name": "predictor", "initial": 6, "candidates": 20},
                "features": ["macs", "naswot"],
                "evaluations": 12,
                "batch": 6,
            },
            winners={"training": "scratch", "epochs": 1, "candidates": 3},
        )
        | changes
    )


@pytest.fixture(scope="module")
def by_score(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a run that ranked by a score, from the search to the report, and what it printed."""
    from nas.cli.main import main

    folder = tmp_path_factory.mktemp("ranking")
    with pytest.MonkeyPatch.context() as patch:
        said: list[str] = []
        patch.setattr("rich.console.Console.print", lambda self, *things, **how: said.extend(map(str, things)))
        assert main(["run", write(folder, experiment()), "--out", str(folder / "run")]) == 3
    return folder / "run", "\n".join(said)


def test_trials_have_a_score_and_no_accuracy(by_score: tuple[Path, str]) -> None:
    run, said = by_score
    lines = [line for line in read_jsonl(run / "trials.jsonl") if line["status"] == "complete"]
    assert len(lines) > 8
    for line in lines:
        assert "score" in line["metrics"] and not [name for name in line["metrics"] if "accuracy" in name]
        assert [at["accuracy"] for at in line["budgets"] if at] == [None] and line["curve"] == []
        assert math.isfinite(line["metrics"]["naswot"])
    front = json.loads((run / "front.json").read_text())
    scores = [trial["metrics"]["score"] for trial in front["budgets"]["fast"]]
    within = [line["metrics"]["score"] for line in lines if line["budgets"][0]]
    assert scores == sorted(within, reverse=True)[:3] and front["regret"] == {}
    assert "Networks are ranked by zero_cost, a score that is no accuracy." in said


def test_winners_are_trained_and_tested_as_ever(by_score: tuple[Path, str]) -> None:
    run, said = by_score
    (winner,) = json.loads((run / "test.json").read_text())["winners"]
    assert 0 < winner["accuracy"]["test_exported"] < 1 and "test accuracy" in said
    assert json.loads((run / "winners/fast/architecture.json").read_text())["search"]["budgets"][0]["accuracy"] is None


def test_the_page_says_that_a_score_is_no_accuracy(by_score: tuple[Path, str]) -> None:
    page = (by_score[0] / "report.html").read_text()
    assert "networks ranked by naswot, a score that is no accuracy" in page
    assert "No network has been judged." not in page and "Pareto set</li>" not in page


def scored(scores: list[float], seconds: list[float] | None = None) -> list[Trial]:
    genomes = random_genomes(SPACE, len(scores), np.random.default_rng(0)).tolist()
    seconds = seconds or [1.0] * len(scores)
    return [
        Trial(0, slot, len(scores), tuple(genomes[slot]), f"k{slot}", "complete", {"score": score},
              budgets=(AtBudget(None, seconds[slot], (), (1.0,)),))
        for slot, score in enumerate(scores)
    ]  # fmt: skip


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e6])
def test_scores_rank_as_they_are_in_whatever_unit(scale: float) -> None:
    scores = [scale * value for value in (-3.0, 5.0, 1.0, 4.999, -90.0, 2.0, 0.0, 7.0, 3.0)]
    found = scored(scores, [9.0, 8.0, 7.0, 1.0, 5.0, 4.0, 3.0, 2.0, 6.0])
    assert [Trial.from_json(trial.to_json()) for trial in found] == found
    assert [trial.slot for trial in ranked(SPACE, found, (), 0)] == np.argsort(-np.array(scores)).tolist()
    told = estimates(SPACE, found, (), 0)
    assert told.accuracy.tolist() == scores and told.equal == 0
    assert told.gain == pytest.approx(LEAST_SCORE_GAIN * np.std(scores))
    columns = [objective_columns(("score",), trial.metrics, trial.budgets)[0] for trial in found]
    assert np.array_equal(np.argsort(columns), np.argsort(-np.array(scores)))
    assert min(columns) > 0 and max(columns) < objective_columns(("score",), found[0].metrics, (None,))[0] == 1


@pytest.mark.parametrize("metrics", [{}, {"score": math.nan}, {"score": math.inf}, {"accuracy": 0.9}])
def test_a_network_without_an_accuracy_needs_a_score(metrics: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="needs a score, and it has none"):
        Trial(0, 0, 1, (0,), "k", "complete", metrics, budgets=(AtBudget(None, 1.0, (), (1.0,)),))


def test_the_names_of_scores_stand_in_two_places_and_are_the_same() -> None:
    assert set(get_args(Feature)) == {*SCORES, "macs"}
    from nas.config.kinds import EVALUATOR

    assert set(get_args(configurable(ZeroCostScore, EVALUATOR, "x")["score"].hint)) == set(SCORES)


@pytest.mark.slow
def test_features_are_noted_and_told_to_the_predictor(
    nas: Command, tmp_path: Path, accuracies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nas.searchers.predictor import Predictor

    widths: list[int] = []
    raw = Predictor._raw_features

    def watched(self: Predictor, genomes: Any) -> Any:
        widths.append(raw(self, genomes).shape[1])
        return raw(self, genomes)

    monkeypatch.setattr(Predictor, "_raw_features", watched)
    tabular = {
        "space": {"name": "nasbench201", "channels": 4, "cells": 1},
        "latency_model": {"name": "table", "column": "raspi4"},
    }
    search = {
        "evaluator": {"name": "table", "accuracies": str(accuracies)},
        "searcher": {"name": "predictor", "initial": 6, "candidates": 20},
        "features": ["macs", "naswot"],
        "evaluations": 10,
        "batch": 5,
    }
    done = nas("search", write(tmp_path, experiment(search=search, **tabular)), "--out", "run")
    assert done.code == 0, done.err
    # Latency and two features; without these where the experiment is only tried out.
    assert set(widths) == {1, 3}
    lines = read_jsonl(tmp_path / "run/trials.jsonl")
    assert all(math.isfinite(line["metrics"]["naswot"]) and line["metrics"]["accuracy"] > 0 for line in lines)


@pytest.mark.parametrize(("names", "code"), [(["naswot", "naswot"], 2), (["zen"], 2)])
def test_features_are_names_of_ours_once_each(nas: Command, tmp_path: Path, names: list[str], code: int) -> None:
    done = nas("check", write(tmp_path, experiment(search={"features": names})))
    assert done.code == code and "search.features" in done.error
