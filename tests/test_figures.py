"""Figures of benchmarks say how they were taken."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import figures


def test_figures_say_how_they_were_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["elsewhere/tables.py", "--data", str(tmp_path / "cifar"), "--repeats", "3"])
    path = tmp_path / "results" / "tables.json"
    figures.write(path, {"rows": [{"ratio": 2.5}]})
    record = json.loads(path.read_text())
    assert record["rows"] == [{"ratio": 2.5}]
    taken = record["taken"]
    assert taken["command"] == "python benchmarks/tables.py --data cifar --repeats 3"
    assert taken["versions"]["numpy"] == np.__version__
    assert taken["machine"]["cores"] >= 1 and taken["seconds"] >= 0 and taken["load_before"] >= 0
    assert str(tmp_path) not in path.read_text()


def test_outside_a_clone_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "_HERE", tmp_path / "benchmarks")
    figures.write(tmp_path / "here.json", {})
    assert json.loads((tmp_path / "here.json").read_text())["taken"]["commit"] is None
    assert json.loads((tmp_path / "here.json").read_text())["taken"]["changed_since_commit"] is None
