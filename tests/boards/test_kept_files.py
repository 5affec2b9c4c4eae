"""The files that a board keeps: what is given up for a new one, what never is, and where they lie."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from pathlib import Path

import pytest

from nas.devices.board import kept_files
from nas.devices.board.kept_files import Closed, keep, kept

HOUR_S, DAY_S = 3600.0, 24 * 3600.0


@pytest.fixture(autouse=True)
def earlier(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was used by this process yet."""
    monkeypatch.setattr(kept_files, "_needed", {})


def _name(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _left(folder: Path, name: str, age_s: float, size: int = 100) -> Path:
    """A file that another session left."""
    path = folder / name
    path.write_bytes(bytes(size))
    os.utime(path, (time.time() - age_s,) * 2)
    return path


@pytest.mark.parametrize(("age_s", "stays"), [(0.0, True), (23 * HOUR_S, True), (25 * HOUR_S, False)])
def test_what_others_write_is_left(tmp_path: Path, age_s: float, stays: bool) -> None:
    part, old = _left(tmp_path, ".part-1-abc", age_s), _left(tmp_path, "old", 30 * DAY_S)
    keep(tmp_path, _name(b"new"), b"new", limit_bytes=50)
    assert part.exists() is stays and not old.exists()


@pytest.mark.parametrize("kind", ["folder", "full folder", "link to a folder", "dangling link", "pipe"])
def test_what_is_no_file_is_left_and_not_counted(tmp_path: Path, kind: str) -> None:
    folder, other, elsewhere = tmp_path / "cache", tmp_path / "cache" / "other", tmp_path / "elsewhere"
    elsewhere.mkdir()
    folder.mkdir()
    if "link" in kind:
        other.symlink_to(elsewhere if kind == "link to a folder" else tmp_path / "nowhere")
    elif kind == "pipe":
        os.mkfifo(other)
    else:
        other.mkdir()
        if kind == "full folder":
            (other / "file").write_bytes(bytes(1000))
    fits, old = _left(folder, "fits", HOUR_S), _left(folder, "old", DAY_S)
    keep(folder, _name(b"new"), b"new", limit_bytes=103)
    assert os.path.lexists(other) and fits.exists() and not old.exists()


def test_a_folder_in_the_place_of_a_file_is_said(tmp_path: Path) -> None:
    (tmp_path / _name(b"new")).mkdir()
    assert kept(tmp_path, _name(b"new")) is None
    with pytest.raises(Closed, match=f"Is a directory: .*{_name(b'new')}"):
        keep(tmp_path, _name(b"new"), b"new")
    assert [path.name for path in tmp_path.iterdir()] == [_name(b"new")]


@pytest.mark.parametrize("read", [True, False])
def test_a_network_larger_than_the_limit_is_kept_whole(tmp_path: Path, read: bool) -> None:
    """Its segments were sent now, or some lay here and were read; what else earlier sessions left is given up."""
    segments = [bytes([number]) * 100 for number in range(3)]
    left = _left(tmp_path, "left", HOUR_S)
    if read:
        (tmp_path / _name(segments[0])).write_bytes(segments[0])
        os.utime(tmp_path / _name(segments[0]), (0, 0))
    for data in [each for each in segments if kept(tmp_path, _name(each)) is None]:
        keep(tmp_path, _name(data), data, limit_bytes=150)
    assert [kept(tmp_path, _name(data)) for data in segments] == segments
    assert not left.exists()


def test_a_long_session_gives_up_what_it_used_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_files, "_NEEDED", 2)
    first, second, third, fourth = (bytes([number]) * 100 for number in range(4))
    for data in (first, second):
        keep(tmp_path, _name(data), data, limit_bytes=150)
    assert kept(tmp_path, _name(first)) == first
    keep(tmp_path, _name(third), third, limit_bytes=150)
    assert kept(tmp_path, _name(second)) == second  # nothing was given up when it was one of the last two
    keep(tmp_path, _name(fourth), fourth, limit_bytes=150)
    assert [kept(tmp_path, _name(data)) is not None for data in (first, second, third, fourth)] == [
        False,
        True,
        True,
        True,
    ]


@pytest.fixture
def homeless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a user without a home."""

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / f"hwnas-board-{os.getuid()}"


@pytest.mark.parametrize("there", [False, True])
def test_without_a_home_files_lie_in_a_folder_of_ours(homeless: Path, there: bool) -> None:
    if there:
        homeless.mkdir()
    assert kept_files.folder() == homeless == kept_files.folder()
    assert there or homeless.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("kind", ["another's", "link", "dangling link", "file"])
def test_a_folder_that_is_not_ours_is_not_used(homeless: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    real = os.getuid()
    if kind == "another's":
        if real != 0:
            pytest.skip("only root can give a folder away")
        homeless.mkdir()
        os.chown(homeless, 12345, 12345)
    elif kind == "file":
        homeless.write_text("")
    else:
        trap = homeless.with_name("trap")
        if kind == "link":
            trap.mkdir()
        homeless.symlink_to(trap)
    found = kept_files.folder()
    assert found != homeless and found.parent == homeless.parent and not found.is_symlink()
    assert found.stat().st_uid == real and found.stat().st_mode & 0o077 == 0
    assert kept_files.folder() == found  # the next session finds what this one left
    keep(found, _name(b"new"), b"new")
    assert kept(found, _name(b"new")) == b"new" and not (homeless.parent / "trap" / _name(b"new")).exists()


def test_a_folder_that_cannot_be_made_is_said_by_who_keeps(homeless: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/proc/nothing")
    with pytest.raises(Closed):
        keep(kept_files.folder(), _name(b"new"), b"new")
