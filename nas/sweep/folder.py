"""The folder of a sweep: what is written down of it when it begins, and compared when it goes on."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from nas.config import dump, parse
from nas.config.parse import shown
from nas.config.plugins import Plugins
from nas.errors import InputError
from nas.process import lock
from nas.process.files import (
    TEMPORARY,
    RunFolderError,
    append_jsonl,
    atomic_write_json,
    atomic_write_text,
    plain,
    read_json,
    understood,
)
from nas.run.opening import differences
from nas.run.soundness import sealed
from nas.sweep.layout import SweepFiles
from nas.sweep.objective import Search
from nas.sweep.scheduler import Scheduler
from nas.sweep.sharing import Planned, reusing

SCHEMA: Final = 1
_SEARCH: Final = "search"
_SCHEDULER: Final = "scheduler"
_REMEDY: Final = "restore it, or start anew with another --out"
_ANEW: Final = "start anew with another --out, or resume with the same files and options"


@dataclass(frozen=True)
class Listed:
    """A cell as the folder names it: its values by axis, its group of shared weights, and its experiment's data."""

    name: str
    values: Mapping[str, Any]
    group: int | None
    experiment: Mapping[str, Any]
    trial: int | None = None


@dataclass(frozen=True)
class Known:
    """What a sweep's folder says of it, and how its cells are chosen: None where all were known beforehand.

    `scheduler` says which of them are stopped early; None where none is.
    """

    name: str
    axes: tuple[str, ...]
    cells: tuple[Listed, ...]
    search: Search | None = None
    scheduler: Scheduler | None = None


def write(files: SweepFiles, name: str, cells: Sequence[Planned], scheduler: Scheduler | None = None) -> None:
    """Write down which cells there are, or check that they are those that the sweep was begun with.

    Raises InputError naming the cell and the key that differ.
    """
    rows = [_row(each) for each in cells]
    if files.cells.exists():
        _require_scheduler(files, scheduler)
        _require_same(files, [plain(row) for row in rows], cells[0].cell.experiment.plugins)
    else:
        axes = list(cells[0].cell.values)
        _begin(files, name, axes, {"cells": rows, **_noted(scheduler)})


def begin_search(
    files: SweepFiles, name: str, axes: Sequence[str], search: Mapping[str, Any], scheduler: Scheduler | None = None
) -> Known:
    """Write down a sweep whose cells are chosen as it goes, or check that it is the one that was begun.

    Raises InputError naming what differs.
    """
    if not files.cells.exists():
        _begin(files, name, axes, {"cells": [], _SEARCH: search, **_noted(scheduler)})
        return read(files)
    _require_scheduler(files, scheduler)
    before = read_json(files.cells, _REMEDY).get(_SEARCH, {})
    for key, was, value in differences(before, plain(search)):
        raise InputError(
            f"{files.root} was begun with another sweep: {key} was {was!r:.80} and is {value!r:.80}; {_ANEW}"
        )
    return read(files)


def _begin(files: SweepFiles, name: str, axes: Sequence[str], rest: Mapping[str, Any]) -> None:
    atomic_write_json(files.cells, {"schema": SCHEMA, "name": name, "axes": axes, **rest})


def _noted(scheduler: Scheduler | None) -> dict[str, Any]:
    return {} if scheduler is None else {_SCHEDULER: asdict(scheduler)}


def _require_scheduler(files: SweepFiles, scheduler: Scheduler | None) -> None:
    before = read_json(files.cells, _REMEDY)
    for key, was, value in differences({_SCHEDULER: before.get(_SCHEDULER)}, {_SCHEDULER: None, **_noted(scheduler)}):
        raise InputError(f"{files.root} was begun with another sweep: {key} was {was!r} and is {value!r}; {_ANEW}")


def write_chosen(files: SweepFiles, cells: Sequence[Planned], trials: Mapping[str, int]) -> None:
    """Write down the cells that were chosen by now, and of which trial each is."""
    record = read_json(files.cells, _REMEDY)
    atomic_write_json(files.cells, {**record, "cells": [{**_row(each), "trial": trials[each.name]} for each in cells]})


def _row(cell: Planned) -> dict[str, Any]:
    return {
        "name": cell.name,
        "values": cell.cell.values,
        "group": cell.group,
        "kept_aside": cell.kept_aside,
        "experiment": dump.plain(cell.cell.experiment),
    }


def read(files: SweepFiles) -> Known:
    """What stands in a sweep's folder; raises InputError where it is none, or cannot be read."""
    if not files.cells.is_file():
        raise InputError(f"{files.root} is not a sweep: it has no {files.cells.name}; start one with `nas sweep`")
    record = read_json(files.cells, _REMEDY)
    with understood(files.cells, _REMEDY):
        search, scheduler = record.get(_SEARCH), record.get(_SCHEDULER)
        return Known(
            record["name"],
            tuple(record["axes"]),
            tuple(
                Listed(row["name"], row["values"], row["group"], row["experiment"], row.get("trial"))
                for row in record["cells"]
            ),
            search and Search(*(search[key] for key in ("by", "objective", "budget", "samples"))),
            scheduler and Scheduler(**scheduler),
        )


def _require_same(files: SweepFiles, rows: Sequence[Mapping[str, Any]], plugins: Plugins) -> None:
    before = {cell.name: cell for cell in read(files).cells}
    now = {row["name"]: row for row in rows}
    if odd := [*(set(now) - set(before)), *(set(before) - set(now))]:
        what = "has" if min(odd) in now else "lacks"
        raise InputError(f"{files.root} was begun with another sweep: this one {what} the cell {min(odd)}; {_ANEW}")
    for name, row in now.items():
        # Read and written anew: of what an older release did not know it has the default.
        with understood(files.cells, _REMEDY):
            known = plain(dump.plain(parse.experiment(before[name].experiment, plugins)))
        for key, was, value in differences(known, row["experiment"]):
            raise InputError(
                f"{files.root} was begun with another sweep: in the cell {name}, {key} was {was!r:.80} and is "
                f"{value!r:.80}; {_ANEW}"
            )


def require_as_planned(files: SweepFiles, cells: Sequence[Planned], plugins: Plugins) -> None:
    """Raise InputError for the run of a cell that was begun with another experiment, but for whose weights it takes."""
    for each in cells:
        path = files.cell(each.name).experiment
        if not path.is_file():
            continue
        stored, meant = parse.load(path, plugins=plugins), each.cell.experiment
        if each.group is not None:
            stored = replace(stored, supernet=replace(stored.supernet, reuse=None))
        for key, was, value in differences(dump.plain(stored), dump.plain(meant)):
            raise InputError(f"{path} is not that of the cell: {key} is {shown(was)}, not {shown(value)}; {_ANEW}")


def begin(files: SweepFiles, cell: Planned, source: str | None) -> None:
    """Write the experiment of a cell where a run finds it; `source` is the cell whose shared weights it takes."""
    experiment = cell.cell.experiment
    if source is not None:
        # Wherever the command that goes on with it is given.
        experiment = reusing(experiment, str(files.cell(source).root.resolve()))
    atomic_write_text(files.cell(cell.name).experiment, sealed(dump.to_yaml(experiment)))


def note(files: SweepFiles, event: str, **fields: object) -> None:
    """Append one event, with the time of day in seconds, to the sweep's log."""
    append_jsonl(files.log, [{"time": round(time.time(), 3), "event": event, **fields}])


def require_usable(files: SweepFiles, resume: bool) -> None:
    """Raise RunFolderError for a folder that no sweep can begin in, or with `resume` go on in."""
    root = files.root
    if os.path.lexists(root) and not root.is_dir():
        raise RunFolderError(f"{root} is a file, and a sweep needs a folder; choose another one with --out")
    if not root.is_dir() or (files.cells.is_file() and resume):
        return
    # A sweep that was killed before it wrote its cells has nothing to lose.
    content = [path.name for path in root.iterdir() if path.name != lock.LOCK and not path.name.startswith(TEMPORARY)]
    if content and files.cells.is_file():
        raise RunFolderError(f"{root} is not empty; continue the sweep in it with --resume, or choose another --out")
    if content:
        raise RunFolderError(f"{root} is not empty, and no sweep: it has no {files.cells.name}; choose another --out")


def path_of(out: str | None, name: str) -> Path:
    """The folder of a sweep, where the command names none."""
    return Path(out or Path("runs") / name)
