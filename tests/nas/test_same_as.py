"""The comparison of two commits: a run equals its own replay, and what differs is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from nas.devices.local import InProcessSession
from nas.nn.weights import from_bytes, to_bytes
from tests.same_as import compare, replay


def test_a_run_equals_its_own_replay(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is measured for it."""
    monkeypatch.delattr(InProcessSession, "time")
    replay(finished, tmp_path / "again")
    assert list(compare(finished, tmp_path / "again")) == []


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "copy")
    return tmp_path / "copy"


def test_what_hangs_on_streams_is_not_compared(finished: Path, copied: Path) -> None:
    for name in ("verify.json", "test.json", "winners/mean/manifest.json", "winners/mean/thresholds.json"):
        (copied / name).write_text("{}")
    assert list(compare(finished, copied)) == []


@pytest.mark.parametrize("name", ["trials.jsonl", "front.json"])
def test_a_byte_that_differs_is_found(name: str, finished: Path, copied: Path) -> None:
    (copied / name).write_bytes((finished / name).read_bytes()[:-1] + b" ")
    assert list(compare(finished, copied)) == [f"{name} differs"]
    (copied / name).unlink()
    assert list(compare(finished, copied)) == [f"{name} is missing"]


@pytest.mark.parametrize("name", ["supernet.safetensors", "winners/worst/weights.safetensors"])
def test_a_value_that_differs_is_found(name: str, finished: Path, copied: Path) -> None:
    tensors, metadata = from_bytes((finished / name).read_bytes())
    (copied / name).write_bytes(to_bytes(tensors, {**metadata, "another": 1}))
    assert list(compare(finished, copied)) == []
    key = next(iter(tensors))
    tensors[key] = np.nextafter(tensors[key], np.inf).astype(np.float32)
    (copied / name).write_bytes(to_bytes(tensors, metadata))
    assert list(compare(finished, copied)) == [f"{name}: {key} differs"]
    del tensors[key]
    (copied / name).write_bytes(to_bytes(tensors, metadata))
    assert list(compare(finished, copied)) == [f"{name} has other tensors: {key}"]
