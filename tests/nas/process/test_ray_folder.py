"""Folders of Ray clusters that were begun for one command: they go with it, or with the next one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nas.process import machine, ray_folder
from nas.process.lock import LOCK
from tests.documents import ROOT

#: Takes a folder below the first argument, as a command does whose cluster has begun, and says which.
TAKES = """
import sys
from pathlib import Path
from nas.process import machine, ray_folder
machine.FOLDER = Path(sys.argv[1])
folder, take_away = ray_folder.taken()
(folder / "session").mkdir()
(folder / "session" / "log").write_text("words")
print(folder, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where folders are made."""
    monkeypatch.setattr(machine, "FOLDER", tmp_path)
    return tmp_path


def taking(place: Path) -> tuple[subprocess.Popen[str], Path]:
    """Another command, and its folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", TAKES, str(place)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdout is not None
    with process.stdout as output:
        return process, Path(output.readline().strip())


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_what_a_killed_command_left_goes_with_the_next_one(place: Path) -> None:
    (killed, left), (other, used) = taking(place), taking(place)
    mine, take_away = ray_folder.taken()
    assert left.is_dir() and used.is_dir() and mine.is_dir(), "all of them are in use"
    killed.send_signal(signal.SIGKILL)
    end(killed)
    last, take_last_away = ray_folder.taken()
    assert not left.exists() and (used / "session" / "log").read_text() == "words" and mine.is_dir()
    take_away()
    take_last_away()
    end(other)
    assert not mine.exists() and not last.exists()


def test_what_is_somebody_else_s_stays(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of another user, a link to elsewhere, and a folder that somebody has just made."""
    killed, left = taking(place)
    end(killed)
    elsewhere = place / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / LOCK).write_text("1\n")
    (place / "nas-ray-link").symlink_to(elsewhere)
    (place / "nas-ray-new").mkdir()
    (place / "nas-ray-newer").mkdir()
    (place / "nas-ray-newer" / LOCK).touch()
    (place / "nas-ray-file").touch()
    before = sorted(place.iterdir())
    with monkeypatch.context() as patch:
        patch.setattr(os, "getuid", lambda: left.stat().st_uid + 1)
        ray_folder.taken()[1]()
    assert sorted(place.iterdir()) == before
    ray_folder.taken()[1]()
    assert sorted(place.iterdir()) == [path for path in before if path != left]
    assert (elsewhere / LOCK).exists()
