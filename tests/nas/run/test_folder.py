"""The folder of a run: who may write in it, and what a process that dies leaves."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nas.process.files import RunFolderError, atomic_write_text, read_jsonl
from nas.run import folder as folder_module
from nas.run.folder import RunFolder


def begin(path: Path) -> None:
    """A run that was started and ended."""
    with RunFolder.open(path, resume=False):
        atomic_write_text(path / "experiment.yaml", "name: x\n")


def names(path: Path) -> set[str]:
    return {entry.name for entry in path.iterdir()}


def test_a_new_run_creates_its_folder_and_a_resumed_one_finds_it(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "x"
    begin(path)
    with RunFolder.open(path, resume=True) as folder:
        assert (folder.path / "experiment.yaml").read_text() == "name: x\n"


def test_a_new_run_refuses_a_folder_with_something_in_it(tmp_path: Path) -> None:
    begin(tmp_path)
    before = names(tmp_path)
    with pytest.raises(
        RunFolderError, match=r"is not empty; continue the run in it with --resume, or .* another --out"
    ):
        RunFolder.open(tmp_path, resume=False)
    assert names(tmp_path) == before


@pytest.mark.parametrize("resume", [False, True])
def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path, resume: bool) -> None:
    (tmp_path / "x").write_text("mine")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name in ("x", "dangling"):
        with pytest.raises(RunFolderError, match="is a file, and a run needs a folder"):
            RunFolder.open(tmp_path / name, resume)
    with pytest.raises(RunFolderError):
        RunFolder.open(tmp_path / "x" / "below", resume)
    assert (tmp_path / "x").read_text() == "mine"


def test_what_is_not_a_run_is_not_resumed_and_not_touched(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(RunFolderError, match=r"is not a run that could be resumed: it has no experiment\.yaml"):
        RunFolder.open(tmp_path, resume=True)
    with pytest.raises(RunFolderError, match="there is nothing in it; leave --resume out"):
        RunFolder.open(tmp_path / "missing", resume=True)
    assert names(tmp_path) == {"photos"}


def test_a_run_killed_before_its_first_file_can_be_started_or_resumed(tmp_path: Path) -> None:
    for resume in (False, True, False):
        with RunFolder.open(tmp_path, resume) as folder:
            folder.log("started")
            (tmp_path / ".tmp-1-experiment.yaml").write_text("name:")
    with RunFolder.open(tmp_path, resume=True):
        assert names(tmp_path) == {".lock", "log.jsonl"}


def test_a_folder_copied_without_hidden_files_is_still_a_run(tmp_path: Path) -> None:
    (tmp_path / "experiment.yaml").write_text("name: x\n")
    RunFolder.open(tmp_path, resume=True).close()


ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(folder_module.__file__).parents[2])}
HOLD = "import sys, nas.run.folder as r; f = r.RunFolder.open(sys.argv[1], True); print(flush=True); sys.stdin.read()"


def test_a_folder_is_locked_until_its_process_dies_however_it_dies(tmp_path: Path) -> None:
    begin(tmp_path)
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENVIRONMENT
    )
    with other:
        assert other.stdout is not None
        other.stdout.readline()
        for resume in (True, False):
            with pytest.raises(RunFolderError) as error:
                RunFolder.open(tmp_path, resume)
            assert resume is (f"in use by process {other.pid} " in str(error.value))
        other.send_signal(signal.SIGKILL)
        other.wait()
    RunFolder.open(tmp_path, resume=True).close()


def test_two_openings_in_one_process_exclude_each_other(tmp_path: Path) -> None:
    owner = f"in use by process {os.getpid()} "
    with RunFolder.open(tmp_path, resume=False), pytest.raises(RunFolderError, match=owner):
        RunFolder.open(tmp_path, resume=False)


def test_a_file_system_without_locks_is_said_to_be_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(RunFolderError, match=r"cannot be locked .*local disk"):
        RunFolder.open(tmp_path, resume=False)


WRITE = """
import sys, pathlib, nas.process.files as r
path = pathlib.Path(sys.argv[1])
for i in range(10**9):
    r.atomic_write_json(path / "state.json", {"i": i, "data": "x" * 200_000})
    r.append_jsonl(path / "log.jsonl", [{"i": i, "data": "x" * 50_000}])
    print(flush=True)
"""


@pytest.mark.parametrize("writes", [1, 2, 5])
def test_killed_at_any_instant_files_are_old_or_new(tmp_path: Path, writes: int) -> None:
    begin(tmp_path)
    with subprocess.Popen([sys.executable, "-c", WRITE, tmp_path], stdout=subprocess.PIPE, env=ENVIRONMENT) as other:
        assert other.stdout is not None
        for _ in range(writes):
            other.stdout.readline()
        other.kill()
    state = json.loads((tmp_path / "state.json").read_text())
    assert state["i"] >= writes - 1
    assert len(state["data"]) == 200_000
    log = read_jsonl(tmp_path / "log.jsonl")
    assert [record["i"] for record in log] == list(range(len(log)))
    assert state["i"] <= len(log) <= state["i"] + 1
    RunFolder.open(tmp_path, resume=True).close()
    assert names(tmp_path) == {".lock", "experiment.yaml", "state.json", "log.jsonl"}


def test_events_carry_their_time(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path, resume=False) as folder:
        folder.log("epoch", number=3, loss=float("nan"))
    (event,) = read_jsonl(tmp_path / "log.jsonl")
    assert event.pop("time") > 1.7e9
    assert event == {"event": "epoch", "number": 3, "loss": None}
