"""Measurements as lines: what is written is read again, and lines of older releases are too."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hardware_profiles import Target
from nas.devices.conditions import Conditions
from nas.devices.measurement import ExitTime, Measurement, read_rows
from nas.errors import InputError
from nas.process.files import to_line

HERE = Target("host", "onnxruntime")
ROW = Measurement(
    purpose="winner",
    target=HERE.key,
    genome=(1, 2, 3),
    key="key",
    exits=(ExitTime(1e-5, 2e-5), ExitTime(3e-5, 4e-5, contended=True)),
    predicted_s=(1.1e-5, 3.2e-5),
    predicted_std_s=(1e-6, 2e-6),
    broken=("worst",),
    budget="worst",
    reference_s=5e-6,
    conditions=Conditions("onnxruntime 1", 1, "performance", (1e9, 2e9), 41.5, 0.25, {"numpy": "2"}),
)


@pytest.mark.parametrize(
    "row",
    [
        ROW,
        replace(ROW, predicted_s=None, predicted_std_s=None, broken=(), budget=""),
        replace(ROW, exits=(ExitTime(1e-5, np.inf),)),  # too few blocks for a bound
        replace(ROW, exits=(ExitTime(1e-5, 2e-5, True, (1e-5,), (9e-6,), 3, 0.2, True),)),
        replace(ROW, exits=(ExitTime(1e-5, np.inf, True, refused="the core was busy"),)),
        replace(ROW, stream=ExitTime(1e-5, np.inf, True, refused="the core was busy")),
    ],
)
def test_a_measurement_survives_its_line(row: Measurement) -> None:
    assert Measurement.from_dict(json.loads(to_line(row.to_dict()))) == row


def test_a_line_of_an_older_run_is_read() -> None:
    record = json.loads(to_line(ROW.to_dict()))
    del record["broken"], record["budget"], record["reference_s"], record["conditions"]
    for entry in record["exits"]:
        del entry["drift"], entry["drifted"], entry["refused"]
    found = Measurement.from_dict(record)
    assert found == replace(ROW, broken=(), budget="", reference_s=None, conditions=None) and not found.drifted
    assert found.refused == ""


def test_a_line_of_another_schema_is_refused() -> None:
    with pytest.raises(InputError, match="a measurement of schema 2; this version reads 1"):
        Measurement.from_dict({**ROW.to_dict(), "schema": 2})


def test_the_worst_case_is_the_last_exit() -> None:
    assert ROW.cumulative_s.tolist() == [1e-5, 3e-5] and ROW.worst_upper_s == 4e-5


@pytest.mark.parametrize("name", ["median_s", "upper_95_s", "wall_s", "cpu_s"])
@pytest.mark.parametrize("value", [0, -1.0, "1 ms", True, float("nan"), float("inf"), 10**400, [None], {}])
def test_seconds_are_more_than_none(name: str, value: object, tmp_path: Path) -> None:
    record = json.loads(to_line(ROW.to_dict()))
    record["exits"][0][name] = [value] if name in ("wall_s", "cpu_s") else value
    path = tmp_path / "readings.jsonl"
    path.write_text(json.dumps(record) + "\n")
    with pytest.raises(InputError, match=rf"readings\.jsonl, line 1: .*{name} is "):
        read_rows(path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"exits": []}, "is no measurement of a network"),
        ({"exits": "x"}, "'x' is no reading"),
        ({"exits": [1]}, "1 is no reading"),
        ({"genome": "123"}, "genome is '123', which is no list"),
        ({"genome": [1, "2"]}, "genome is '2', which is no whole number"),
        ({"genome": None}, "genome is None"),
        ({"key": 5}, "key is 5, which is no text"),
        ({"predicted_s": 3}, "predicted_s is 3"),
        ({"broken": [1]}, "broken is 1"),
        ({"reference_s": -1}, "takes more than 0 seconds"),
        ({"stream": [1]}, "is no reading"),
        ({"conditions": "hot"}, "cannot be read"),
        ({"colour": "red"}, "a reading has no key 'colour'"),
    ],
)
def test_what_is_no_reading_is_named(change: dict[str, Any], reason: str, tmp_path: Path) -> None:
    path = tmp_path / "readings.jsonl"
    path.write_text(json.dumps({**json.loads(to_line(ROW.to_dict())), **change}) + "\n")
    with pytest.raises(InputError, match=rf"readings\.jsonl, line 1.*{reason}"):
        read_rows(path)


@pytest.mark.parametrize("text", ["[" * 5000, "{" * 5000, '{"a":' * 5000, "[]", "3"])
def test_brackets_without_end_are_no_reading(text: str, tmp_path: Path) -> None:
    path = tmp_path / "readings.jsonl"
    path.write_text(text + "\n")
    with pytest.raises(InputError, match=r"readings\.jsonl, line 1"):
        read_rows(path)
