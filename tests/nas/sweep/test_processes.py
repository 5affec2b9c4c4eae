"""Cells as processes: cores of their own, an end with whoever began them, and what they said last."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nas.config.plugins import NO_PLUGINS
from nas.errors import InputError
from nas.process.facts import cores_used
from nas.run.layout import RunFiles
from nas.sweep import processes
from nas.sweep.processes import Processes, shares_of
from nas.sweep.workers import Task

BEGIN = str(processes._BEGIN)


@pytest.mark.parametrize(
    ("cores", "workers", "shares"),
    [([0, 1], 2, [[0], [1]]), ([3, 5, 7, 9, 11], 2, [[3, 5], [7, 9]]), ([4], 1, [[4]]), ([0, 1, 2], 1, [[0, 1, 2]])],
)
def test_every_worker_has_as_many_cores(cores: list[int], workers: int, shares: list[list[int]]) -> None:
    assert shares_of(cores, workers) == shares


@pytest.mark.parametrize("workers", [0, -1, 3])
def test_more_workers_than_cores_are_refused(workers: int) -> None:
    with pytest.raises(InputError, match=f"--workers is {workers}, and this process may use 2 cores"):
        shares_of([0, 1], workers)


def test_a_process_has_its_cores_and_no_others() -> None:
    core = cores_used()[-1]
    program = [sys.executable, "-c", "import os; print(os.sched_getaffinity(0))"]
    command = [sys.executable, "-IS", BEGIN, str(core), str(os.getpid()), *program]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == f"{{{core}}}\n"


def test_a_process_ends_with_the_one_that_began_it(tmp_path: Path) -> None:
    """Also if that is killed, or was so before the process could ask to be told."""
    wait = f"open({str(tmp_path / 'begun')!r}, 'w').close(); import time; time.sleep(60)"
    begin = [sys.executable, "-IS", BEGIN, str(cores_used()[0])]
    program = (
        f"import os, subprocess, sys, time\n"
        f"child = subprocess.Popen([*{begin!r}, str(os.getpid()), sys.executable, '-c', {wait!r}])\n"
        f"print(child.pid, flush=True)\n"
        f"while True: time.sleep(1)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    while not (tmp_path / "begun").exists():
        time.sleep(0.01)
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{child}").exists() and "Z" not in Path(f"/proc/{child}/stat").read_text().split():
        assert time.monotonic() < deadline, "it outlived its parent"
        time.sleep(0.01)
    orphan = subprocess.run([*begin, "1", sys.executable, "-c", "print('ran')"], capture_output=True, check=True)
    assert orphan.stdout == b""


@pytest.mark.parametrize(
    ("program", "cause"),
    [
        ("import os; os.kill(os.getpid(), 9)", "its process was ended by SIGKILL 3 times"),
        ("print('one'); print('nas: error: two\\n\\n')", "two"),
        ("import sys; sys.exit(7)", "its process ended with 7"),
    ],
)
def test_what_a_process_said_last_is_its_cause(
    program: str, cause: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = subprocess.Popen
    monkeypatch.setattr(
        processes.subprocess, "Popen", lambda command, **how: start([sys.executable, "-c", program], **how)
    )
    workers = Processes(1, NO_PLUGINS)
    assert workers.free() == 1
    workers.begin(Task("cell", RunFiles(tmp_path)))
    assert workers.free() == 0
    (ended,) = workers.ended(30)
    assert (ended.name, ended.cause, workers.free()) == ("cell", cause, 1)
    assert workers.ended(30) == []


def test_processes_are_asked_to_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start, made = subprocess.Popen, []

    def popen(command: list[str], **how: object) -> subprocess.Popen[bytes]:
        made.append(start([sys.executable, "-c", "import time; time.sleep(60)"], **how))
        return made[-1]

    monkeypatch.setattr(processes.subprocess, "Popen", popen)
    workers = Processes(1, NO_PLUGINS)
    workers.begin(Task("cell", RunFiles(tmp_path)))
    assert workers.ended(0.01) == []
    workers.close()
    assert made[0].returncode == -15


def counting(monkeypatch: pytest.MonkeyPatch, program: str) -> list[list[str]]:
    """Start a program in the place of each cell; gives the commands."""
    start, commands = subprocess.Popen, list[list[str]]()

    def popen(command: list[str], **how: object) -> subprocess.Popen[bytes]:
        commands.append(command)
        return start([sys.executable, "-c", program, str(len(commands))], **how)

    monkeypatch.setattr(processes.subprocess, "Popen", popen)
    return commands


@pytest.mark.parametrize(("deaths", "starts", "cause"), [(1, 2, "done"), (2, 3, "done"), (9, 3, "SIGKILL 3 times")])
def test_a_cell_whose_process_is_killed_goes_on(
    deaths: int, starts: int, cause: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the same cores, from its folder: as where there was no memory left. Three times are enough."""
    program = f"import os, sys\nint(sys.argv[1]) <= {deaths} and os.kill(os.getpid(), 9)\nprint('done')"
    commands = counting(monkeypatch, program)
    workers = Processes(1, NO_PLUGINS)
    workers.begin(Task("cell", RunFiles(tmp_path)))
    (ended,) = workers.ended(30)
    assert ended.cause.endswith(cause) and workers.free() == 1
    assert commands == commands[:1] * starts
    # One that is begun again later may be killed as often again.
    workers.begin(Task("cell", RunFiles(tmp_path)))
    assert len(workers.ended(30)) == 1


def test_a_cell_that_was_asked_to_stop_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = counting(monkeypatch, "import os; os.kill(os.getpid(), 15)")
    workers = Processes(1, NO_PLUGINS)
    workers.begin(Task("cell", RunFiles(tmp_path)))
    (ended,) = workers.ended(30)
    assert ended.cause == "its process was ended by SIGTERM" and len(commands) == 1
