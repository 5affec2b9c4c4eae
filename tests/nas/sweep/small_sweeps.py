"""Sweeps of the small experiment, as files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.nas.small_runs import small, write


def write_sweep(folder: Path, axes: Any, base: dict[str, Any] | None = None, **keys: Any) -> Path:
    """Write a small experiment and a sweep of it; returns the sweep's path."""
    folder.mkdir(parents=True, exist_ok=True)
    write(folder, small() if base is None else base, "base.yaml")
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump({"experiment": "base.yaml", "axes": axes, **keys}, sort_keys=False))
    return path
