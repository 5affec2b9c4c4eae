"""An experiment that is over in seconds, and what the tests of whole runs do with it."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

#: Budgets that every network keeps, at most one early exit, 32 steps of training, 12 networks judged in three batches.
SMALL: dict[str, Any] = {
    "name": "small",
    "data": {"name": "digits"},
    "space": {
        "name": "mobile",
        "max_exits": 1,
        "stages": [
            {
                "widths": [8, 12],
                "depths": [1, 2],
                "stride": 2,
                "options": {"kernel": [3], "expansion": [1, 2], "se": [False]},
            }
        ],
    },
    "target": {"device": "host", "runner": "onnxruntime", "threads": 1},
    "budgets": [{"name": "worst", "latency": "200 ms"}, {"name": "mean", "latency": "200 ms", "of": "expected"}],
    "splits": {"reserve": ["arch"]},
    "calibration": {"networks": 4},
    "supernet": {"epochs": 2, "random_subnets": 1},
    "search": {"evaluations": 12, "batch": 5, "images": 300, "calibration_images": 128},
    "winners": {"epochs": 1, "candidates": 2, "attempts": 2},
    "verify": {"blocks": 3, "block_time": "10 ms", "samples": 30, "parity_samples": 32, "tvm": False},
}


@dataclass(frozen=True)
class Outcome:
    """How a command ended: its exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The message of a command that ended with malformed input, after checking that it is one clean line."""
        assert self.code == 2, self
        assert self.err.startswith("nas: error: ")
        assert self.err.count("\n") == 1 and self.err.endswith("\n"), self.err
        assert "Traceback" not in self.err
        return self.err.removeprefix("nas: error: ").rstrip("\n")


#: Runs a command with its arguments.
Command = Callable[..., Outcome]


def small(*without: str, **sections: Any) -> dict[str, Any]:
    """The small experiment with whole sections replaced, or left out."""
    data = {**copy.deepcopy(SMALL), **sections}
    return {key: value for key, value in data.items() if key not in without}


def write(folder: Path, data: dict[str, Any] | str, name: str = "experiment.yaml") -> str:
    """Write an experiment, as data or as text; returns the file's path."""
    path = folder / name
    path.write_text(data if isinstance(data, str) else yaml.safe_dump(data), encoding="utf-8")
    return str(path)


def hashes(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file below a folder, by its path there."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
