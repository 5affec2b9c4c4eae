"""Shared weights of another run: one training serves budgets and targets that were thought of later.

What the weights depend on has to be the same in both runs, the split of the images above all: else networks would be
judged on images that they were trained on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas.config import dump, parse, plain_yaml
from nas.config.settings import Experiment
from nas.errors import InputError
from nas.nn.weights import from_bytes
from nas.process.files import atomic_write_bytes, atomic_write_json, read_json, sha256_file, understood
from nas.run.folder import RunFolder
from nas.run.layout import ENVIRONMENT, EXPERIMENT, PLANS, SUPERNET, RunFiles

_COMPONENTS = ("data", "space")
_SAME = ("seed", *_COMPONENTS, "splits", "supernet")
_LEAVE_OUT = "leave the key out"
_REMEDY = f"make them the same, or {_LEAVE_OUT}"


def check_reuse(experiment: Experiment, splits: Mapping[str, Any]) -> None:
    """Refuse a run whose shared weights cannot be those of this experiment, with data split as `splits`.

    Raises InputError; nothing is written.
    """
    if experiment.supernet.reuse is None:
        return
    files = RunFiles(Path(experiment.supernet.reuse))
    what = f"supernet.reuse: {str(files.root)!r}"
    if not files.experiment.is_file():
        raise InputError(f"{what} is not a run: it has no {EXPERIMENT}; give the folder of one")
    _check_same(files.experiment, experiment, what)
    if not files.supernet.is_file():
        raise InputError(f"{what} has no {SUPERNET} yet; finish it with `nas run ... --resume`, or leave the key out")
    with understood(f"{what} is damaged: {ENVIRONMENT}", _LEAVE_OUT):
        trained_on = read_json(files.environment, _LEAVE_OUT)["splits"]
    with understood(f"{what} is damaged: {SUPERNET}", _LEAVE_OUT):
        metadata = from_bytes(files.supernet.read_bytes())[1]
        left = metadata["recipe"]["steps"] - metadata["step"]
    with understood(f"{what} is damaged: {PLANS}", _LEAVE_OUT):
        planned = _planned(files)
    if experiment.supernet.max_time_s is not None and planned is None:
        raise InputError(f"{what} has lost {PLANS}, which says how long it was trained; {_LEAVE_OUT}")
    if trained_on != splits:
        raise InputError(f"{what} was trained on other images than the data hold now; leave the key out")
    if left > 0:
        raise InputError(
            f"{what} is not trained to its end, {left} steps are left; finish it with `nas run ... --resume`, or leave "
            "the key out"
        )


def _check_same(file: Path, experiment: Experiment, what: str) -> None:
    """Compare what the weights depend on; of the other run's components nothing is imported that is not named here."""
    written, here = plain_yaml.read(file), dump.plain(experiment)
    for key in _COMPONENTS:
        was, now = _name(written.get(key, here[key])), here[key]["name"]
        if was != now:
            raise InputError(f"{what} was trained otherwise: {key} was {was!r} there and is {now!r} here; {_REMEDY}")
    # What an older release did not write has its default, which is known now that the components are those of here.
    kept = {key: value for key, value in here.items() if key not in _SAME}
    try:
        before = parse.experiment(
            {**kept, **{key: written[key] for key in _SAME if key in written}}, experiment.plugins
        )
    except InputError as error:
        raise InputError(f"{file}: {error}") from error
    for key in _SAME:
        was, now = _without_reuse(getattr(before, key)), _without_reuse(getattr(experiment, key))
        if was != now:
            raise InputError(f"{what} was trained otherwise: {key} was {was} there and is {now} here; {_REMEDY}")


def _name(section: Any) -> Any:
    return section.get("name") if isinstance(section, dict) else section


def take_weights(experiment: Experiment, run: RunFolder, splits: Mapping[str, Any]) -> None:
    """Copy the weights, and the number of steps that was planned for them, into a run; raises as `check_reuse`."""
    check_reuse(experiment, splits)
    source, own = RunFiles(Path(experiment.supernet.reuse or "")), RunFiles(run.path)
    copy_weights(source, own)
    run.log("reused", supernet=str(source.root), sha256=sha256_file(own.supernet))


def copy_weights(source: RunFiles, own: RunFiles) -> None:
    """Copy the shared weights of a run, and how long it was planned to train them."""
    planned = _planned(source)
    if planned is not None:
        atomic_write_json(own.plans, {"supernet": planned})
    atomic_write_bytes(own.supernet, source.supernet.read_bytes())


def _planned(files: RunFiles) -> int | None:
    """The number of steps that was planned for the weights, None where no time bounds it."""
    if not files.plans.exists():
        return None
    planned: int | None = read_json(files.plans, _LEAVE_OUT).get("supernet")
    return planned


def _without_reuse(value: Any) -> Any:
    return dataclasses.replace(value, reuse=None) if hasattr(value, "reuse") else value
