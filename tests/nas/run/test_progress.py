"""How far a run has come is read from its files: complete is only what ended, and nothing stops the question."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nas.process.files import append_jsonl, read_jsonl
from nas.run.layout import RunFiles
from nas.run.progress import progress_of, trained
from tests.nas.small_runs import Command


def cut(run: Path, stage: str, event: str) -> None:
    """Let the log end where a stage began or ended."""
    rows = read_jsonl(run / "log.jsonl")
    last = max(at for at, row in enumerate(rows) if (row["event"], row.get("stage")) == (event, stage))
    (run / "log.jsonl").unlink()
    append_jsonl(run / "log.jsonl", rows[: last + 1])


def test_a_run_that_ended(finished: Path) -> None:
    found = progress_of(RunFiles(finished))
    assert found.begun and found.ended and found.kept and found.fits and not found.lost and not found.problem
    assert found.stage == "" and found.spent_s > 1 and found.judged == 12 and found.trained
    assert len(found.best) == 2 and all(best is not None and 0 < best <= 1 for best in found.best)
    assert {verdict.name for verdict in found.verdicts.winners} == {"worst", "mean"}


def test_nothing_began_where_nothing_is(tmp_path: Path) -> None:
    assert not progress_of(RunFiles(tmp_path / "nothing")).begun and not trained(RunFiles(tmp_path))


@pytest.mark.parametrize("stage", ["calibrate", "supernet", "search", "train", "export", "verify", "test", "report"])
@pytest.mark.parametrize("event", ["begin", "end"])
def test_a_run_that_was_interrupted_is_not_complete(stage: str, event: str, run: Path) -> None:
    cut(run, stage, event)
    found = progress_of(RunFiles(run))
    assert found.ended == found.kept == (stage == "report" and event == "end")
    assert (found.stage, found.since_s > 0) == ((stage, True) if event == "begin" else ("", False))
    assert (
        found.trained
        == trained(RunFiles(run))
        == (stage not in ("calibrate", "supernet") or (stage, event) == ("supernet", "end"))
    )


@pytest.mark.parametrize("gone", ["report.html", "test.json", "verify.json"])
def test_a_run_that_lacks_what_it_left_last_is_not_complete(gone: str, run: Path) -> None:
    (run / gone).unlink()
    assert not progress_of(RunFiles(run)).ended


def test_the_page_of_an_interrupted_run_does_not_make_it_complete(run: Path, nas: Command) -> None:
    cut(run, "train", "begin")
    assert nas("report", "run").code == 0
    assert not progress_of(RunFiles(run)).ended
    assert "run: interrupted" in nas("status", "run").out


def test_a_run_that_goes_on_is_not_complete_any_more(run: Path) -> None:
    append_jsonl(run / "log.jsonl", [{"time": 1.0, "event": "begin", "stage": "calibrate"}])
    assert not progress_of(RunFiles(run)).ended


@pytest.mark.parametrize("lost", [{"event": "device lost", "device": "pi4"}])
def test_a_device_that_was_lost_is_known_until_it_came_back(lost: dict[str, Any], run: Path) -> None:
    rows = read_jsonl(run / "log.jsonl")
    (run / "log.jsonl").unlink()
    append_jsonl(run / "log.jsonl", [rows[0], lost, *rows[1:]])
    assert progress_of(RunFiles(run)).lost
    append_jsonl(run / "log.jsonl", rows)
    found = progress_of(RunFiles(run))
    assert found.ended and not found.lost


@pytest.mark.parametrize("name", ["log.jsonl", "trials.jsonl"])
def test_a_file_that_is_damaged_is_told(name: str, run: Path, nas: Command) -> None:
    lines = (run / name).read_bytes().splitlines(keepends=True)
    (run / name).write_bytes(b"".join([*lines[:2], b"{\n", *lines[3:]]))
    assert name in progress_of(RunFiles(run)).problem
    told = nas("status", "run")
    assert told.code == 0 and f"{name}, line 3 is not JSON" in told.out


def test_names_of_stages_are_those_of_runs(finished: Path) -> None:
    """What progress looks for in the log is what the order of stages writes there."""
    written = {row["stage"] for row in read_jsonl(finished / "log.jsonl") if row["event"] == "end"}
    assert {"calibrate", "supernet", "test", "report"} <= written
