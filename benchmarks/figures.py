"""Figures on disk, with what they were taken by: commit, command, machine, packages, and what else ran there."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from hardware_profiles import HOST, load
from nas.process.files import atomic_write_text

_HERE = Path(__file__).parent
_PACKAGES = ("numpy", "scipy", "jax", "onnxruntime", "optuna", "pymoo", "torch")
#: When the benchmark began, and how many processes were ready to run in the minute before: beside what it was taken.
_BEGAN, _BESIDE = time.time(), os.getloadavg()[0]


def write(path: Path, figures: Mapping[str, Any]) -> None:
    """Write a benchmark's figures as JSON, with how they were taken as `taken`."""
    record = {"taken": _taken(), **figures}
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write_text(path, json.dumps(record, indent=2) + "\n")


def _taken() -> dict[str, Any]:
    changed = _git("status", "--porcelain", "--", "*.py")
    return {
        "command": " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *map(_placeless, sys.argv[1:])]),
        "commit": _git("rev-parse", "HEAD"),
        # Results themselves may be new: what counts is the code that gave them.
        "changed_since_commit": None if changed is None else bool(changed),
        "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(_BEGAN)),
        "seconds": round(time.time() - _BEGAN, 1),
        "machine": {"cpu": load(HOST).name, "cores": len(os.sched_getaffinity(0)), "platform": platform.system()},
        "load_before": _BESIDE,
        "versions": {"python": platform.python_version(), **_versions()},
    }


def _placeless(argument: str) -> str:
    """An argument as it is, or the last part of a path that says where things lie on one machine."""
    return Path(argument).name if argument.startswith("/") else argument


def _git(*arguments: str) -> str | None:
    """What git says; None outside a clone."""
    done = subprocess.run(["git", *arguments], cwd=_HERE.parent, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
