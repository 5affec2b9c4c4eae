"""Architecture and weights in turns: what the supernet stage leaves, what is derived from it, what a kill changes."""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from nas.optimisers.turns import RATES, Turns
from nas.process.events import Event, Voice
from nas.run.layout import EXPERIMENT, OPTIMISER
from nas.run.optimiser import BALANCED, BEGUN_ANEW
from nas.run.supernet import planned_supernet, searches_in_turns, shared_weights
from nas.search.problem import problem_of
from nas.stages import optimise, supernet
from tests.nas.opened_runs import opened, rewind
from tests.nas.stages.killed_steps import Killed, killed_at

SETTINGS = {"name": "differentiable", "steps": 24, "warm_up": 1, "proposals": 3, "share": 0.5}


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A run that is calibrated and has an optimiser."""
    shutil.copytree(finished, tmp_path / "run")
    rewind(tmp_path / "run", "calibrate")
    change(tmp_path / "run", SETTINGS)
    return tmp_path / "run"


def change(run: Path, optimiser: dict[str, Any], **settings: Any) -> None:
    data = yaml.safe_load((run / EXPERIMENT).read_text())
    data["search"] |= {"optimiser": optimiser, **settings}
    (run / EXPERIMENT).write_text(yaml.safe_dump(data))


def results(run: Path) -> dict[str, Any]:
    return {path.stem: json.loads(path.read_text()) for path in (run / OPTIMISER).glob("*.json")}


def ended(run: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the searches found and the weights."""
    with opened(run) as context:
        supernet.train_supernet(context)
        optimise.optimise(context, problem_of(context))
        return results(run), dict(shared_weights(context))


def test_searches_take_turns_with_the_weights_from_the_fair_warm_up_on(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, bool]] = []
    sample = Turns.sample

    def watched(self: Turns, step: int) -> Any:
        found = sample(self, step)
        asked.append((step, found is not None))
        return found

    monkeypatch.setattr(Turns, "sample", watched)
    found, _ = ended(run)
    steps = len(asked)
    # The first turn is after a step of the weights, which could not be wished yet.
    assert [wished for _, wished in asked] == [step > steps // 2 for step in range(steps)]
    assert set(found) == {"worst", "mean"}
    for record in found.values():
        assert record["in_turns"] and 1 <= len(record["proposals"]) <= 3
        assert max(record["proposals_s"]) <= record["limit_s"]
        assert record["steps"] == 24 + 1 * max(len(row) for row in record["probabilities"])


def test_architecture_learns_while_weights_do_and_all_steps_are_taken(run: Path) -> None:
    with opened(run) as context:
        supernet.train_supernet(context)
        stored = searches_in_turns(context)
    # A gene with effect and two options has been seen in every pass: once per step of the warm-up and of the search.
    for number in (0, 1):
        counts = stored[f"{number}/guided/gates/count"]
        assert counts.max() == 24 + 2
        assert np.isfinite(stored[f"{number}/logits"]).any()


def test_a_killed_training_in_turns_ends_as_if_it_had_not_been(run: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    shutil.copytree(run, whole)
    expected, weights = ended(whole)
    # Before the first turn, just after it, and later on.
    for stop in (5, 19, 27):
        with opened(run) as context, pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
            patch.setattr(supernet, "steps_progress", killed_at(stop, supernet.steps_progress))
            supernet.train_supernet(context)
    found, resumed = ended(run)
    assert found == expected
    assert all(np.array_equal(resumed[name], value) for name, value in weights.items())


@pytest.mark.parametrize("stored", [pytest.param((), marks=pytest.mark.slow), (0,)])
def test_searches_that_missed_turns_are_made_up_for_afterwards(
    run: Path, stored: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training that an older release began, or a budget that could not be kept when the turns began."""
    real = Turns.state

    def fewer(self: Turns) -> dict[str, Any]:
        return {name: value for name, value in real(self).items() if int(name.partition("/")[0]) in stored}

    monkeypatch.setattr(Turns, "state", fewer)
    with opened(run) as context, pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(supernet, "steps_progress", killed_at(30, supernet.steps_progress))
        supernet.train_supernet(context)
    monkeypatch.setattr(Turns, "state", real)
    found, _ = ended(run)
    assert [found[name]["in_turns"] for name in ("worst", "mean")] == [number in stored for number in (0, 1)]
    assert len({record["steps"] for record in found.values()}) == 1


def test_without_a_share_the_weights_come_first(run: Path) -> None:
    change(run, {**SETTINGS, "share": 0})
    with opened(run) as context:
        supernet.train_supernet(context)
        assert searches_in_turns(context) == {}
        optimise.optimise(context, problem_of(context))
    assert not any(record["in_turns"] for record in results(run).values())


@pytest.mark.parametrize(("balanced", "stored"), [(True, 1.0), (True, 0.0), (True, None), (False, 0.0), (False, None)])
def test_what_searches_learned_on_another_scale_is_not_gone_on_with(
    balanced: bool, stored: float | None, run: Path
) -> None:
    """None: an older release, which did not balance losses, and did not say so."""
    if balanced:
        change(run, SETTINGS, objectives=["balanced_accuracy", "worst_case_latency"])
    said: list[Event] = []
    with opened(run) as context:
        trainer = planned_supernet(context)
        learned = {"0/logits": np.arange(3.0), f"0/{RATES}": np.zeros(0)}
        scale = {} if stored is None else {f"0/{BALANCED}": np.array([stored])}
        context.files.supernet.write_bytes(trainer.save(trainer.start(), {**learned, **scale}))
        found = searches_in_turns(replace(context, voice=Voice(said.append)))
    same = balanced == bool(stored)
    assert set(found) == ({*learned, *scale} if same else set())
    assert [event.text for event in said] == [BEGUN_ANEW] * (not same)


@pytest.mark.slow
@pytest.mark.parametrize("ended_before", [False, True])
def test_searches_whose_losses_were_on_another_scale_begin_anew_when_the_weights_are_done(
    ended_before: bool, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an older release, which did not balance them; weights that it trained stay."""
    change(run, SETTINGS, objectives=["balanced_accuracy", "worst_case_latency"])
    real = Turns.state

    def without(self: Turns) -> dict[str, Any]:
        return {name: value for name, value in real(self).items() if not name.endswith(f"/{BALANCED}")}

    monkeypatch.setattr(Turns, "state", without)
    with opened(run) as context, pytest.MonkeyPatch.context() as patch:
        if not ended_before:
            patch.setattr(supernet, "steps_progress", killed_at(30, supernet.steps_progress))
        with contextlib.nullcontext() if ended_before else pytest.raises(Killed):
            supernet.train_supernet(context)
    monkeypatch.setattr(Turns, "state", real)
    before = (run / "supernet.safetensors").read_bytes()
    said: list[Event] = []
    with opened(run) as context:
        heard = replace(context, voice=Voice(said.append))
        supernet.train_supernet(heard)
        assert ended_before == ((run / "supernet.safetensors").read_bytes() == before)
        optimise.optimise(heard, problem_of(heard))
    assert [event.text for event in said if event.kind == "note" and "anew" in event.text] == [BEGUN_ANEW]
    assert not any(record["in_turns"] for record in results(run).values())
