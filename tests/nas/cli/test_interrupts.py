"""A run that is interrupted says how to go on, and lets its folder go."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nas.stages import calibrate, search, supernet
from tests.nas.small_runs import Command, small, write


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("where", ["calibrate", "train_supernet"])
def test_an_interrupted_run_says_how_to_go_on(
    where: str, number: signal.Signals, nas: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def interrupted(context: object) -> None:
        os.kill(os.getpid(), number)

    def later(context: object) -> None:
        raise AssertionError("the run went on")

    monkeypatch.setattr(calibrate if where == "calibrate" else supernet, where, interrupted)
    monkeypatch.setattr(search, "require_feasible" if where == "calibrate" else "search", later)
    before = signal.getsignal(number)
    experiment = write(tmp_path, small(calibration={"networks": 0}))
    done = nas("run", experiment, "--out", "run")
    assert done.code == 4
    assert done.err == "nas: interrupted; the same command with --resume goes on from here\n"
    assert signal.getsignal(number) == before
    # The folder is not locked any more, and the run goes on to the same place.
    assert nas("run", experiment, "--out", "run", "--resume").code == 4


def test_a_process_that_is_terminated_ends_with_code_4(tmp_path: Path) -> None:
    experiment = write(tmp_path, small(calibration={"networks": 0}, supernet={"epochs": 10_000}))
    process = subprocess.Popen(
        [sys.executable, "-m", "nas", "run", experiment, "--out", "run"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    log, deadline = tmp_path / "run" / "log.jsonl", time.monotonic() + 120
    while not (log.exists() and '"stage":"supernet"' in log.read_text()) and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.05)
    process.terminate()
    _, err = process.communicate(timeout=120)
    assert process.returncode == 4
    assert err.splitlines()[-1] == "nas: interrupted; the same command with --resume goes on from here"
    assert "Traceback" not in err


@pytest.mark.parametrize("signals", [1, 2])
def test_a_run_that_comes_to_no_safe_place_is_left_all_the_same(signals: int, tmp_path: Path) -> None:
    experiment = write(tmp_path, small(calibration={"networks": 0}))
    program = f"""
import os, signal
from nas.cli import main as command_line
from nas.stages import calibrate

def deaf(context):
    for _ in range({signals}):
        os.kill(os.getpid(), signal.SIGTERM)
    while True:
        pass

calibrate.calibrate = deaf
command_line.main(["run", {experiment!r}, "--out", "run"])
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 4
    assert done.stderr == "nas: interrupted; the same command with --resume goes on from here\n"
