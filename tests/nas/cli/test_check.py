"""`nas check` promises what `nas run` keeps: both refuse the same, in the same words, before anything is written."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from nas.config import parse
from nas.outlook.rehearsal import rehearsed
from tests.nas.cli.unrunnable import ALLOWED, CASES, OWN, READINGS, readings
from tests.nas.small_runs import Command, hashes, small, write


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own, so that no rate of this machine is read or left."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


def refused(nas: Command, folder: Path, experiment: str) -> str:
    """What `run` says, once it is known that `check` says the same and nothing was written."""
    before = hashes(folder)
    error = nas("run", experiment, "--out", "run", "--plugins", "own_parts").error
    assert nas("check", experiment, "--plugins", "own_parts").error == error
    assert hashes(folder) == before and not Path("run").exists()
    return error


@pytest.mark.parametrize("name", CASES)
def test_what_cannot_be_carried_out_is_refused_by_both(
    name: str, nas: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.delitem(sys.modules, "own_parts", raising=False)
    Path("own_parts.py").write_text(OWN)
    changes, message = CASES[name]
    assert message in refused(nas, tmp_path, write(tmp_path, small(**changes)))


@pytest.mark.parametrize("name", READINGS)
def test_readings_that_nothing_can_be_fitted_to_are_refused_by_both(name: str, nas: Command, tmp_path: Path) -> None:
    changes, message = READINGS[name]
    error = refused(nas, tmp_path, write(tmp_path, readings(tmp_path / "readings.jsonl", **changes)))
    assert message in error and "readings.jsonl" in error


def test_readings_of_another_target_are_refused_by_both(nas: Command, tmp_path: Path) -> None:
    data = readings(tmp_path / "readings.jsonl")
    data["target"] = {**data["target"], "batch": 2}
    data["budgets"] = data["budgets"][:1]
    assert "has no calibration readings of host-onnxruntime-t1-b2" in refused(nas, tmp_path, write(tmp_path, data))


@pytest.mark.parametrize("name", ALLOWED)
def test_what_can_be_carried_out_is_rehearsed(name: str) -> None:
    experiment = parse.experiment(small(**ALLOWED[name]))
    assert rehearsed(experiment).materials.space.genes


def test_readings_that_are_right_are_believed(nas: Command, tmp_path: Path) -> None:
    done = nas("check", write(tmp_path, readings(tmp_path / "readings.jsonl")))
    assert done.code == 0 and "4 readings of another run" in done.out


def test_changes_are_checked_as_run_makes_them(nas: Command, tmp_path: Path) -> None:
    file = write(tmp_path, small())
    assert "at most 1.00 ms" in nas("check", file, "--set", "budgets.0.latency=1 ms").out
    wrong = ("--set", "supernet.batch_size=5000")
    assert nas("check", file, *wrong).error == nas("run", file, *wrong).error
    assert "--kind is for these" in nas("check", file, "--kind", "space").error


def test_what_it_means_is_printed(nas: Command, tmp_path: Path, home: Path) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 255, (600, 1, 8, 8), np.uint8), np.arange(600) % 3
    x[1] = x[0]
    np.savez(tmp_path / "data.npz", x_train=x, y_train=y, x_test=x[:60], y_test=y[:60], class_names=["a", "[b]", "c"])
    budgets = [
        {"name": "here", "latency": "5 ms"},
        {"name": "there", "latency": "5 ms", "target": {"device": "rpi4b", "runner": "onnxruntime"}},
    ]
    data = small(data={"name": "npz", "path": str(tmp_path / "data.npz")}, budgets=budgets)
    done = nas("check", write(tmp_path, data))
    assert done.code == 0 and not done.err
    lines = [line.split() for line in done.out.splitlines()]
    assert ["images", "train", "val", "arch", "cert", "test"] in lines
    parts = next(list(map(int, line[2:])) for line in lines if line[:2] == ["3", "classes"])
    assert sum(parts) == 600 and parts[-1] == 60
    assert next(line for line in lines if line[0] == "[b]")[-1] == "20"
    assert "stand in the test part too and are left out" in done.out
    assert "space mobile-8x8: images of 1 x 8 x 8, 5 genes" in done.out
    assert next(line for line in lines if line[:2] == ["here", "5.00"]).count("measured") == 1
    assert "predicted only: its device is not this machine" in done.out
    assert "rpi4b-onnxruntime-t1" in done.out and "its profile and by how far those of" in done.out
    assert {"shared", "search", "winners", "measuring", "all", "memory"} <= {line[0] for line in lines if line}
    assert "An estimate, from a short test of this machine" in done.out
    assert [path.name for path in home.rglob("*.json")] == ["training_rate.json"]


def test_of_many_classes_the_fewest_and_the_most_images_are_printed(nas: Command, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "data.npz", x_train=rng.random((2000, 1, 8, 8), np.float32), y_train=np.arange(2000) % 50)
    out = nas("check", write(tmp_path, small(data={"name": "npz", "path": str(tmp_path / "data.npz")}))).out
    assert "50 classes" in out and "fewest of a class" in out and len(out.splitlines()) < 25


def test_a_run_that_is_there_already_is_said(nas: Command, tmp_path: Path) -> None:
    (tmp_path / "runs" / "small").mkdir(parents=True)
    file = write(tmp_path, small())
    assert "--resume" not in nas("check", file).out
    (tmp_path / "runs" / "small" / "front.json").touch()
    assert "runs/small is not empty: `nas run` goes on there with --resume" in nas("check", file).out


def test_what_workers_take_is_printed(nas: Command, tmp_path: Path) -> None:
    file = write(tmp_path, small())
    assert "memory of" not in nas("check", file).out
    out = nas("check", file, "--set", "executor={name: processes, workers: 64, threads_per_worker: 4}").out
    assert "beside it, memory of 64 workers" in out and "search.executor: 64 workers of 4 threads each are more" in out
