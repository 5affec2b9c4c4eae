"""What a board lacks, or loses under way, is said; what a host loses leaves nothing behind on the board."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nas.devices.base import DeviceLost
from nas.devices.board import connection as connections
from nas.devices.board import frames, kept_files
from tests.boards.faults import Faulty, timed
from tests.documents import ROOT


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for a page."""
    place = tmp_path / "full"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root can mount a small file system")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_said(faulty: Faulty, tmp_path: Path, full_disk: Path) -> None:
    board = Faulty(tmp_path, XDG_CACHE_HOME=str(full_disk))
    connection = board.connection()
    with pytest.raises(DeviceLost, match=r"^desk has a full disk \(No space left on device.*\): make room there$"):
        timed(connection)
    assert (
        not list(full_disk.rglob("*.part*")) and connection.answered(lambda: connection.ask("missing", sha256=[])) == []
    )
    connection.close()


@pytest.mark.parametrize("place", ["/proc/hwnas", "/dev/null", "/dev/null/below"])
def test_a_folder_that_refuses_is_said(faulty: Faulty, tmp_path: Path, place: str) -> None:
    connection = Faulty(tmp_path, XDG_CACHE_HOME=place).connection()
    with pytest.raises(DeviceLost, match=r"^desk cannot keep files \(.*\): .*XDG_CACHE_HOME"):
        timed(connection)
    connection.close()


def test_kept_files_are_those_that_were_sent(faulty: Faulty, tmp_path: Path) -> None:
    connection = faulty.connection()
    timed(connection)
    folder = tmp_path / "cache" / "hwnas-board"
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    connection.close()
    timed(connection)
    assert all(kept_files.kept(folder, path.name) is not None for path in folder.iterdir())
    connection.close()


def test_an_interrupted_question_is_not_answered_later(faulty: Faulty, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = faulty.connection()
    with monkeypatch.context() as patch:
        patch.setattr(connections.Connection, "_heard", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            timed(connection)
    assert connection.answered(lambda: connection.ask("has_samples", sha256="")) is False
    timed(connection)
    connection.close()


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_board_that_only_cannot_say_farewell_has_given_its_readings(faulty: Faulty) -> None:
    faulty.break_with({"kind": "kill", "value": None, "way": "to", "seen": '"ask": "close"'})
    connection = faulty.connection()
    timed(connection)
    connection.close()


HOST = """
import sys
from pathlib import Path
from tests.boards.faults import artefacts, TARGET, PLAN
from dataclasses import replace
from nas.devices.base import Wanted
from nas.devices.board.addresses import Address
from nas.devices.board.connection import Connection
from nas.devices.board.device import Board
from nas.testing import deployed
with Board(TARGET, Connection("desk", Address(sys.argv[1], deadline_s=4.0))).open(artefacts()) as session:
    print("timing", flush=True)
    plan = replace(PLAN, block_s=60.0)
    session.time([Wanted("two exits", (1,), 2)], [deployed.samples()[:1]], plan)
"""


@pytest.mark.parametrize("way", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_host_that_is_killed_leaves_nothing_there(faulty: Faulty, way: signal.Signals) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-P", "-c", HOST, faulty.at]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment) as host:
        assert host.stdout is not None and host.stdout.readline() == b"timing\n"
        time.sleep(0.5)
        assert faulty.left()
        host.send_signal(way)
    faulty.require_gone()


def test_every_changed_byte_of_a_message_is_noticed() -> None:
    message = frames.pack({"ask": "file", "data": b"abc", "begin": 3})
    size = frames.HEAD.size
    assert _unpacked(message, size)["data"] == b"abc"
    for place in range(len(message)):
        changed = message[:place] + bytes([message[place] ^ 4]) + message[place + 1 :]
        with pytest.raises(frames.Garbled):
            _unpacked(changed, size)


def _unpacked(message: bytes, size: int) -> dict[str, object]:
    text, payload = frames.lengths(message[:size])
    body = message[size:] + bytes(64)  # what comes after it
    if size + text + payload > len(message) + 64:
        raise frames.Garbled("more is waited for")
    found: dict[str, object] = frames.unpack(message[:size], body[:text], body[text : text + payload], {})
    return found
