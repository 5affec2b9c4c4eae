"""A run goes on without a board that is lost, says what is missing, and is completed when the board is back."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.boards.faults import DESK, PROFILE, Faulty, readings, tiny, verdicts
from tests.nas.small_runs import Command, hashes, write

TWO = tiny(
    budgets=[
        {"name": "here", "latency": "200 ms"},
        {"name": "there", "latency": "200 ms", "of": "expected", "target": DESK},
    ],
)
TIMED = '"ask": "time"'


def kill(**where: Any) -> dict[str, Any]:
    return {"kind": "kill", "value": None, **where}


@pytest.mark.slow
@pytest.mark.parametrize(
    "moment",
    [pytest.param(kill(seen=TIMED), id="calibrating"), pytest.param(kill(seen='"ask": "leaving"'), id="verifying")],
)
def test_a_run_loses_a_board_and_gets_it_back(
    nas: Command, faulty: Faulty, tmp_path: Path, moment: dict[str, Any]
) -> None:
    assert nas("devices", "add", "desk", "--at", faulty.at).code == 0
    experiment = write(tmp_path, TWO)
    faulty.break_with(moment)
    done = nas("run", experiment, "--out", "run")
    assert done.code == 3, done
    assert done.err == "" and "desk is gone" in done.out
    run = tmp_path / "run"
    found = verdicts(run)
    assert found["here"].within_budget is True
    assert found["there"].within_budget is None and found["there"].measured_s is None
    assert found["there"].reason.startswith("desk is gone") and "--resume" in found["there"].reason
    assert "desk is gone" in (run / "report.html").read_text()
    here, there, kept = readings(run, "host"), readings(run, "desk"), hashes(run / "winners" / "here")
    assert kept
    faulty.break_with()
    again = nas("run", experiment, "--out", "run", "--resume")
    assert again.code == 0, again
    assert all(verdict.within_budget for verdict in verdicts(run).values())
    # What was there stays there.
    assert readings(run, "host")[: len(here)] == here and readings(run, "desk")[: len(there)] == there
    assert kept.items() <= hashes(run / "winners" / "here").items()


@pytest.mark.slow
def test_readings_of_one_board_stand_where_another_is_lost(nas: Command, faulty: Faulty, tmp_path: Path) -> None:
    assert nas("devices", "add", "desk", "--at", faulty.at).code == 0
    assert nas("devices", "add", "bench", "--at", sys.executable).code == 0
    bench = {**DESK, "device": "bench"}
    both = tiny(
        budgets=[
            {"name": "lost", "latency": "200 ms", "of": "expected", "target": DESK},
            {"name": "kept", "latency": "200 ms", "target": bench},
            {"name": "here", "latency": "200 ms"},
        ],
    )
    faulty.break_with(kill(seen='"ask": "leaving"'))
    done = nas("run", write(tmp_path, both), "--out", "run")
    assert done.code == 3 and done.out.count("desk is gone") >= 1, done
    found = verdicts(tmp_path / "run")
    assert found["lost"].within_budget is None and found["lost"].reason.startswith("desk is gone")
    assert found["kept"].within_budget is True and found["here"].within_budget is True
    for device in ("bench", "host"):
        purposes = [json.loads(line)["purpose"] for line in readings(tmp_path / "run", device)]
        assert purposes.count("winner") == 1, device


@pytest.mark.slow
def test_a_profile_goes_on_where_its_board_was_lost(nas: Command, faulty: Faulty, tmp_path: Path) -> None:
    assert nas("devices", "add", "desk", "--at", faulty.at).code == 0
    faulty.break_with(kill(seen=TIMED, nth=2, starts=1), kill(seen=TIMED, since=1))
    lost = nas("profile", "desk", *PROFILE)
    assert lost.code == 4 and lost.err.count("\n") == 1, lost
    assert "desk is gone" in lost.err and "same command" in lost.err
    readings = next((tmp_path / "hardware_profiles").rglob("readings.jsonl"))
    before = readings.read_text()
    assert 1 <= before.count("\n") - 1 < 3
    faulty.break_with()
    again = nas("profile", "desk", *PROFILE)
    assert again.code == 0 and readings.read_text().startswith(before)
