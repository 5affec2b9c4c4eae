"""Cells are stopped early: what becomes of them, of those that wait for their weights, and of kills meanwhile."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nas.config.settings import Experiment
from nas.process.files import read_json, read_jsonl
from nas.process.lock import locked
from nas.run.folder import RunFolder
from nas.run.progress import progress_of
from nas.sweep import running
from nas.sweep.layout import SweepFiles
from nas.sweep.page import build, write_page
from nas.sweep.running import is_over
from nas.sweep.search import RecipeSearch, prepared
from nas.sweep.state import Watcher
from nas.sweep.sweep_file import load
from tests.nas.small_runs import Command, small
from tests.nas.sweep.pretended import Died, Pretended, begun, carried_out, dying_after
from tests.nas.sweep.small_sweeps import write_search, write_sweep
from tests.nas.sweep.test_search import Answering, names, searched, study_of

pytest.importorskip("optuna")

RATE = "supernet.learning_rate"
ASHA = {"name": "asha", "min_epochs": 1, "reduction_factor": 2}
BASE = small(supernet={"epochs": 4, "random_subnets": 1})
#: In the order of a grid; rungs are after 1 and 2 of 4 epochs.
RATES = [0.1, 0.01, 0.2, 0.02, 0.05]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "_PATIENCE_S", 0.001)


def worth(experiment: Experiment) -> float:
    return experiment.supernet.learning_rate


def comparing(room: int = 1, **how: Any) -> Pretended:
    workers = Pretended(room, **how)
    workers.worth = worth
    return workers


def states(files: SweepFiles) -> dict[str, tuple[str, str]]:
    return {cell.cell.name: (cell.state, cell.cause) for cell in Watcher(files).look().cells}


def test_cells_that_are_behind_are_stopped_and_over(tmp_path: Path, nas: Command) -> None:
    files, cells = begun(write_sweep(tmp_path, {RATE: RATES}, BASE, scheduler=ASHA), tmp_path / "out")
    workers = comparing()
    assert carried_out(files, cells, workers) == {}
    found = states(files)
    assert {name: state for name, (state, _) in found.items()} == {
        "learning_rate-0.1": "not kept",
        "learning_rate-0.01": "stopped",
        "learning_rate-0.2": "not kept",
        "learning_rate-0.02": "stopped",
        "learning_rate-0.05": "stopped",
    }
    assert found["learning_rate-0.02"][1] == "after epoch 1, with 2.0%"
    assert [row["epoch"] for row in read_jsonl(files.rungs) if row["cell"] == "learning_rate-0.2"] == [1, 2]
    assert all(is_over(files, cell.name) for cell in cells)
    # Stopped is no failure, and nothing of it is left to do.
    assert all("cause" not in row for row in read_jsonl(files.log))
    state = Watcher(files).look()
    assert (state.count("stopped"), state.left_s) == (3, 0.0)
    again = comparing()
    assert carried_out(files, cells, again) == {} and not again.begun
    told = nas("status", str(files.root)).out
    assert "2 of 5 cells complete, 0 kept, 3 stopped\n" in told and "goes on" not in told
    assert re.search(r"^learning_rate-0.02 +stopped +after epoch 1, with 2.0%", told, re.MULTILINE)
    run = files.cell("learning_rate-0.02")
    assert (
        f"{run.root}: stopped by its sweep after epoch 1, with 2.0%: `nas run ... --resume`"
        in nas("status", str(run.root)).out
    )
    view = build(files)
    assert (
        view.answer.headline == "0 of 2 cells kept their budgets." and "3 of 5 were stopped early" in view.answer.text
    )
    assert [(each.badge, each.cell.cause) for each in view.cells][3] == ("not-measured", "after epoch 1, with 2.0%")


def test_cells_of_other_questions_are_not_compared(tmp_path: Path) -> None:
    """A cell with a tighter budget is not the worse one for it."""
    axes = {RATE: [0.1, 0.01], "budgets.0.latency": ["2 ms", "4 ms"], "target.threads": [1, 2]}
    files, cells = begun(write_sweep(tmp_path, axes, BASE, scheduler=ASHA), tmp_path / "out")
    # Those of one rate share weights: of each question one training has to be there.
    alone = [replace(cell, group=number) for number, cell in enumerate(cells, start=1)]
    carried_out(files, alone, comparing())
    kept_on = [name for name, (state, _) in states(files).items() if state != "stopped"]
    assert kept_on == [cell.name for cell in cells if cell.cell.values[RATE] == 0.1]
    groups = {json.dumps(row["group"], sort_keys=True) for row in read_jsonl(files.rungs)}
    assert len(groups) == 4 and '{"budgets.0.latency": "2 ms", "target.threads": 1}' in groups


def test_a_mean_over_seeds_that_went_on_says_so(tmp_path: Path) -> None:
    """They are the better ones."""
    for seeds, said in (([0, 1, 2], True), ([0], False)):
        axes = {RATE: [0.1, 0.01], "seed": seeds}
        files, cells = begun(write_sweep(tmp_path, axes, BASE, scheduler=ASHA), tmp_path / f"out{len(seeds)}")
        workers = comparing()
        workers.worth = lambda experiment: worth(experiment) - 0.01 * experiment.seed
        carried_out(files, cells, workers)
        assert Watcher(files).look().count("stopped") == len(cells) - 1
        assert ("a row is of those that went on" in write_page(files).read_text()) is said


def test_a_cell_that_was_interrupted_takes_no_time_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, cells = begun(write_sweep(tmp_path, {RATE: RATES}, BASE), tmp_path / "out")
    workers = Pretended()
    workers.running[cells[0].name] = run = files.cell(cells[0].name)
    running.folder.begin(files, cells[0], None)
    with RunFolder.open(run.root, resume=True) as begun_run:
        begun_run.log("begin", stage="calibrate")
    began_s = read_jsonl(run.log)[0]["time"]
    monkeypatch.setattr("nas.sweep.state.time", SimpleNamespace(time=lambda: began_s + 3600))
    (first, *_) = Watcher(files).look().cells
    assert (first.state, first.spent_s) == ("interrupted", 0.0)
    with locked(run.root):
        (first, *_) = Watcher(files).look().cells
        assert (first.state, first.spent_s) == ("running", pytest.approx(3600))


SHARED = {RATE: [0.1, 0.01], "winners.epochs": [1, 2, 3]}
WITH = {f"learning_rate-0.01_epochs-{epochs}": "with learning_rate-0.01_epochs-1" for epochs in (2, 3)}


@pytest.mark.parametrize("room", [1, 4])
def test_who_waits_for_weights_is_stopped_with_their_training(room: int, tmp_path: Path) -> None:
    files, cells = begun(write_sweep(tmp_path, SHARED, BASE, scheduler=ASHA), tmp_path / "out")
    workers = comparing(room)
    assert carried_out(files, cells, workers) == {}
    assert {*WITH}.isdisjoint(workers.begun) and len(workers.begun) == 4
    found = states(files)
    assert {name: cause for name, (state, cause) in found.items() if state == "stopped"} == {
        "learning_rate-0.01_epochs-1": "after epoch 1, with 1.0%", **WITH
    }  # fmt: skip
    assert len(read_jsonl(files.rungs)) == 3, "only those that train are compared"
    again = comparing()
    assert carried_out(files, cells, again) == {} and not again.begun


def test_who_was_killed_before_it_began_is_stopped_with_its_group(tmp_path: Path) -> None:
    """The first of the group had failed, and of the next one nothing was there but its experiment."""
    file = write_search(tmp_path, DRAWN, scheduler=ASHA, samples=7)
    files = searched(file, tmp_path / "out", answering())
    name, cause = next((name, cause) for name, (_, cause) in states(files).items() if cause.startswith("with "))
    search = RecipeSearch(files, prepared(load(file))[0])
    running.folder.begin(files, next(cell for cell in search.cells if cell.name == name), None)
    for told in ({}, {"cause": "it was killed"}):
        running.folder.note(files, "end", cell=name, **told)
        assert states(files)[name] == ("stopped", cause)
    assert search._stopped_trainer(name, progress_of(files.cell(name))) == cause.removeprefix("with ")


def test_weights_that_are_trained_on_after_all_serve_those_that_waited(tmp_path: Path) -> None:
    files, cells = begun(write_sweep(tmp_path, SHARED, BASE, scheduler=ASHA), tmp_path / "out")
    carried_out(files, cells, comparing())
    # Somebody goes on with the cell alone: no sweep, no rungs.
    trainer, alone = files.cell("learning_rate-0.01_epochs-1"), Pretended()
    alone.running[trainer.root.name] = trainer
    with RunFolder.open(trainer.root, resume=True) as run:
        run.log("begin", stage="calibrate")
    with locked(trainer.root):
        assert states(files)[trainer.root.name][0] == "running"
    for _ in range(4):
        alone.ended(0)
    assert progress_of(trainer).ended and states(files)[trainer.root.name] == ("not kept", "")
    assert {name: states(files)[name] for name in WITH} == dict.fromkeys(WITH, ("waiting", ""))
    again = comparing()
    assert carried_out(files, cells, again) == {} and sorted(again.begun) == sorted(WITH)
    assert not again.trained and Watcher(files).look().count("not kept") == 6


def killed_on_and_on(
    rng: random.Random, attempt: Callable[[Pretended], object], most: int, made: Callable[[], Pretended]
) -> int:
    """Begin a sweep, kill it, and go on with it until it is over; returns how often it was killed."""
    kills = 0
    while True:
        workers = made()
        workers.tick = dying_after(rng.randint(1, most))
        try:
            attempt(workers)
        except Died:
            kills += 1
        else:
            return kills


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
def test_a_kill_at_any_instant_changes_no_decision(seed: int, tmp_path: Path) -> None:
    """Also between what a cell reports and its end: it reports once, and comes to the same."""
    path = write_sweep(tmp_path, SHARED, BASE, scheduler=ASHA)
    files, cells = begun(path, tmp_path / "undisturbed")
    carried_out(files, cells, comparing())
    killed, _ = begun(path, tmp_path / "out")
    assert killed_on_and_on(random.Random(seed), lambda workers: carried_out(killed, cells, workers), 9, comparing) > 2
    assert killed.rungs.read_bytes() == files.rungs.read_bytes()
    assert states(killed) == states(files)


#: Many cells share the weights of one of three rates.
DRAWN = {RATE: [0.1, 0.03, 0.19], "winners.epochs": {"int": [1, 99]}}


def answering() -> Pretended:
    workers = Answering()
    workers.worth = worth
    return workers


def told(files: SweepFiles) -> dict[str, tuple[str, dict[int, float]]]:
    """What the study knows of each cell: the state of its trial, and what it was worth while it trained."""
    return {trial.user_attrs["cell"]: (trial.state.name, trial.intermediate_values) for trial in study_of(files).trials}


def test_a_search_is_told_what_was_stopped(tmp_path: Path) -> None:
    files = searched(write_search(tmp_path, scheduler=ASHA, samples=8), tmp_path / "out", answering())
    trials, found = told(files), states(files)
    assert list(trials) == names(files) and len(trials) == 8
    assert {name: trial for name, (trial, _) in trials.items()} == {
        name: "PRUNED" if state == "stopped" else "COMPLETE" for name, (state, _) in found.items()
    }
    assert 1 < sum(state == "stopped" for state, _ in found.values()) < 7
    experiments = {row["name"]: row["experiment"] for row in read_json(files.cells, "")["cells"]}
    for name, (_, values) in trials.items():
        assert values == {1: pytest.approx(experiments[name]["supernet"]["learning_rate"])}
    state = Watcher(files).look()
    assert state.best is not None and state.best[0].state == "kept"


def test_a_search_that_is_killed_prunes_the_same_cells_and_those_that_wait_for_their_weights(tmp_path: Path) -> None:
    file = write_search(tmp_path, DRAWN, scheduler=ASHA, samples=7)
    files = searched(file, tmp_path / "undisturbed", answering())
    trials, found = told(files), states(files)
    waited = [name for name, (_, cause) in found.items() if cause.startswith("with ")]
    assert waited and all(trials[name] == trials[found[name][1].removeprefix("with ")] for name in waited)
    assert {trials[name][0] for name in waited} == {"PRUNED"}
    out = tmp_path / "out"

    def attempt(workers: Pretended) -> None:
        searched(file, out, workers)

    assert killed_on_and_on(random.Random(0), attempt, 30, answering) > 0
    assert (told(SweepFiles(out)), states(SweepFiles(out))) == (trials, found)
