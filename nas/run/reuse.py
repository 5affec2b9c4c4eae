"""Shared weights of another run: one training serves budgets and targets that were thought of later.

What the weights depend on has to be the same in both runs, the split of the images above all: else networks would be
judged on images that they were trained on.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas import config
from nas.errors import InputError
from nas.nn.weights import from_bytes
from nas.process.files import (
    ENVIRONMENT,
    EXPERIMENT,
    PLANS,
    SUPERNET,
    RunFolder,
    atomic_write_bytes,
    atomic_write_json,
    sha256_file,
)
from nas.settings import Experiment

_SAME = ("seed", "data", "space", "splits", "supernet")


def check_reuse(experiment: Experiment, splits: Mapping[str, Any]) -> None:
    """Refuse a run whose shared weights cannot be those of this experiment, with data split as `splits`.

    Raises InputError; nothing is written.
    """
    if experiment.supernet.reuse is None:
        return
    folder = Path(experiment.supernet.reuse)
    what = f"supernet.reuse: {str(folder)!r}"
    if not (folder / EXPERIMENT).is_file():
        raise InputError(f"{what} is not a run: it has no {EXPERIMENT}; give the folder of one")
    before = config.load(folder / EXPERIMENT)
    for key in _SAME:
        was, now = _without_reuse(getattr(before, key)), _without_reuse(getattr(experiment, key))
        if was != now:
            raise InputError(
                f"{what} was trained otherwise: {key} was {was} there and is {now} here; "
                "make them the same, or leave the key out"
            )
    if not (folder / SUPERNET).is_file():
        raise InputError(f"{what} has no {SUPERNET} yet; finish it with `nas run ... --resume`, or leave the key out")
    try:
        trained_on = json.loads((folder / ENVIRONMENT).read_text())["splits"]
        metadata = from_bytes((folder / SUPERNET).read_bytes())[1]
        left = metadata["recipe"]["steps"] - metadata["step"]
        _planned(folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{what} is damaged: {ENVIRONMENT}, {SUPERNET} or {PLANS} cannot be read ({error}); leave the key out"
        ) from error
    if trained_on != splits:
        raise InputError(f"{what} was trained on other images than the data hold now; leave the key out")
    if left > 0:
        raise InputError(
            f"{what} is not trained to its end, {left} steps are left; finish it with `nas run ... --resume`, or leave "
            "the key out"
        )


def take_weights(experiment: Experiment, run: RunFolder, splits: Mapping[str, Any]) -> None:
    """Copy the weights, and the number of steps that was planned for them, into a run; raises as `check_reuse`."""
    check_reuse(experiment, splits)
    folder = Path(experiment.supernet.reuse or "")
    planned = _planned(folder)
    if planned is not None:
        atomic_write_json(run.path / PLANS, {"supernet": planned})
    atomic_write_bytes(run.path / SUPERNET, (folder / SUPERNET).read_bytes())
    run.log("reused", supernet=str(folder), sha256=sha256_file(run.path / SUPERNET))


def _planned(folder: Path) -> int | None:
    """The number of steps that was planned for the weights, None where no time bounds it."""
    path = folder / PLANS
    planned: int | None = json.loads(path.read_text()).get("supernet") if path.exists() else None
    return planned


def _without_reuse(value: Any) -> Any:
    return dataclasses.replace(value, reuse=None) if hasattr(value, "reuse") else value
