"""A run goes on without a board that is lost, says what is missing, and is completed when the board is back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.boards.faults import Faulty
from tests.nas.small_runs import Command, hashes, small, write

DESK = {"device": "desk", "runner": "onnxruntime", "threads": 1}
TWO = small(
    budgets=[
        {"name": "here", "latency": "200 ms"},
        {"name": "there", "latency": "200 ms", "of": "expected", "target": DESK},
    ],
)
PROFILE = ("--runner", "onnxruntime", "--networks", "3", "--space", "toy", "--input", "1x8x8", "--classes", "4")
TIMED = '"ask": "time"'


def verdicts(run: Path) -> dict[str, Any]:
    record = json.loads((run / "verify.json").read_text())
    return {each["budget"]["name"]: each for each in record["verdicts"]}


def readings(run: Path, device: str) -> list[str]:
    lines = (run / "measurements.jsonl").read_text().splitlines()
    return [line for line in lines if json.loads(line)["target"].startswith(f"{device}-")]


def kill(**where: Any) -> dict[str, Any]:
    return {"kind": "kill", "value": None, **where}


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(kill(seen=TIMED), id="calibrating"),
        pytest.param(kill(seen='"ask": "leaving"'), id="verifying", marks=pytest.mark.slow),
    ],
)
def test_a_run_loses_a_board_and_gets_it_back(
    nas: Command, faulty: Faulty, tmp_path: Path, moment: dict[str, Any]
) -> None:
    assert nas("devices", "add", "desk", "--at", faulty.at).code == 0
    experiment = write(tmp_path, TWO)
    faulty.break_with(moment)
    done = nas("run", experiment, "--out", "run")
    assert done.code == 3, done
    assert "Traceback" not in done.err and "desk is gone" in done.err
    run = tmp_path / "run"
    found = verdicts(run)
    assert found["here"]["within_budget"] is True
    assert found["there"]["within_budget"] is None and found["there"]["measured_s"] is None
    assert found["there"]["reason"].startswith("desk is gone") and "--resume" in found["there"]["reason"]
    assert found["there"]["reason"] in (run / "report.html").read_text() or "desk is gone" in done.out
    here, kept = readings(run, "host"), hashes(run / "here") if (run / "here").exists() else {}
    there = readings(run, "desk")
    faulty.break_with()
    again = nas("run", experiment, "--out", "run", "--resume")
    assert again.code == 0, again
    assert all(verdict["within_budget"] for verdict in verdicts(run).values())
    # What was there stays there.
    assert readings(run, "host")[: len(here)] == here and readings(run, "desk")[: len(there)] == there
    print(done.out, done.err, again.out, again.err, kept.keys(), [p for p in run.iterdir()])


def test_a_profile_goes_on_where_its_board_was_lost(nas: Command, faulty: Faulty, tmp_path: Path) -> None:
    assert nas("devices", "add", "desk", "--at", faulty.at).code == 0
    faulty.break_with(kill(seen=TIMED, nth=2))
    lost = nas("profile", "desk", *PROFILE)
    assert lost.code == 4 and lost.err.count("\n") == 1, lost
    assert "desk is gone" in lost.err and "same command" in lost.err
    readings = next((tmp_path / "hardware_profiles").rglob("readings.jsonl"))
    before = readings.read_text()
    assert 1 <= before.count("\n") - 1 < 3
    faulty.break_with()
    again = nas("profile", "desk", *PROFILE)
    assert again.code == 0 and readings.read_text().startswith(before)
