"""A budget of a percentile, from the experiment to the verdict, through the command."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from nas.process.files import read_json, read_jsonl
from tests.nas.small_runs import Command, small, write

BUDGETS = [{"latency": "200 ms", "of": "p95"}]


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody who works beside this test refuse its readings."""
    for name in ("SINGLE_QUIET_SHARE", "SINGLE_WAITED_SHARE", "SINGLE_STOLEN_SHARE", "REFERENCE_DRIFT"):
        monkeypatch.setattr(f"nas.devices.timing.single_calls.{name}", math.inf)


@pytest.mark.usefixtures("quiet")
def test_a_percentile_is_learned_predicted_measured_and_kept(nas: Command, tmp_path: Path) -> None:
    verify = {**small()["verify"], "samples": 299}
    experiment = small(
        budgets=BUDGETS, verify=verify, search={"evaluations": 6, "batch": 3, "images": 100, "calibration_images": 64}
    )
    ended = nas("run", write(tmp_path, experiment), "--out", "run")
    assert ended.code == 0, ended
    (winner,) = read_json(tmp_path / "run" / "verify.json", "")["winners"]
    # Whichever network wins: with early exits, images leave at them.
    streamed = len(winner["exits"]) > 1
    assert winner["single_calls"]["over_images"] is streamed
    words = "95th percentile of single calls over a stream of images" if streamed else "95 % of single calls"
    assert "p95-200ms: kept" in ended.out and words in ended.out
    rows = read_jsonl(tmp_path / "run" / "measurements.jsonl")
    learned = [row for row in rows if row["purpose"] == "single_calls"]
    assert len(learned) == 3 and all(row["exits"][-1]["calls"] >= 180 for row in learned)
    calls = winner["single_calls"]
    assert winner["measured_s"] == calls["p95_s"] < winner["upper_95_s"] and winner["predicted_s"] > 0
    assert len(calls["shares"]) == len(calls["seconds"]) == 201 and calls["seconds"] == sorted(calls["seconds"])
    assert "at most 200" in (page := (tmp_path / "run" / "report.html").read_text()) and "for 95 of 100 calls" in page
    again = nas("run", "experiment.yaml", "--out", "run", "--resume")
    assert again.code == 0
    after = read_jsonl(tmp_path / "run" / "measurements.jsonl")
    assert [row for row in after if row["purpose"] == "single_calls"] == learned


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        ({"latency": "8 ms", "of": "p95", "every": "5 ms"}, "may take 8.00 ms"),
        ({"latency": "8 ms", "every": "33 ms"}, "only percentiles"),
        ({"latency": "8 ms", "of": "p99", "every": 33}, "has no unit"),
        ({"latency": "8 ms", "of": "p99", "every": "-1 ms"}, "impossible"),
        ({"latency": "8 ms", "of": "p98"}, "'p95' or 'p99'"),
        ({"latency": "8 ms", "of": "p99", "evry": "33 ms"}, "every"),
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_one_line(nas: Command, tmp_path: Path, budget: dict[str, object], words: str) -> None:
    message = nas("run", write(tmp_path, small(budgets=[budget])), "--out", "run").error
    assert words in message and "budget" in message and not (tmp_path / "run").exists()


def test_budgets_are_told_apart_by_their_names(nas: Command, tmp_path: Path) -> None:
    of_one = [{"latency": "8 ms", "of": "p99"}, {"latency": "8 ms", "of": "p95"}, {"latency": "8 ms"}]
    with_duty = [{**each, "every": "33 ms"} for each in of_one[:2]]
    ended = nas("check", write(tmp_path, small(budgets=of_one + with_duty)))
    assert ended.code in (0, 3), ended
    for name in ("p99-8ms", "p95-8ms", "worst-8ms", "p99-8ms-every-33ms", "p95-8ms-every-33ms"):
        assert name in ended.out.replace("\n", "")
