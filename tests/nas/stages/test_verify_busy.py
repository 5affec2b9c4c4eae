"""A core that others use: what cannot be measured keeps no budget and breaks none, and is measured again."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

from nas.devices.measurement import Measurement
from nas.devices.timing import measuring
from nas.process.files import read_jsonl
from nas.run.layout import RunFiles
from nas.run.verdict_files import load_verdicts
from nas.stages import train
from tests.nas.opened_runs import rewind, untrained
from tests.nas.small_runs import SMALL, Command, write

#: A CPU clock of milliseconds that says that we have the core half of the time.
BUSY_AND_COARSE = measuring.Clocks(cpu=lambda: round(time.process_time() / 2, 3))


def test_a_winner_that_cannot_be_measured_neither_keeps_nor_breaks_its_budget(
    run: Path, nas: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as busy:
        busy.setattr(measuring, "Clocks", lambda: BUSY_AND_COARSE)
        done = nas("verify", str(run))
    assert done.code == 3 and "not measurable: the core was busy in 3 of 3 blocks" in " ".join(done.out.split())
    verdicts = load_verdicts(RunFiles(run))
    assert verdicts.tested and not verdicts.kept
    for verdict in verdicts.winners:
        assert verdict.kept is verdict.within_budget is verdict.measured_s is verdict.upper_95_s is None
        assert verdict.contended and verdict.reason.startswith("not measurable: the core was busy")
    rows = [Measurement.from_dict(row) for row in read_jsonl(run / "measurements.jsonl")]
    refused = [row for row in rows if row.refused]
    assert len(refused) == len(SMALL["budgets"]) and not any(row.broken for row in refused)
    assert all(row.worst_upper_s == np.inf and row.contended and row.exits[-1].cpu_s == () for row in refused)
    record = json.loads((run / "verify.json").read_text())
    assert [winner["attempts"][-1]["kept"] for winner in record["winners"]] == [None, None]
    assert nas("report", str(run)).code == 0
    assert nas("verify", str(run)).code == 0, "the machine is quiet again"
    assert load_verdicts(RunFiles(run)).kept


@pytest.mark.slow
def test_candidates_that_cannot_be_measured_are_said_to_be_so_and_are_measured_later(
    run: Path, nas: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    rewind(run, "search")
    monkeypatch.setattr(train, "_train", untrained)
    with monkeypatch.context() as busy:
        busy.setattr(measuring, "Clocks", lambda: BUSY_AND_COARSE)
        assert nas("run", write(run.parent, SMALL), "--out", str(run), "--resume").code == 3
    unmet = load_verdicts(RunFiles(run)).unmet
    assert [budget.name for budget, _ in unmet] == [budget["name"] for budget in SMALL["budgets"]]
    for _, statement in unmet:
        assert "2 were not measurable: the core was busy in 3 of 3 blocks" in statement
    done = nas("run", write(run.parent, SMALL), "--out", str(run), "--resume")
    assert done.code == 0, "the machine is quiet again"
    verdicts = load_verdicts(RunFiles(run))
    assert verdicts.kept and not verdicts.unmet and len(verdicts.winners) == len(SMALL["budgets"])


@pytest.mark.slow
def test_a_run_whose_winners_could_not_be_measured_goes_on_with_them(
    run: Path, nas: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as busy:
        busy.setattr(measuring, "Clocks", lambda: BUSY_AND_COARSE)
        assert nas("verify", str(run)).code == 3
    before = [verdict.key for verdict in load_verdicts(RunFiles(run)).winners]
    assert nas("run", write(run.parent, SMALL), "--out", str(run), "--resume").code == 0
    verdicts = load_verdicts(RunFiles(run))
    assert verdicts.kept and [verdict.key for verdict in verdicts.winners] == before
