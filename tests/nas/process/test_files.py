from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nas.errors import InputError
from nas.process import files as run_folder
from nas.process.files import (
    LINE,
    RunFolderError,
    append_jsonl,
    atomic_path,
    atomic_write_bytes,
    atomic_write_json,
    atomic_write_text,
    read_json,
    read_jsonl,
    sha256_file,
    to_line,
    unsealed,
)


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
    written = path.read_text()
    for torn in ('{"a": 3', '{"a": 3}', "\0" * 100_000):
        with path.open("a") as file:
            file.write(torn)
        assert [record["a"] for record in read_jsonl(path)] == [1, 2]
        append_jsonl(path, [])
        assert path.read_text() == written


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


def _changed(how: str, lines: list[bytes]) -> list[bytes]:
    match how:
        case "first":
            return lines[1:]
        case "middle":
            return lines[:3] + lines[4:]
        case "several":
            return lines[:2] + lines[5:]
        case "twice":
            return [*lines[:3], lines[2], *lines[3:]]
        case "swapped":
            return [lines[1], lines[0], *lines[2:]]
        case "after the older ones":
            return lines[:4] + lines[5:]
        case _:
            return [*lines[1:4], *lines[4:]]


@pytest.mark.parametrize(
    ("how", "older", "place", "says"),
    [
        ("first", 0, 1, "line 2: 1 before it are missing"),
        ("middle", 0, 4, "line 5: 1 before it are missing"),
        ("several", 0, 3, "line 6: 3 before it are missing"),
        ("twice", 0, 4, "line 3;"),
        ("swapped", 0, 1, "line 2: 1 before it are missing"),
        ("after the older ones", 4, 5, "line 6: 1 before it are missing"),
        ("one of the older ones", 4, 4, "line 5: 1 before it are missing"),
    ],
)
def test_a_log_that_lost_a_whole_line_names_the_first_that_is_out_of_place(
    how: str, older: int, place: int, says: str, tmp_path: Path
) -> None:
    """Some of the lines may be an older release's, which have no numbers."""
    path = tmp_path / "trials.jsonl"
    path.write_text("".join(to_line({"a": i}) + "\n" for i in range(older)))
    for i in range(older, 8):
        append_jsonl(path, [{"a": i}])
    assert [record["a"] for record in read_jsonl(path)] == [*range(8)]
    path.write_bytes(b"".join(_changed(how, path.read_bytes().splitlines(keepends=True))))
    with pytest.raises(InputError, match=rf"^\S+trials\.jsonl, line {place} is what was written as {says}"):
        read_jsonl(path)
    # As the message says.
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[: place - 1]) + b'{"a": 9')
    assert len(read_jsonl(path)) == place - 1
    append_jsonl(path, [{"a": 9}])
    assert read_jsonl(path)[-1] == {"a": 9}


def test_lines_that_somebody_chose_count_without_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    append_jsonl(path, [{"a": i, LINE: 7} for i in range(5)])
    rows = [unsealed(json.loads(line)) for line in path.read_text().splitlines()]
    assert rows == [{"a": i} for i in range(5)]
    path.write_text("".join(to_line(row) + "\n" for row in rows[::2]))
    assert read_jsonl(path) == tuple(rows[::2])


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
    assert read_json(tmp_path / "x.json", "") == wanted
    assert read_jsonl(tmp_path / "x.jsonl") == (wanted,)


def test_the_digest_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    assert sha256_file(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
