"""Verify: budgets that nothing keeps, winners that break theirs in the end, and a device that is elsewhere."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hardware_profiles import load
from nas.config import dump, parse
from nas.config.budget import Budget
from nas.devices.base import Times
from nas.devices.conditions import Conditions
from nas.devices.local import InProcessSession
from nas.devices.measurement import ExitTime
from nas.devices.timing import rounds
from nas.process.files import append_jsonl, atomic_write_json, atomic_write_text, read_jsonl
from nas.run.layout import EXPERIMENT, REPORT, RunFiles
from nas.run.verdict_files import load_verdicts
from nas.search import winner_readings
from nas.search.selection import choose
from nas.stages import train, verify
from tests.nas.opened_runs import HERE, opened, rewind, taking, told, untrained
from tests.nas.small_runs import SMALL, Command, small, write

#: Other tests do without.
REST_S = winner_readings.GAP_S


def test_rounds_of_a_verification_lie_apart_in_time(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rests: list[float] = []
    monkeypatch.setattr(winner_readings, "GAP_S", REST_S)
    monkeypatch.setattr(rounds, "time", SimpleNamespace(sleep=rests.append))
    with opened(run) as context:
        verify.measure_winners(context)
    assert rests == [REST_S] * (SMALL["verify"]["blocks"] - 1) and REST_S > 1


def test_a_budget_that_no_candidate_keeps_is_said_not_to_be_kept(
    run: Path, nas: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    rewind(run, "search")
    monkeypatch.setattr(InProcessSession, "time", told(taking(1.0)))
    done = nas("run", write(run.parent, SMALL), "--out", str(run), "--resume")
    assert done.code == 3 and done.err == ""
    verdicts = load_verdicts(RunFiles(run))
    assert verdicts.tested and not verdicts.kept and not verdicts.winners
    for (unmet, statement), budget in zip(verdicts.unmet, SMALL["budgets"], strict=True):
        assert unmet.name == budget["name"]
        assert "none kept it; the fastest took 1.00 s" in statement and "Raise the budget" in statement
        assert f"{budget['name']}: not kept" in done.out
    measured = [row for row in read_jsonl(run / "measurements.jsonl") if row["purpose"] == "candidate"]
    assert 0 < len(measured) <= 2 * parse.experiment(small()).winners.attempts
    assert not list((run / "winners").glob("*/*"))
    assert "not kept" in (run / "report.html").read_text()


def test_winners_that_break_their_budget_in_the_end_are_not_called_kept(
    run: Path, nas: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every verification finds the budget broken: others are tried, a bounded number of times, and none is kept."""
    rewind(run, "search")
    measure = InProcessSession.time

    def longer(time: ExitTime | None) -> ExitTime | None:
        return time and replace(time, median_s=time.median_s * 1e5, upper_95_s=time.upper_95_s * 1e5)

    def slowed(session: Any, wanted: Any, *rest: Any, **named: Any) -> dict[str, Times]:
        times = measure(session, wanted, *rest, **named)
        if wanted[0].purpose != "winner":
            return times
        return {name: Times(tuple(map(longer, t.to_exits)), longer(t.stream)) for name, t in times.items()}

    monkeypatch.setattr(InProcessSession, "time", slowed)
    monkeypatch.setattr(train, "_train", untrained)
    assert nas("run", write(run.parent, SMALL), "--out", str(run), "--resume").code == 3
    verdicts = load_verdicts(RunFiles(run))
    assert not verdicts.kept and verdicts.winners and all(verdict.kept is False for verdict in verdicts.winners)
    for name in ("worst", "mean"):
        rows = [row for row in read_jsonl(run / "measurements.jsonl") if row["budget"] == name]
        tried = [row["key"] for row in rows if row["purpose"] == "winner"]
        assert len(tried) == len(set(tried)) == SMALL["winners"]["attempts"]
        assert all(row["broken"] == [name] for row in rows if row["purpose"] == "winner")
        # What was trained is still there, the last one as the budget's network, with what was measured of each.
        last = next(verdict for verdict in verdicts.winners if verdict.name == name)
        folders = list((run / "not_kept" / name).iterdir())
        assert {folder.name for folder in folders} == {key[:16] for key in tried if key != last.key}
        for folder in folders:
            record = json.loads((folder / "verdict.json").read_text())
            assert record["within_budget"] is False and record["upper_95_s"] > record["budget_s"]
            assert (folder / "weights.safetensors").exists() and (folder / "model.onnx").exists()
        assert (run / "winners" / name / "weights.safetensors").exists() and last.test_accuracy is not None
        assert all(f"not_kept/{name}/{folder.name}" in (run / "report.html").read_text() for folder in folders)


def test_a_network_that_did_not_keep_its_budget_keeps_it_after_one_more_reading_than_were_above(
    run: Path, nas: Command
) -> None:
    row = next(row for row in reversed(read_jsonl(run / "measurements.jsonl")) if row["budget"] == "worst")
    append_jsonl(run / "measurements.jsonl", [row | {"broken": ["worst"]}])
    before = len(read_jsonl(run / "measurements.jsonl"))
    assert nas("verify", str(run)).code == 0
    taken = [row for row in read_jsonl(run / "measurements.jsonl")[before:] if row["budget"] == "worst"]
    assert len(taken) == 2 and not any(row["broken"] for row in taken)
    assert next(v for v in load_verdicts(RunFiles(run)).winners if v.name == "worst").kept


def test_where_nothing_else_is_left_what_was_trained_stays_as_not_kept(
    run: Path, nas: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound was just above the budget once: weights, accuracy and readings stay, and the run ends with 3."""
    with opened(run) as context:
        rows = read_jsonl(run / "measurements.jsonl")
        keys = {row["key"] for row in rows if row["budget"] == "worst" and row["purpose"] == "winner"}
        chosen = [row for row in rows if row["key"] in keys and row["budget"] == "worst"][-1]
        append_jsonl(run / "measurements.jsonl", [chosen | {"broken": ["worst"]}])
        monkeypatch.setattr("nas.search.selection._choose", lambda *_: "nothing else keeps it")
        winners, unmet = choose(context)
    assert not unmet and winners["worst"].trial.key == chosen["key"]
    assert (run / "winners/worst/weights.safetensors").exists()


def test_a_device_elsewhere_is_predicted_and_its_winner_is_not_called_measured(
    run: Path, nas: Command, tmp_path: Path
) -> None:
    """The supernet is the same; only what latencies hold for is another."""
    away = small(target={"device": "rpi4b", "runner": "onnxruntime"})
    experiment = parse.experiment(away)
    rewind(run, "supernet")
    (run / "latency_model.npz").unlink()
    environment = json.loads((run / "environment.json").read_text())
    environment["profiles"]["rpi4b"] = load("rpi4b").to_dict()
    atomic_write_json(run / "environment.json", environment)
    atomic_write_text(run / EXPERIMENT, dump.to_yaml(experiment))
    done = nas("run", write(tmp_path, away), "--out", str(run), "--resume")
    assert done.code == 3 and "not measured" in done.out
    verdicts = load_verdicts(RunFiles(run))
    page = (run / REPORT).read_text()
    assert verdicts.winners and not verdicts.kept
    for verdict in verdicts.winners:
        assert verdict.kept is None and verdict.measured_s is None
        assert "rpi4b is not this machine" in verdict.reason
        # Five boards were several times slower than their sheets, and not all alike.
        assert verdict.predicted_s is not None and verdict.predicted_90_s is not None
        low, high = verdict.predicted_90_s
        assert verdict.predicted_s / low == pytest.approx(high / verdict.predicted_s) and high > 2.5 * low
        assert verdict.prediction.endswith("; more than 99 % likely within the budget")
        assert verdict.prediction in done.out and f"Not measured: {verdict.prediction}." in page
        assert verdict.target == "rpi4b-onnxruntime-t1-b1-float32"
        # At least what the board uses when idle, at most what it is sold for.
        seconds = verdict.expected_s if verdict.budget.needs_thresholds else verdict.worst_case_s
        assert seconds is not None and verdict.energy_j is not None and not verdict.no_energy
        assert 2.7 * seconds < verdict.energy_j < 7.5 * seconds
    assert {row["target"] for row in read_jsonl(run / "measurements.jsonl")} == {HERE.key}


@pytest.mark.parametrize(
    ("change", "upper_s", "refused"),
    [
        ({}, 6e-3, ""),
        ({"single_refused": "busy", "p99_upper_s": math.inf}, math.inf, "busy"),
        ({"refused": "coarse"}, 6e-3, "coarse"),
        ({"calls": 0, "p99_upper_s": math.inf}, math.inf, "no single calls"),
    ],
    ids=str,
)
def test_a_percentile_is_decided_by_its_own_bound_or_not_at_all(
    change: dict[str, Any], upper_s: float, refused: str
) -> None:
    """What is refused is no reading within the budget, however fast calls in a row were."""
    early, last = ExitTime(5e-4, 6e-4), ExitTime(1e-3, 1.1e-3, p95_s=2e-3, p99_s=5e-3, calls=900, p99_upper_s=6e-3)
    times = Times((early, replace(last, **change)))
    taken = winner_readings.Taken(times, np.array([0.0, 1.0]), Conditions("runtime", 1))
    budget = Budget(8e-3, "p99", "late")
    measured_s, bound_s, why = winner_readings.deciding(budget, taken)
    assert (measured_s, bound_s) == (5e-3, upper_s) and refused in why and bool(refused) == bool(why)
    decided = winner_readings.as_decided(budget, times)
    assert decided[0] == early and bool(decided[-1].refused) == bool(refused)
    worst = Budget(8e-3, name="worst")
    assert (
        winner_readings.deciding(worst, taken)[:2] == (1e-3, 1.1e-3)
        and winner_readings.as_decided(worst, times)[-1].p99_s
    )
