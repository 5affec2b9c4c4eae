from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nas.errors import InputError
from nas.process import files as run_folder
from nas.process.files import (
    RunFolder,
    RunFolderError,
    append_jsonl,
    atomic_path,
    atomic_write_bytes,
    atomic_write_json,
    atomic_write_text,
    read_jsonl,
    sha256_file,
)


def begin(path: Path) -> None:
    """A run that was started and ended."""
    with RunFolder.open(path, resume=False):
        atomic_write_text(path / "experiment.yaml", "name: x\n")


def names(path: Path) -> set[str]:
    return {entry.name for entry in path.iterdir()}


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The disk takes `room[0]` more bytes, then there is no space left."""
    room = [0]

    def write(descriptor: int, data: bytes) -> None:
        os.write(descriptor, data[: room[0]])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(run_folder, "write_bytes", write)
    return room


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


ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(run_folder.__file__).parents[1])}
HOLD = (
    "import sys, nas.process.files as r; f = r.RunFolder.open(sys.argv[1], True); print(flush=True); sys.stdin.read()"
)


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

    monkeypatch.setattr(run_folder.fcntl, "flock", flock)
    with pytest.raises(RunFolderError, match=r"cannot be locked .*local disk"):
        RunFolder.open(tmp_path, resume=False)


def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path: Path, full_disk: list[int]) -> None:
    path = tmp_path / "front.json"
    path.write_text("old")
    full_disk[0] = 3
    with pytest.raises(RunFolderError) as error:
        atomic_write_text(path, "new and long")
    for part in (str(path), "No space left on device", "MiB free", "nothing was lost", "--resume"):
        assert part in str(error.value)
    assert isinstance(error.value, InputError)
    assert names(tmp_path) == {"front.json"}
    assert path.read_text() == "old"


def test_a_full_disk_leaves_a_log_as_it_was(tmp_path: Path, full_disk: list[int]) -> None:
    path = tmp_path / "trials.jsonl"
    path.write_text('{"batch":0}\n')
    full_disk[0] = 5
    with pytest.raises(RunFolderError, match="the lines before are intact and nothing was lost"):
        append_jsonl(path, [{"batch": 1}])
    assert path.read_text() == '{"batch":0}\n'


def test_a_library_that_writes_its_own_file_is_as_safe(tmp_path: Path) -> None:
    path = tmp_path / "winners" / "model.npz"
    with atomic_path(path) as temporary:
        assert temporary.suffix == ".npz"
        np.savez(temporary, x=np.arange(3))
    assert np.load(path)["x"].tolist() == [0, 1, 2]
    with pytest.raises(KeyboardInterrupt), atomic_path(path) as temporary:
        temporary.write_bytes(b"half")
        raise KeyboardInterrupt
    with pytest.raises(RunFolderError, match="cannot write"), atomic_path(path):
        pass  # the library wrote nothing
    assert names(path.parent) == {"model.npz"}
    assert np.load(path)["x"].tolist() == [0, 1, 2]


def test_a_folder_in_the_place_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "front.json").mkdir()
    with pytest.raises(RunFolderError, match=r"cannot write .*front\.json"):
        atomic_write_bytes(tmp_path / "front.json", b"")
    assert names(tmp_path) == {"front.json"}


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:7]))
    atomic_write_bytes(tmp_path / "x", bytes(range(100)))
    assert (tmp_path / "x").read_bytes() == bytes(range(100))


def test_a_line_without_its_newline_was_never_written(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    assert read_jsonl(path) == ()
    append_jsonl(path, [{"a": 1}, {"a": 2}])
    for torn in ('{"a": 3', '{"a": 3}', "\0" * 100_000):
        with path.open("a") as file:
            file.write(torn)
        assert [record["a"] for record in read_jsonl(path)] == [1, 2]
        append_jsonl(path, [])
        assert path.read_text() == '{"a":1}\n{"a":2}\n'


@given(cut=st.integers(0, 200))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_log_cut_anywhere_can_be_continued(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "log.jsonl"
    path.unlink(missing_ok=True)
    whole = [{"i": i, "text": "x" * i} for i in range(8)]
    append_jsonl(path, whole)
    data = path.read_bytes()
    path.write_bytes(data[:cut])
    kept = len(read_jsonl(path))
    append_jsonl(path, whole[kept:])
    assert path.read_bytes() == data


@pytest.mark.parametrize(("line", "reason"), [('{"a":', "is not JSON"), ("[1]", "must be a JSON object")])
def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path, line: str, reason: str) -> None:
    path = tmp_path / "trials.jsonl"
    path.write_text(f'{{"a":1}}\n{line}\n{{"a":3}}\n')
    with pytest.raises(InputError, match=rf"trials\.jsonl, line 2 {'.*' if line == '[1]' else ''}{reason}"):
        read_jsonl(path)


def test_numbers_of_every_kind_become_valid_json(tmp_path: Path) -> None:
    record: dict[str, Any] = {
        "half": np.float32(0.5),
        "count": np.int64(3),
        "flag": np.bool_(True),
        "array": np.array([1.0, np.nan, -np.inf]),
        "nested": ({"x": float("inf")}, [Path("a/b")]),
    }
    wanted = {"half": 0.5, "count": 3, "flag": True, "array": [1.0, None, None], "nested": [{"x": None}, ["a/b"]]}
    atomic_write_json(tmp_path / "x.json", record)
    append_jsonl(tmp_path / "x.jsonl", [record])
    assert json.loads((tmp_path / "x.json").read_text()) == wanted
    assert read_jsonl(tmp_path / "x.jsonl") == (wanted,)


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


def test_the_digest_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    assert sha256_file(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
