"""Shared weights of another run: taken as they are for other budgets, and refused where they would mislead."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nas.nn.weights import from_bytes, to_bytes
from nas.process.files import atomic_write_json, read_jsonl
from nas.run.reuse import take_weights
from tests.nas.opened_runs import opened
from tests.nas.small_runs import SMALL, Command, small, write


def _reusing(run: Path, **changes: Any) -> dict[str, Any]:
    supernet = {**SMALL["supernet"], "reuse": str(run), **changes.pop("supernet", {})}
    return small(supernet=supernet, **changes)


def test_another_budget_on_the_same_weights(finished: Path, nas: Command, tmp_path: Path) -> None:
    """Nothing is trained, even where the other run has gone in the meantime."""
    source = tmp_path / "source"
    shutil.copytree(finished, source)
    file = write(tmp_path, _reusing(source, budgets=[{"name": "other", "latency": "150 ms"}]))
    assert nas("search", file, "--out", "new").code == 0
    weights = (finished / "supernet.safetensors").read_bytes()
    assert (tmp_path / "new" / "supernet.safetensors").read_bytes() == weights
    events = read_jsonl(tmp_path / "new" / "log.jsonl")
    assert [event["supernet"] for event in events if event["event"] == "reused"] == [str(source)]
    trials = read_jsonl(tmp_path / "new" / "trials.jsonl")
    before = {row["key"]: row for row in read_jsonl(finished / "trials.jsonl")}
    shared = [row for row in trials if row["key"] in before]
    assert shared and all(
        row["metrics"]["final_accuracy"] == before[row["key"]]["metrics"]["final_accuracy"] for row in shared
    )
    assert nas("report", "new").code == 0
    assert f"<dd>of {source}</dd>" in (tmp_path / "new" / "report.html").read_text()
    shutil.rmtree(source)
    assert nas("search", file, "--out", "new", "--resume").code == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 1}, "was trained otherwise: seed was 0 there and is 1 here"),
        ({"splits": {"val": 0.2}}, "was trained otherwise: splits was"),
        ({"supernet": {"epochs": 3}}, "was trained otherwise: supernet was"),
        ({"supernet": {"reuse": "nowhere"}}, "'nowhere' is not a run: it has no experiment.yaml"),
    ],
)
def test_weights_that_would_mislead_are_refused_before_anything_is_written(
    changes: dict[str, Any], message: str, finished: Path, nas: Command, tmp_path: Path
) -> None:
    error = nas("run", write(tmp_path, _reusing(finished, **changes)), "--out", "new").error
    assert error.startswith("supernet.reuse: ") and message in error
    assert not (tmp_path / "new").exists()


def test_a_run_without_weights_is_refused(finished: Path, nas: Command, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "source")
    (tmp_path / "source" / "supernet.safetensors").unlink()
    error = nas("check", write(tmp_path, _reusing(tmp_path / "source"))).error
    assert "has no supernet.safetensors yet" in error


def test_images_that_have_changed_since_are_refused(finished: Path, nas: Command, tmp_path: Path) -> None:
    """Networks would be judged on images that the weights were trained on."""
    source, new = tmp_path / "source", tmp_path / "new"
    shutil.copytree(finished, source)
    file = write(tmp_path, _reusing(source))
    assert nas("search", file, "--out", "new").code == 0
    (new / "supernet.safetensors").unlink()
    environment = json.loads((source / "environment.json").read_text())
    environment["splits"]["val"]["sha256"] = "0" * 64
    atomic_write_json(source / "environment.json", environment)
    with opened(new) as context, pytest.raises(ValueError, match="trained on other images than the data hold now"):
        take_weights(context.experiment, context.run, context.data.splits.record())
    assert "trained on other images" in nas("search", file, "--out", "third").error
    assert not (tmp_path / "third").exists()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda run: (run / "supernet.safetensors").write_bytes(b"torn"), "is damaged"),
        (lambda run: os.truncate(run / "supernet.safetensors", 9000), "the weights are damaged"),
        (lambda run: (run / "environment.json").write_text("{"), "is damaged"),
        (lambda run: (run / "plans.json").write_text("[]"), "is damaged"),
        (lambda run: (run / "environment.json").unlink(), "is damaged"),
        (lambda run: _rewind_training(run), "is not trained to its end, 25 steps are left"),
    ],
)
def test_a_run_that_is_damaged_or_not_finished_is_refused(
    damage: Callable[[Path], Any], message: str, finished: Path, nas: Command, tmp_path: Path
) -> None:
    shutil.copytree(finished, tmp_path / "source")
    damage(tmp_path / "source")
    error = nas("run", write(tmp_path, _reusing(tmp_path / "source")), "--out", "new").error
    assert message in error and not (tmp_path / "new").exists()


def _rewind_training(run: Path) -> None:
    """Make the weights say that they were written after three steps."""
    arrays, metadata = from_bytes((run / "supernet.safetensors").read_bytes())
    (run / "supernet.safetensors").write_bytes(to_bytes(arrays, {**metadata, "step": 3}))
