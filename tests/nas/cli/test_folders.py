"""Folders of runs: which ones are refused, how a run goes on in its own, and what a full disk costs."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from nas.process import files as run_folder
from tests.nas.cli.bad_inputs import npz
from tests.nas.small_runs import SMALL, Command, hashes, small, write


def test_a_run_needs_a_folder_of_its_own(nas: Command, tmp_path: Path) -> None:
    experiment = write(tmp_path, SMALL)
    Path("file").write_text("content")
    assert "file is a file, and a run needs a folder" in nas("run", experiment, "--out", "file").error
    assert "file is a file, and a run needs a folder" in nas("run", experiment, "--out", "file", "--resume").error
    Path("full").mkdir()
    Path("full/thesis.txt").write_text("content")
    assert "full is not empty" in nas("run", experiment, "--out", "full").error
    assert "full is not a run that could be resumed" in nas("run", experiment, "--out", "full", "--resume").error
    assert Path("file").read_text() == "content"
    assert [path.name for path in Path("full").iterdir()] == ["thesis.txt"]


def test_a_run_goes_on_as_the_experiment_that_it_began_with(nas: Command, tmp_path: Path) -> None:
    """The run is one that ended at once, because nothing fits."""
    impossible = small(budgets=[{"name": "fast", "latency": "1 us"}], calibration={"networks": 0})
    experiment = write(tmp_path, impossible)
    assert nas("run", experiment, "--out", "run").code == 3
    before = hashes(Path("run"))
    assert "run is not empty; continue the run in it with --resume" in nas("run", experiment, "--out", "run").error
    error = nas("run", experiment, "--out", "run", "--resume", "--seed", "1").error
    assert "run was begun with another experiment: seed was 0 and is 1" in error
    error = nas("run", experiment, "--out", "run", "--resume", "--set", "winners.epochs=7").error
    assert "winners.epochs was 1 and is 7;" in error
    assert hashes(Path("run")) == before
    # The same experiment, written otherwise, is the same.
    other = write(tmp_path, {**impossible, "data": "digits", "seed": 0}, "other.yaml")
    assert nas("run", other, "--out", "run", "--resume").code == 3


def test_a_run_goes_on_with_the_data_that_it_began_with(nas: Command, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 255, (600, 1, 8, 8), np.uint8)
    data = npz(tmp_path, x_train=x, y_train=np.arange(600) % 3)
    experiment = write(
        tmp_path, {**data, "budgets": [{"name": "fast", "latency": "1 us"}], "calibration": {"networks": 0}}
    )
    assert nas("run", experiment, "--out", "run").code == 3
    x[0, 0, 0, 0] ^= 1
    npz(tmp_path, x_train=x, y_train=np.arange(600) % 3)
    assert "the data are not those this run began with" in nas("run", experiment, "--out", "run", "--resume").error


class FullDisk:
    """Has no space left `room` writes after a stage begins, and then takes half of what is written."""

    def __init__(self) -> None:
        self.stage = ""
        self.room = sys.maxsize
        self._left = sys.maxsize
        self._write = run_folder.write_bytes

    def fill(self, stage: str, room: int) -> None:
        """Wait for the beginning of a stage; without one, begin to count at once."""
        self.stage, self.room = stage, room
        self._left = sys.maxsize if stage else room

    def write_bytes(self, descriptor: int, data: bytes) -> None:
        self._left -= 1
        if self._left < 0:
            os.write(descriptor, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._write(descriptor, data)
        if self.stage and f'"event":"begin","stage":"{self.stage}"'.encode() in data:
            self._left = self.room


@pytest.mark.slow
def test_a_full_disk_at_any_write_costs_nothing_but_time(
    nas: Command, finished: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The disk fills up again and again; after each time room is made and the run goes on."""
    disk = FullDisk()
    monkeypatch.setattr(run_folder, "write_bytes", disk.write_bytes)
    experiment = write(tmp_path, small(calibration={"measurements": str(finished / "measurements.jsonl")}))
    run = ["run", experiment, "--out", "run", "--resume"]
    for stage, room in (
        ("", 0), ("", 1), ("", 2), ("calibrate", 0), ("calibrate", 1), ("supernet", 0), ("supernet", 9), ("search", 0),
        ("search", 1), ("search", 2), ("train", 0), ("train", 2), ("train", 7), ("export", 0), ("export", 2),
        ("verify", 0), ("verify", 2), ("test", 0), ("report", 0),
    ):  # fmt: skip
        disk.fill(stage, room)
        error = nas(*run).error
        assert "No space left on device" in error
        assert "nothing was lost: make room or give access, then continue with --resume" in error
    disk.fill("no such stage", 0)
    assert nas(*run).code == 0
    for name in ("trials.jsonl", "front.json"):
        assert Path("run", name).read_bytes() == (finished / name).read_bytes()
    assert not list(Path("run").rglob(".tmp-*"))
