"""Shared weights of another run: one training serves budgets and targets that were thought of later.

What the weights depend on has to be the same in both runs, the split of the images above all: else networks would be
judged on images that they were trained on.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from .. import config
from ..errors import InputError
from ..run_folder import EXPERIMENT, atomic_write_bytes, atomic_write_json, sha256_file
from ..settings import Experiment
from .context import ENVIRONMENT, PLANS, SUPERNET, Context

_SAME = ("seed", "data", "space", "splits", "supernet")


def check_reuse(experiment: Experiment) -> None:
    """Refuse a run whose shared weights cannot be those of this experiment; raises InputError."""
    if experiment.supernet.reuse is None:
        return
    folder = Path(experiment.supernet.reuse)
    what = f"supernet.reuse: {str(folder)!r}"
    if not (folder / EXPERIMENT).is_file():
        raise InputError(f"{what} is not a run: it has no {EXPERIMENT}; give the folder of one")
    if not (folder / SUPERNET).is_file():
        raise InputError(f"{what} has no {SUPERNET} yet; finish it with `nas run ... --resume`, or leave the key out")
    before = config.load(folder / EXPERIMENT)
    for key in _SAME:
        was, now = _without_reuse(getattr(before, key)), _without_reuse(getattr(experiment, key))
        if was != now:
            raise InputError(
                f"{what} was trained otherwise: {key} was {was} there and is {now} here; "
                "make them the same, or leave the key out"
            )


def take_weights(context: Context) -> None:
    """Copy the weights, and the number of steps that was planned for them, into this run.

    Raises InputError where the data have changed since, or the training did not end.
    """
    check_reuse(context.experiment)
    folder = Path(context.experiment.supernet.reuse or "")
    splits = json.loads((folder / ENVIRONMENT).read_text())["splits"]
    if splits != context.data.splits.record():
        raise InputError(
            f"supernet.reuse: {str(folder)!r} was trained on other images than the data hold now; leave the key out"
        )
    plans = folder / PLANS
    planned = json.loads(plans.read_text()).get("supernet") if plans.exists() else None
    if planned is not None:
        atomic_write_json(context.path(PLANS), {"supernet": planned})
    atomic_write_bytes(context.path(SUPERNET), (folder / SUPERNET).read_bytes())
    context.run.log("reused", supernet=str(folder), sha256=sha256_file(context.path(SUPERNET)))
    context.console.print(f"shared weights of {folder}", markup=False)


def _without_reuse(value: Any) -> Any:
    return dataclasses.replace(value, reuse=None) if hasattr(value, "reuse") else value
