"""Shared weights of another run: taken as they are for other budgets, and refused where they would mislead."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.nn.weights import from_bytes, to_bytes
from nas.process.files import atomic_write_json, read_jsonl
from nas.run.reuse import take_weights
from nas.stages import supernet
from tests.nas.opened_runs import opened
from tests.nas.small_runs import SMALL, Command, small, write


def _reusing(run: Path, **changes: Any) -> dict[str, Any]:
    supernet = {**SMALL["supernet"], "reuse": str(run), **changes.pop("supernet", {})}
    return small(supernet=supernet, **changes)


def test_another_budget_on_the_same_weights(finished: Path, source: Path, nas: Command, tmp_path: Path) -> None:
    """Nothing is trained, even where the other run has gone in the meantime, and had fewer images to train on."""
    _trained_on(source, 900)
    file = write(tmp_path, _reusing(source, budgets=[{"name": "other", "latency": "150 ms"}]))
    assert nas("search", file, "--out", "new").code == 0
    for name in ("supernet.safetensors", "supernet_images.npz"):
        assert (tmp_path / "new" / name).read_bytes() == (source / name).read_bytes()
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
        ({"splits": {"val": 0.3}}, "was trained on "),
        (
            {"splits": {"reserve": ["cert"]}},
            "of this experiment's part cert, and networks would be judged on what they",
        ),
        ({"splits": {"reserve": ["cert"]}}, "train the other with `splits: {reserve: [cert]}`, or leave the key out"),
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


def test_an_optimiser_may_learn_from_a_part_that_was_kept_aside(finished: Path, nas: Command, tmp_path: Path) -> None:
    """Whose images the weights have not seen."""
    searching = {"search": {**SMALL["search"], "optimiser": "differentiable"}, "splits": {}}
    assert nas("check", write(tmp_path, _reusing(finished, **searching))).code == 0
    with np.load(finished / "supernet_images.npz") as seen:
        assert len(seen["images"]) == len(seen["labels"]) == 1438 - 300 - 75


@pytest.fixture
def source(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, to be changed."""
    shutil.copytree(finished, tmp_path / "source")
    return tmp_path / "source"


def _trained_on(run: Path, images: int) -> None:
    """Make the weights say that they have seen so many of the images only; the others were kept aside."""
    _change_seen(run, images=lambda seen: seen[:images], labels=lambda labels: labels[:images])
    arrays, metadata = from_bytes((run / "supernet.safetensors").read_bytes())
    (run / "supernet.safetensors").write_bytes(to_bytes(arrays, {**metadata, "images": images}))


def _change_seen(run: Path, **changes: Any) -> None:
    with np.load(run / "supernet_images.npz") as stored:
        arrays = {name: changes.get(name, lambda array: array)(stored[name]) for name in stored.files}
    np.savez(run / "supernet_images.npz", **arrays)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda run: _change_seen(run, images=lambda seen: ~seen), "was trained on other images .* has seen none"),
        (lambda run: _change_seen(run, labels=lambda labels: labels[::-1]), "other images .* have other labels"),
        (lambda run: _older(run, "val"), "trained on other images than the data hold now, .* the part val is not"),
        (lambda run: _older(run, "test"), "the part test is not the same"),
    ],
)
def test_images_that_have_changed_since_are_refused(
    change: Callable[[Path], Any], message: str, source: Path, nas: Command, tmp_path: Path
) -> None:
    """Networks would be judged on images that the weights were trained on."""
    change(source)
    assert re.search(message, nas("search", write(tmp_path, _reusing(source)), "--out", "new").error)
    assert not (tmp_path / "new").exists()


def test_they_are_looked_at_again_when_the_weights_are_taken(
    source: Path, run: Path, nas: Command, tmp_path: Path
) -> None:
    write(run, _reusing(source))
    with opened(run) as context:
        take_weights(context.experiment, context.run, context.data)
        _change_seen(source, images=lambda seen: ~seen)
        with pytest.raises(ValueError, match="was trained on other images than the data hold now"):
            take_weights(context.experiment, context.run, context.data)


def test_whose_weights_they_are_is_noted_after_a_kill(source: Path, run: Path) -> None:
    """Between the weights and the line of the log that says so."""
    write(run, _reusing(source))
    log = run / "log.jsonl"
    with opened(run) as context:
        for _ in range(2):
            supernet.train_supernet(context)
    assert [row["supernet"] for row in read_jsonl(log) if row["event"] == "reused"] == [str(source)]


def _older(run: Path, changed: str = "") -> None:
    """Make a run that of a release which did not write what its weights saw, with a part that is another one."""
    (run / "supernet_images.npz").unlink()
    environment = json.loads((run / "environment.json").read_text())
    environment["splits"]["train"]["sha256"] = "0" * 64
    if changed:
        environment["splits"][changed]["sha256"] = "0" * 64
    atomic_write_json(run / "environment.json", environment)


def test_weights_of_an_older_release_serve_where_the_parts_that_judge_are_the_same(
    source: Path, nas: Command, tmp_path: Path
) -> None:
    _older(source)
    assert nas("check", write(tmp_path, _reusing(source))).code == 0
    refused = nas("check", write(tmp_path, _reusing(source, splits={"reserve": ["cert"]}))).error
    assert "the part cert is not the same" in refused


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda run: (run / "supernet.safetensors").write_bytes(b"torn"), "is damaged"),
        (lambda run: os.truncate(run / "supernet.safetensors", 9000), "the weights are damaged"),
        (lambda run: (run / "supernet_images.npz").write_bytes(b"torn"), "is damaged: supernet_images.npz"),
        (lambda run: (run / "supernet_images.npz").write_bytes(b""), "is damaged: supernet_images.npz"),
        (lambda run: (_older(run), (run / "environment.json").write_text("{")), "is damaged"),
        (lambda run: (_older(run), (run / "environment.json").write_text("{}")), "is damaged"),
        (lambda run: (_older(run), (run / "environment.json").unlink()), "is damaged"),
        (lambda run: _rewind_training(run), "is not trained to its end, 29 steps are left"),
        (lambda run: _lose_a_weight(run), "the checkpoint belongs to another space"),
    ],
)
def test_a_run_that_is_damaged_or_not_finished_is_refused(
    damage: Callable[[Path], Any], message: str, source: Path, nas: Command, tmp_path: Path
) -> None:
    damage(source)
    file = write(tmp_path, _reusing(source))
    error = nas("run", file, "--out", "new").error
    assert message in error == nas("check", file).error and "source" in error and not (tmp_path / "new").exists()


def _rewind_training(run: Path) -> None:
    """Make the weights say that they were written after three steps."""
    arrays, metadata = from_bytes((run / "supernet.safetensors").read_bytes())
    (run / "supernet.safetensors").write_bytes(to_bytes(arrays, {**metadata, "step": 3}))


def _lose_a_weight(run: Path) -> None:
    arrays, metadata = from_bytes((run / "supernet.safetensors").read_bytes())
    lost = next(name for name in arrays if name.endswith("/kernel"))
    kept = {name: array for name, array in arrays.items() if name != lost}
    (run / "supernet.safetensors").write_bytes(to_bytes(kept, metadata))
