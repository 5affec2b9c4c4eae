"""Recipes are searched: by what was found, by several at a time, on through kills, as Optuna's own tools read."""

from __future__ import annotations

import math
import random
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nas.config import parse
from nas.config.settings import Experiment
from nas.errors import InputError
from nas.process.files import atomic_write_bytes, atomic_write_json, read_json
from nas.run.folder import RunFolder
from nas.run.layout import RunFiles
from nas.run.verdict_files import measured_hash
from nas.sweep import running
from nas.sweep.layout import SweepFiles
from nas.sweep.objective import Search
from nas.sweep.page import write_page
from nas.sweep.running import carry_out
from nas.sweep.search import RecipeSearch, prepared
from nas.sweep.state import Watcher
from nas.sweep.sweep_file import load
from tests.nas.small_runs import Command, hashes, small
from tests.nas.sweep.pretended import STEPS, Died, Pretended, dying_after
from tests.nas.sweep.small_sweeps import SEARCHED, write_search, write_sweep

optuna = pytest.importorskip("optuna")

BEST = 0.08


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "_PATIENCE_S", 0.001)


def accuracy(experiment: Experiment) -> float:
    return 0.9 - 0.1 * math.log(experiment.supernet.learning_rate / BEST) ** 2


class Answering(Pretended):
    """Cells that end with a winner: its accuracy hangs on the rate, and where that is large the budget is broken."""

    def _go(self, name: str, files: RunFiles, step: str) -> None:
        if step != STEPS[-1]:
            super()._go(name, files, step)
            return
        experiment = parse.load(files.experiment)
        with RunFolder.open(files.root, resume=True) as run:
            kept = experiment.supernet.learning_rate < 0.2
            seen = {"name": "worst", "budget_s": 0.2, "upper_95_s": 0.1 if kept else 0.3, "within_budget": kept}
            verdict = {**seen, "accuracy": {"val": accuracy(experiment)}}
            atomic_write_json(files.verify, {"schema": 2, "looks": 1, "winners": [verdict], "unmet": []})
            self.tick()
            tested = {"schema": 2, "kept": kept, "winners": [{"name": "worst", "kept": kept}]}
            atomic_write_json(files.test, {**tested, "verify_sha256": measured_hash(files)})
            atomic_write_bytes(files.report, b"page")
            for stage in ("test", "report"):
                run.log("end", stage=stage, seconds=1.0)
            self.completed[name] += 1


def searched(file: Path, out: Path, workers: Pretended) -> SweepFiles:
    """Begin a sweep, or go on with it."""
    files = SweepFiles(out)
    out.mkdir(exist_ok=True)
    search = RecipeSearch(files, prepared(load(file))[0])
    carry_out(files, search.cells, workers, lambda _: None, search)
    return files


def study_of(files: SweepFiles) -> Any:
    """What Optuna itself reads."""
    backend = optuna.storages.journal.JournalFileBackend(str(files.study))
    (name,) = optuna.get_all_study_names(optuna.storages.JournalStorage(backend))
    return optuna.load_study(study_name=name, storage=optuna.storages.JournalStorage(backend))


def names(files: SweepFiles) -> list[str]:
    return [row["name"] for row in read_json(files.cells, "")["cells"]]


def test_what_was_found_decides_where_it_is_looked(tmp_path: Path) -> None:
    files = searched(write_search(tmp_path, samples=24), tmp_path / "out", Answering())
    study = study_of(files)
    assert len(names(files)) == len({*names(files)}) == len(study.trials) == 24
    values = [trial.value for trial in study.trials]
    assert statistics.fmean(values[-8:]) > statistics.fmean(values[:10]) + 0.01
    for trial, row in zip(study.trials, read_json(files.cells, "")["cells"], strict=True):
        experiment = parse.load(files.cell(row["name"]).experiment)
        assert trial.state.name == "COMPLETE" and trial.user_attrs == {"cell": row["name"]}
        assert trial.value == pytest.approx(accuracy(experiment))
        rate = experiment.supernet.learning_rate
        assert trial.params["supernet.learning_rate"] == pytest.approx(rate, rel=1e-3)
        assert trial.constraints == {"budget": pytest.approx(0.0 if rate < 0.2 else 0.5)}
    state = Watcher(files).look()
    assert state.best is not None and state.planned == 24
    cell, value = state.best
    kept = [trial.value for trial in study.trials if trial.constraints == {"budget": 0}]
    assert cell.state == "kept" and value == max(kept)
    page = write_page(files).read_text()
    said = f"the highest accuracy on validation images of the winner of worst: {cell.cell.name} has it, {value:.1%}"
    assert said in page
    # Nothing is left to do.
    again = Answering()
    searched(tmp_path / "sweep.yaml", tmp_path / "out", again)
    assert not again.begun and len(names(files)) == 24


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
def test_a_search_that_is_killed_at_any_instant_goes_on_with_the_same_cells(seed: int, tmp_path: Path) -> None:
    """A trial that was running is the same cell again, and the whole chooses as if nobody had killed it."""
    file = write_search(tmp_path)
    undisturbed = names(searched(file, tmp_path / "undisturbed", Answering()))
    rng, completed, kills = random.Random(seed), Pretended().completed, 0
    while True:
        workers = Answering()
        workers.completed = completed
        workers.tick = dying_after(rng.randint(1, 30))
        try:
            files = searched(file, tmp_path / "out", workers)
            break
        except Died:
            kills += 1
    assert kills > 1 and names(files) == undisturbed
    assert completed == dict.fromkeys(undisturbed, 1)
    assert [trial.state.name for trial in study_of(files).trials] == ["COMPLETE"] * 14


@pytest.mark.parametrize("drawn", [(), ("supernet.learning_rate",), tuple(SEARCHED)])
def test_a_trial_without_a_cell_becomes_one(drawn: tuple[str, ...], tmp_path: Path) -> None:
    """Whoever was killed while it was asked for: what was drawn stays."""
    file, files = write_search(tmp_path), SweepFiles(tmp_path / "out")
    files.root.mkdir()
    first = RecipeSearch(files, prepared(load(file))[0])
    study = first._study
    trial = study.ask({key: first._distributions[key] for key in drawn})
    second = RecipeSearch(files, prepared(load(file))[0])
    assert len(second.cells) == 1 and second.left == 13
    values = second.cells[0].cell.values
    for key in drawn:
        expected = trial.params[key] if key != "winners.epochs" else int(trial.params[key])
        assert values[key] == pytest.approx(expected, rel=1e-3)
    assert RecipeSearch(files, prepared(load(file))[0]).cells[0].cell.values == values


def test_a_search_without_its_study_is_refused(tmp_path: Path) -> None:
    """Its trials would be counted from the beginning, and cells told of others' results."""
    file, files = write_search(tmp_path), SweepFiles(tmp_path / "out")
    files.root.mkdir()
    RecipeSearch(files, prepared(load(file))[0]).next()
    files.study.unlink()
    with pytest.raises(InputError, match=r"study\.log lacks the trial of the cell .*restore it"):
        RecipeSearch(files, prepared(load(file))[0])


def test_several_workers_search_together(tmp_path: Path) -> None:
    workers = Answering(3)
    files = searched(write_search(tmp_path), tmp_path / "out", workers)
    assert workers.most_at_a_time == 3 and sorted(workers.begun) == sorted(names(files)) and len(workers.begun) == 14
    assert {trial.state.name for trial in study_of(files).trials} == {"COMPLETE"}


def test_what_fails_is_tried_again_and_told_then(tmp_path: Path) -> None:
    file = write_search(tmp_path, samples=3)
    first = names(searched(file, tmp_path / "probe", Answering()))[0]
    files = searched(file, tmp_path / "out", Answering(1, {first: "calibrate"}))
    assert [trial.state.name for trial in study_of(files).trials] == ["RUNNING", "COMPLETE", "COMPLETE"]
    workers = Answering()
    searched(file, tmp_path / "out", workers)
    assert workers.begun == [first]
    assert [trial.state.name for trial in study_of(files).trials] == ["COMPLETE"] * 3


def test_no_cell_comes_twice_even_where_few_are_possible(tmp_path: Path) -> None:
    axes = {"winners.epochs": {"int": [1, 4]}, "supernet.epochs": [1, 2]}
    files = searched(write_search(tmp_path, axes, samples=8), tmp_path / "out", Answering())
    assert len({*names(files)}) == 8
    assert sum(trial.state.name == "COMPLETE" for trial in study_of(files).trials) == 8
    with pytest.raises(InputError, match="samples is 9, and of the values of the axes 8 different cells"):
        prepared(load(write_search(tmp_path, axes, samples=9)))


@pytest.mark.parametrize(("objective", "direction"), [("latency", "MINIMIZE"), ("accuracy", "MAXIMIZE")])
def test_the_study_has_the_direction_of_its_objective(objective: str, direction: str, tmp_path: Path) -> None:
    files = searched(write_search(tmp_path, samples=2, objective=objective), tmp_path / "out", Answering())
    assert study_of(files).direction.name == direction


#: No network keeps a nanosecond, which predictions say before anything is trained.
HOPELESS: dict[str, Any] = small(
    budgets=[{"name": "worst", "latency": "1 ns"}], calibration={"networks": 0}, space={"name": "toy", "width": 4}
)


def test_the_command_searches_and_says_what_it_found(nas: Command, tmp_path: Path) -> None:
    axes = {"supernet.learning_rate": {"log": [0.02, 0.3]}}
    file = str(write_sweep(tmp_path, axes, HOPELESS, samples=3, search_by="optuna_tpe"))
    checked = nas("check", file)
    assert checked.code == 0 and "3 cells of" in checked.out and "chosen by optuna_tpe" in checked.out
    done = nas("sweep", file, "--out", "out")
    assert done.code == 3, done.err
    assert "3 of 3 cells complete, 0 kept; searched is the highest accuracy on validation images" in done.out
    files = SweepFiles(Path("out"))
    assert [trial.value for trial in study_of(files).trials] == [0, 0, 0]
    assert "none that is complete keeps that budget" in files.report.read_text()
    before = hashes(files.root)
    assert nas("sweep", file, "--out", "out", "--resume").code == 3
    changed = {name for name, digest in hashes(files.root).items() if before.get(name) != digest}
    assert changed <= {".lock", "report.html"}
    error = nas("sweep", str(write_sweep(tmp_path, axes, HOPELESS, samples=4, search_by="optuna_tpe")), "--out", "out",
                "--resume").error  # fmt: skip
    assert "out was begun with another sweep: samples was 3 and is 4" in error


def test_a_search_that_has_chosen_nothing_yet_has_a_status_and_a_page(nas: Command, tmp_path: Path) -> None:
    files = SweepFiles(tmp_path / "out")
    files.root.mkdir()
    RecipeSearch(files, prepared(load(write_search(tmp_path)))[0])
    assert "0 of 14 cells complete" in nas("status", "out").out
    assert nas("report", "out").code == 0 and "0 of 14 cells kept" in files.report.read_text()


def test_values_that_make_no_experiment_are_said_and_passed_over(tmp_path: Path) -> None:
    """Such as a combination; each command that goes on tries others."""
    axes = {"winners.epochs": {"int": [1, 9]}, "budgets.0.name": ["worst", "a/b"]}
    files, file = SweepFiles(tmp_path / "out"), write_search(tmp_path, axes, samples=3)
    files.root.mkdir()
    sweep = replace(load(file), search=Search("optuna_tpe", "accuracy", "worst", 3))
    refused = 0
    for _ in range(40):
        search = RecipeSearch(files, sweep)
        try:
            while search.left:
                search.next()
        except InputError as error:
            assert "a/b" in str(error)
            refused += 1
    assert refused and len(names(files)) == 3
