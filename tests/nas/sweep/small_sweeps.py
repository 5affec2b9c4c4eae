"""Sweeps of the small experiment, as files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.nas.small_runs import small, write

#: No network keeps a nanosecond, which predictions say before anything is trained.
HOPELESS: dict[str, Any] = small(
    budgets=[{"name": "worst", "latency": "1 ns"}], calibration={"networks": 0}, space={"name": "toy", "width": 4}
)


def write_sweep(folder: Path, axes: Any, base: dict[str, Any] | None = None, **keys: Any) -> Path:
    """Write a small experiment and a sweep of it; returns the sweep's path."""
    folder.mkdir(parents=True, exist_ok=True)
    write(folder, small() if base is None else base, "base.yaml")
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump({"experiment": "base.yaml", "axes": axes, **keys}, sort_keys=False))
    return path


#: Axes of a search: a rate, a list and a number.
SEARCHED: dict[str, Any] = {
    "supernet.learning_rate": {"log": [0.02, 0.3]},
    "winners.epochs": [1, 2],
    "seed": {"int": [0, 99]},
}


def write_search(folder: Path, axes: Any = None, **keys: Any) -> Path:
    """Write a sweep of 14 cells that are searched for; a key that is None is left out."""
    base = small(budgets=[{"name": "worst", "latency": "200 ms"}])
    how = {"samples": 14, "search_by": "optuna_tpe", **keys}
    given = {key: value for key, value in how.items() if value is not None}
    return write_sweep(folder, axes or SEARCHED, base, **given)
