"""The training of shared weights is compared with others at its rungs: it reports once, stops, and can go on."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nas.errors import StoppedEarly
from nas.process.files import read_jsonl
from nas.run.layout import RunFiles
from nas.run.progress import Stopped, progress_of
from nas.run.rungs import AtRung, Rungs
from nas.stages import supernet
from nas.sweep.layout import SweepFiles
from nas.sweep.rungs import CellRungs
from nas.sweep.scheduler import Scheduler
from tests.nas.opened_runs import opened, rewind

pytest.importorskip("optuna")


class Killed(Exception):
    pass


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A run that is calibrated, and will train for two epochs."""
    shutil.copytree(finished, tmp_path / "run")
    rewind(tmp_path / "run", "calibrate")
    RunFiles(tmp_path / "run").log.unlink()
    return tmp_path / "run"


@pytest.fixture
def rungs(tmp_path: Path) -> CellRungs:
    """A rung after the first epoch."""
    return CellRungs(SweepFiles(tmp_path), "mine", Scheduler(min_epochs=1), {})


def train(run: Path, rungs: Rungs | None) -> None:
    with opened(run) as context:
        with context.timed("calibrate"):
            pass  # which is over
        with context.timed("supernet"):
            supernet.train_supernet(replace(context, rungs=rungs))


@pytest.mark.parametrize("instant", [pytest.param("report", marks=pytest.mark.slow), "stops"])
def test_who_is_killed_at_a_rung_reports_once_and_stops_and_goes_on_alone(
    instant: str, run: Path, finished: Path, rungs: CellRungs, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace(rungs, cell="better").report(1, AtRung(1.0, "worst", ()))
    with monkeypatch.context() as patch:

        def killed(*_: Any) -> None:
            raise Killed

        patch.setattr(CellRungs, instant, killed)
        with pytest.raises(Killed):
            train(run, rungs)
    for _ in range(2):  # and whoever asks again hears the same
        with pytest.raises(StoppedEarly, match=r"stopped early: \d+\.\d% on validation images after 1 of 2 epochs"):
            train(run, rungs)
        _, told = read_jsonl(rungs.files.rungs)
        assert (told["cell"], told["rung"], told["epoch"], told["group"]) == ("mine", 0, 1, {})
        found = progress_of(RunFiles(run))
        assert found.stopped == Stopped(1, told["value"]) and found.over and not found.trained and not found.stage
    largest, smallest = told["networks"]
    assert largest["macs"] > smallest["macs"]
    assert told["value"] == pytest.approx((largest["accuracy"] + smallest["accuracy"]) / 2)
    assert all(0.05 < each["accuracy"] < 1 for each in (largest, smallest))
    train(run, None)
    found = progress_of(RunFiles(run))
    assert found.stopped is None and found.trained
    assert RunFiles(run).supernet.read_bytes() == RunFiles(finished).supernet.read_bytes(), "as if never compared"


def test_who_is_ahead_trains_as_if_never_compared(run: Path, finished: Path, rungs: CellRungs) -> None:
    replace(rungs, cell="worse").report(1, AtRung(0.0, "worst", ()))
    train(run, rungs)
    assert progress_of(RunFiles(run)).trained and len(read_jsonl(rungs.files.rungs)) == 2
    assert RunFiles(run).supernet.read_bytes() == RunFiles(finished).supernet.read_bytes()
    # Behind its last rung nothing is compared any more.
    train(run, rungs)
    assert len(read_jsonl(rungs.files.rungs)) == 2
