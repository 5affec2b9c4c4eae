"""The same as over a pipe to another Python here, through ssh, on a user who has no rights and none of our packages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nas.devices.board.addresses import Address
from nas.devices.board.connection import Connection
from tests.boards.faults import DESK, PROFILE, STREAM, readings, timed, tiny
from tests.boards.sshd import Board
from tests.nas.small_runs import Command, write

pytestmark = pytest.mark.usefixtures("own_settings")


@pytest.fixture(autouse=True)
def no_timing_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is timed in this process fails."""

    def refuse(*_: object) -> None:
        raise AssertionError("timed on the host")

    monkeypatch.setattr("nas.devices.local.time_cascades", refuse)


def test_a_board_is_added_and_timed(over_ssh: Board, nas: Command) -> None:
    added = nas("devices", "add", "desk", "--at", over_ssh.command)
    assert (added.code, added.err) == (0, "") and "onnxruntime " in added.out and "tvm" not in added.out
    connection = Connection("desk", Address(over_ssh.command))
    timed(connection)
    assert (over_ssh.home / ".cache" / "hwnas-board").is_dir()
    # The plug is pulled, and put in again.
    over_ssh.end_all()
    timed(connection)
    assert connection.generation == 2
    connection.close()


def test_a_host_that_is_not_there_is_said(over_ssh: Board, nas: Command) -> None:
    other = over_ssh.command.replace("@127.0.0.1", "@127.0.0.2").replace("-p ", "-o ConnectTimeout=2 -p 1")
    said = nas("devices", "add", "desk", "--at", other).error
    assert "cannot be reached: ssh" in said and "its last words: " in said
    stranger = over_ssh.command.replace(f"{over_ssh.user}@", "nobody@")
    assert "Permission denied" in nas("devices", "add", "desk", "--at", stranger).error


@pytest.mark.slow
def test_a_run_is_kept_there(over_ssh: Board, nas: Command, tmp_path: Path) -> None:
    assert nas("devices", "add", "desk", "--at", over_ssh.command).code == 0
    profiled = nas("profile", "desk", *PROFILE)
    assert profiled.code == 0 and "3 readings taken" in profiled.out
    done = nas("run", write(tmp_path, tiny(target=DESK, budgets=[STREAM])), "--out", "run")
    assert done.code == 0 and "kept" in done.out
    rows = [json.loads(line) for line in readings(tmp_path / "run", "desk")]
    # What `nas profile` measured there is its calibration.
    assert {row["purpose"] for row in rows} == {"candidate", "winner"}
    assert {row["conditions"]["reached"] for row in rows} == {"desk"}
