"""A sweep file: the experiment that it starts from, and the keys of it that take several values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, cast

from nas.config import parse, plain_yaml
from nas.config.kinds import Example
from nas.config.settings import require_folder_name
from nas.errors import InputError
from nas.sweep import axes as axes_
from nas.sweep.axes import Axis, Drawn
from nas.sweep.executor import Executor
from nas.sweep.objective import WAYS, Search, require_known
from nas.sweep.scheduler import Scheduler, written_out


@dataclass(frozen=True)
class SweepSettings:
    """The keys of a sweep file; `axes` are read on their own."""

    experiment: Annotated[str, Example("quickstart.yaml")]
    axes: Annotated[dict[str, Any], Example("{seed: [0, 1, 2]}")]
    name: str | None = None
    samples: int | None = None
    seed: int = 0
    search_by: str | None = None
    objective: str | None = None
    budget: str | None = None
    executor: Executor = field(default_factory=Executor)
    scheduler: Scheduler | None = None


@dataclass(frozen=True)
class Sweep:
    """What a sweep file says: an experiment's plain data, and axes; a grid where `samples` is None.

    Cells that are searched for follow from each other; without `search` all are known beforehand.
    """

    path: Path
    name: str
    experiment: Path
    base: Mapping[str, Any]
    axes: Mapping[str, Axis]
    samples: int | None = None
    seed: int = 0
    search: Search | None = None
    executor: Executor = field(default_factory=Executor)
    scheduler: Scheduler | None = None


def is_sweep_file(path: Path) -> bool:
    """Whether a YAML file says what a sweep does, and not what an experiment does; False where it cannot be read."""
    try:
        data = plain_yaml.read(path) if path.is_file() else {}
    except InputError:
        return False
    return "axes" in data or ("experiment" in data and "data" not in data)


def load(path: Path, overrides: Sequence[str] = ()) -> Sweep:
    """Read a sweep; `overrides` are `key.path=value` texts for its experiment.

    Raises InputError naming the file, the key, the value and what to do.
    """
    if not path.is_file():
        raise InputError(f"there is no sweep file {str(path)!r}; give the path of a YAML file")
    data = plain_yaml.read(path)
    try:
        if "scheduler" in data:
            data = {**data, "scheduler": written_out(data["scheduler"])}
        settings = cast(SweepSettings, parse.build(SweepSettings, data, "", file="a sweep"))
        name = path.stem if settings.name is None else settings.name
        require_folder_name("the sweep's name", name)
        axes = _axes(data["axes"], settings.samples)
        search = _search(settings, axes)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    experiment = path.parent / settings.experiment
    if not experiment.is_file():
        raise InputError(f"{path}: experiment: there is no file {str(experiment)!r}; the path is relative to the sweep")
    base = plain_yaml.read(experiment)
    if "axes" in base:
        raise InputError(f"{path}: experiment: {experiment} is a sweep itself; give an experiment")
    for override in overrides:
        plain_yaml.override(base, override)
        key = override.partition("=")[0]
        if clash := next((axis for axis in axes if axis == key or key.startswith(f"{axis}.")), None):
            raise InputError(f"--set {override!r}: the axis {clash} sets that key in every cell; leave one of them out")
    return Sweep(
        path, name, experiment, base, axes, settings.samples, settings.seed, search, settings.executor,
        settings.scheduler,
    )  # fmt: skip


def _search(settings: SweepSettings, axes: Mapping[str, Axis]) -> Search | None:
    """How cells are searched for; None where they are not."""
    if settings.search_by is None:
        if lonely := next((key for key in ("objective", "budget") if getattr(settings, key) is not None), None):
            raise InputError(f"{lonely}: nothing is searched for; give `search_by: {WAYS[0]}`, or leave it out")
        return None
    objective = settings.objective or "accuracy"
    require_known(settings.search_by, objective)
    if settings.samples is None:
        raise InputError("search_by: it is not said how many cells to search; give `samples`, or leave search_by out")
    if not any(isinstance(axis, Drawn) for axis in axes.values()):
        raise InputError(
            "search_by: every axis is a list, and combinations of lists are a grid, of which nothing is to be "
            "searched; give ranges such as {log: [0.02, 0.3]}, or leave search_by out"
        )
    if not 1 <= settings.samples <= axes_.MOST_CELLS:
        raise InputError(f"samples is {settings.samples}; it must be from 1 to {axes_.MOST_CELLS:,}")
    if settings.scheduler is not None and objective != "accuracy":
        raise InputError(
            f"scheduler: cells are stopped by their accuracy so far, and {objective} is searched for, which nobody "
            "knows before their end; search for accuracy, or leave scheduler out"
        )
    return Search(settings.search_by, objective, settings.budget, settings.samples)


def _axes(written: Mapping[str, Any], samples: int | None) -> dict[str, Axis]:
    if not written:
        raise InputError("axes: there is none; write for example `axes: {seed: [0, 1, 2]}`")
    if "name" in written:
        raise InputError("axes.name: cells are named by the values of their axes; leave it out")
    axes_.require_apart(list(written))
    return {key: axes_.read(key, value, samples) for key, value in written.items()}
