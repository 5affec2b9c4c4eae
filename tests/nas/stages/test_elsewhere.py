"""The winners of a run are measured on a device that its budgets do not name."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from nas.run.elsewhere import load_elsewhere
from nas.run.layout import RunFiles
from tests.nas.small_runs import Command, hashes


@pytest.fixture
def desk(nas: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A board that is another Python of this machine."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert nas("devices", "add", "desk", "--at", sys.executable).code == 0
    return "desk"


def test_it_is_said_kept_and_shown_beside_the_verdicts(nas: Command, run: Path, desk: str) -> None:
    before = hashes(run)
    done = nas("verify", str(run), "--device", desk)
    assert done.code == 0, done
    assert done.out.count("within 200 ms") == 2 and "mean over images" in done.out
    rows = load_elsewhere(RunFiles(run))
    assert [(row.device, row.budget, row.within) for row in rows] == [(desk, "worst", True), (desk, "mean", True)]
    changed = {name for name, value in hashes(run).items() if before.get(name) != value}
    assert changed == {"elsewhere.json", "log.jsonl"}, "no verdict hangs on it"
    assert nas("report", str(run)).code == 0
    assert "Measured on other devices" in (run / "report.html").read_text()


def test_a_device_that_is_not_within_reach_is_one_line(nas: Command, run: Path, desk: str) -> None:
    assert "neither this machine nor a board" in nas("verify", str(run), "--device", "rpi5").error
    assert "no device profile is called" in nas("verify", str(run), "--device", "nothing").error
    assert nas("devices", "remove", desk).code == 0
    assert "no device profile is called" in nas("verify", str(run), "--device", desk).error
    assert not (run / "elsewhere.json").exists()
