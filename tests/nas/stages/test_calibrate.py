"""Calibrate, on copies of a finished run: what is measured, what was measured already, and what is borrowed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.devices.measurement import Measurement
from nas.errors import InputError
from nas.process.files import append_jsonl, read_jsonl
from nas.run.latency import load_model
from nas.stages import calibrate
from search_spaces.slots import sizes
from tests.nas.opened_runs import HERE, borrowing, opened, rewind, timing_by


def test_calibration_measures_different_networks_the_smallest_and_the_largest_among_them(run: Path) -> None:
    with opened(run) as context:
        chosen = calibrate._chosen(context, 6)
        keys = [context.space.decode(genome).key for genome in chosen]
        assert len(set(keys)) == 6
        limits = sizes(context.space)
        for corner in (np.zeros_like(limits), limits - 1):
            assert context.space.decode(corner).key in keys
        assert [genome.tolist() for genome in calibrate._chosen(context, 3)] == [g.tolist() for g in chosen[:3]]


@pytest.mark.parametrize("kept", [0, 1, 3, 4])
def test_what_was_measured_is_not_measured_again(run: Path, kept: int) -> None:
    rewind(run, "calibrate")
    found = {row["key"]: row for row in read_jsonl(run / "measurements.jsonl")}
    for row in found.values():  # how stable this machine was is not the subject
        row["reference_s"] = None
        for exit_ in row["exits"]:
            exit_ |= {"drifted": False, "disturbed": 0.0}
    rows = tuple(found.values())
    (run / "measurements.jsonl").unlink()
    (run / "latency_model.npz").unlink()
    append_jsonl(run / "measurements.jsonl", rows[:kept])
    asked: list[int] = []

    def time_networks(target: Any, space: Any, genomes: Sequence[Any], purpose: Any) -> tuple[Measurement, ...]:
        asked.append(len(genomes))
        found = {tuple(row["genome"]): Measurement.from_dict(row) for row in rows}
        return tuple(found[tuple(genome)] for genome in genomes)

    with opened(run, timing_by(time_networks)) as context:
        calibrate.calibrate(context)
        written = read_jsonl(run / "measurements.jsonl")
        assert [row | {"conditions": None} for row in written] == [row | {"conditions": None} for row in rows]
        assert asked == ([4 - kept] if kept < 4 else [])
        assert load_model(context, HERE).calibration.networks == 4


def test_readings_can_be_borrowed(run: Path, finished: Path) -> None:
    rewind(run, "calibrate")
    before = (run / "latency_model.npz").read_bytes()
    rows = read_jsonl(run / "measurements.jsonl")
    (run / "latency_model.npz").unlink()
    (run / "measurements.jsonl").unlink()
    append_jsonl(run / "measurements.jsonl", rows[:1])  # as if it had been killed while it wrote
    with opened(run) as context:
        calibrate.calibrate(borrowing(context, finished / "measurements.jsonl"))
    assert read_jsonl(run / "measurements.jsonl") == rows
    assert (run / "latency_model.npz").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": "rpi4b-onnxruntime-t1-b1-float32"}, "has no calibration readings of host-onnxruntime"),
        ({"purpose": "winner"}, "has no calibration readings of host-onnxruntime"),
        ({"key": "0" * 64}, "is of another search space than mobile-8x8"),
        ({"schema": 7}, "a measurement of schema 7; this version reads 1"),
    ],
)
def test_only_readings_of_the_same_thing_are_borrowed(run: Path, change: dict[str, Any], message: str) -> None:
    rewind(run, "calibrate")
    foreign = run.parent / "foreign.jsonl"
    append_jsonl(foreign, [{**row, **change} for row in read_jsonl(run / "measurements.jsonl")])
    (run / "measurements.jsonl").unlink()
    (run / "latency_model.npz").unlink()
    with opened(run) as context, pytest.raises(InputError, match=message):
        calibrate.calibrate(borrowing(context, foreign))
    assert not (run / "latency_model.npz").exists()
