"""A machine that is profiled in no time, for the tests of `nas profile` and of experiments on what it leaves."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from hardware_profiles import Target, host
from nas.devices import site
from nas.devices.measurement import Measurement
from nas.devices.networks import Timer
from tests.nas.small_runs import Command

_detected = functools.cache(host.detect)
ARGUMENTS = ("--runner", "onnxruntime", "--networks", "3", "--space", "toy", "--input", "1x8x8", "--classes", "4")
TARGET = Target("bench", "onnxruntime")
FOLDER = Path("hardware_profiles/bench/bench-onnxruntime-t1-b1-float32/toy-1x8x8")
SPACE_8X8 = ("--runner", "onnxruntime", "--networks", "3", "--table", "8x8")
ON_BENCH = {"device": "bench", "runner": "onnxruntime", "threads": 1}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short blocks, and a machine that is measured once and taken to be stable: it is not the subject."""

    time = Timer.time

    def timed(timer: Timer, genomes: Sequence[Any], purpose: Any, *rest: Any) -> tuple[Measurement, ...]:
        rows = time(timer, genomes, purpose, blocks=3, block_s=1e-3)
        return tuple(
            replace(
                row,
                reference_s=1e-4,
                exits=tuple(replace(e, drift=0.0, drifted=False, disturbed=0.0) for e in row.exits),
            )
            for row in rows
        )

    monkeypatch.setattr(Timer, "time", timed)
    monkeypatch.setattr(site, "detect", _detected)


@pytest.fixture
def profiled(nas: Command, quick: None) -> Path:
    """The working directory with a finished profile in it."""
    done = nas("profile", "bench", *ARGUMENTS)
    assert done.code == 0, done.err
    return Path.cwd()


def elsewhere(path: Path) -> None:
    """Make a profile one of another machine."""
    data = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**data, "machine": {**data["machine"], "cores": "640"}}))
