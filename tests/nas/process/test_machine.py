"""One machine, one measurement: over processes, with the measurement first, and never for long."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nas.process import machine

#: Computes for `seconds` in steps of 10 ms, and prints the time of each.
COMPUTES = """
import sys, time
from pathlib import Path
from nas.process import machine
machine.FOLDER, machine.HELD_S = Path(sys.argv[1]), float(sys.argv[2])
with machine.computing():
    print("computing", flush=True)
    end = time.monotonic() + float(sys.argv[3])
    while time.monotonic() < end:
        time.sleep(0.01)
        machine.breathe()
        print(time.time(), flush=True)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(machine, "FOLDER", tmp_path)
    return tmp_path


@contextmanager
def computes(folder: Path, held_s: float, seconds: float) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", COMPUTES, str(folder), str(held_s), str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "computing\n"
        yield process
        process.kill()


def test_a_measurement_waits_for_a_task_and_the_task_for_it(folder: Path) -> None:
    with computes(folder, 0.1, 3.0) as task:
        with machine.measuring():
            begin = time.time()
            time.sleep(0.4)
            end = time.time()
        time.sleep(0.2)
        task.kill()
        assert task.stdout is not None
        steps = [float(line) for line in task.stdout.read().split("\n") if line.count(".") == 1 and len(line) > 12]
    assert any(step < begin for step in steps) and any(step > end for step in steps), "it went on afterwards"
    # The step that was under way when the lock was given back was over before it was.
    assert not [step for step in steps if begin + 0.05 < step < end]


def test_tasks_compute_together(folder: Path) -> None:
    with computes(folder, 10.0, 30.0) as other:
        begin = time.monotonic()
        with machine.computing():
            machine.breathe()
            assert time.monotonic() - begin < 5.0 and other.poll() is None, "it did not wait for the other to end"


def test_a_task_that_is_killed_holds_nothing(folder: Path) -> None:
    with computes(folder, 1000.0, 1000.0) as task:
        task.kill()
        task.wait()
        with machine.measuring():
            pass


def test_a_measurement_that_waits_is_served_before_tasks_that_come_later(folder: Path) -> None:
    """Two tasks that hand each other the machine would else keep it for ever."""
    with computes(folder, 0.1, 6.0), computes(folder, 0.1, 6.0):
        begin = time.monotonic()
        with machine.measuring():
            assert time.monotonic() - begin < 3.0


def test_what_lies_within_is_one(folder: Path) -> None:
    with machine.measuring(), machine.measuring(), machine.computing():
        machine.breathe()
    with machine.computing(), machine.computing():
        machine.breathe()
    with machine.computing(), pytest.raises(AssertionError, match="cannot measure"), machine.measuring():
        pass


def test_where_no_lock_can_lie_it_is_said_and_goes_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(machine, "FOLDER", folder / "not there")
    machine._warn_once.cache_clear()
    with machine.measuring():
        pass
    assert "cannot be opened" in caplog.text


def test_locks_may_be_taken_by_everybody(folder: Path) -> None:
    """Files in a folder for all belong to who came first."""
    with machine.measuring():
        pass
    assert {path.stat().st_mode & 0o666 for path in folder.iterdir()} == {0o666}


def test_a_child_that_was_forked_meanwhile_holds_nothing(folder: Path) -> None:
    """In a process of its own: this one has threads, which no fork takes along."""
    program = """
import os, signal, sys, time
from pathlib import Path
from nas.process import machine
machine.FOLDER = Path(sys.argv[1])
with machine.computing():
    child = os.fork()
    if child == 0:
        machine.breathe()
        time.sleep(30)
        os._exit(0)
begin = time.monotonic()
with machine.measuring():
    print(time.monotonic() - begin)
os.kill(child, signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program, str(folder)], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 5.0


def test_a_long_wait_is_spoken_of_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(machine, "_SAID_AFTER_S", 0.1)
    machine._warn_once.cache_clear()
    with computes(folder, 1.0, 10.0), machine.measuring():
        pass
    assert caplog.text.count("another run on this machine measures or computes") == 1
