"""Carrying out a sweep: which cell begins next, where, and with whose shared weights.

All that is known of cells stands in their folders, so that a sweep that is killed at any instant goes on from there:
what is complete is not begun again, what had begun goes on, and what waited begins.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from nas.process import lock
from nas.process.interrupt import stop_if_asked
from nas.run.progress import progress_of, trained
from nas.sweep import folder
from nas.sweep.layout import SweepFiles
from nas.sweep.sharing import Planned, stopped_trainer
from nas.sweep.workers import Ended, Task, Workers

#: How long workers are waited for at a time: a signal is heard after that.
_PATIENCE_S: Final = 0.25


@dataclass(frozen=True)
class Happened:
    """A cell began, or ended: with a `cause` where it is not complete."""

    kind: Literal["begin", "end"]
    name: str
    cause: str = ""


Watch = Callable[[Happened], None]


class Supply(Protocol):
    """Chooses cells while a sweep is carried out, by what those before found."""

    @property
    def left(self) -> int:
        """How many are yet to be chosen."""

    def next(self) -> Planned | None:
        """One more cell, None where none is left."""

    def ended(self, name: str) -> None:
        """Hear that a cell runs no more, complete or not."""


def carry_out(
    files: SweepFiles, cells: Sequence[Planned], workers: Workers, watch: Watch, supply: Supply | None = None
) -> None:
    """Run every cell that is not complete, and tell; a cell that fails is told of, and the others go on.

    With a `supply` cells are chosen when there is room for them, beside those that are there.

    Raises KeyboardInterrupt where this process was asked to stop; cells that ran then have stopped where they can go
    on from.
    """

    def stopped(name: str) -> None:
        watch(Happened("end", name))
        if supply is not None:
            supply.ended(name)

    with closing(workers):
        sweep = files if folder.read(files).scheduler is not None else None
        queue = _Queue(files, cells, stopped)
        while queue.waiting or queue.running or (supply is not None and supply.left):
            stop_if_asked()
            while workers.free() and (chosen := _next(queue, supply)) is not None:
                cell, source = chosen
                if not has_begun(files, cell.name):
                    folder.begin(files, cell, source)
                queue.begins(cell)
                folder.note(files, "begin", cell=cell.name)
                watch(Happened("begin", cell.name))
                workers.begin(Task(cell.name, files.cell(cell.name), sweep))
            if not queue.running:
                time.sleep(_PATIENCE_S)  # others go on with all that is left
            for ended in workers.ended(_PATIENCE_S):
                watch(Happened("end", ended.name, _noted(files, ended)))
                del queue.running[ended.name]
                if supply is not None:
                    supply.ended(ended.name)


def _next(queue: _Queue, supply: Supply | None) -> tuple[Planned, str | None] | None:
    """The cell that begins now; more are chosen where none waits."""
    chosen = queue.next()
    while chosen is None and supply is not None and not queue.waiting and (cell := supply.next()) is not None:
        queue.add(cell)
        chosen = queue.next()
    return chosen


def is_over(files: SweepFiles, name: str) -> bool:
    """Whether a cell has nothing left to do: one without a device that did not answer then is tried again."""
    return progress_of(files.cell(name)).over


def has_begun(files: SweepFiles, name: str) -> bool:
    """Whether the run of a cell has written down what it began with: whose weights it takes is settled then."""
    return files.cell(name).environment.is_file()


def _noted(files: SweepFiles, ended: Ended) -> str:
    """Why a cell that ended is not complete, empty where it is; written to the sweep's log."""
    found = progress_of(files.cell(ended.name))
    cause = "" if found.ended or found.stopped else ended.cause or found.problem or "it ended before it was complete"
    folder.note(files, "end", cell=ended.name, **({"cause": cause} if cause else {}))
    return cause


class _Queue:
    """The cells that wait, in their order, and those that run."""

    def __init__(self, files: SweepFiles, cells: Sequence[Planned], stopped: Callable[[str], None]) -> None:
        self._files, self._stopped = files, stopped
        self._members: dict[int, list[str]] = {}
        self.waiting: dict[str, Planned] = {}
        self.running: dict[str, Planned] = {}
        self._sources: dict[int, str] = {}
        for cell in cells:
            self.add(cell)

    def add(self, cell: Planned) -> None:
        """Let a cell wait, unless it is complete."""
        if cell.group is not None:
            self._members.setdefault(cell.group, []).append(cell.name)
        if not is_over(self._files, cell.name):
            self.waiting[cell.name] = cell

    def begins(self, cell: Planned) -> None:
        """Note that a cell runs."""
        self.running[cell.name] = self.waiting.pop(cell.name)

    def next(self) -> tuple[Planned, str | None] | None:
        """The first cell that can begin now, with the cell whose weights it takes; None while all have to wait.

        The first of a group trains; those that come to it meanwhile wait. Where it fails before the weights are there,
        the next one trains; where it was stopped early, they are stopped too, which is told.
        """
        for name, cell in list(self.waiting.items()):
            run = self._files.cell(name)
            if lock.holder(run.root) is not None:
                continue  # somebody goes on with it, such as a process of this sweep whose parent was killed
            if has_begun(self._files, name):
                if not is_over(self._files, name):
                    return cell, None
                del self.waiting[name]
            elif cell.group is None:
                return cell, None
            elif (source := self._source(cell.group)) is not None:
                return cell, source
            elif any(self._runs(member) for member in self._members[cell.group]):
                continue
            elif stopped_trainer(self._files, self._members[cell.group]) is not None:
                del self.waiting[name]
                self._stopped(name)
            else:
                return cell, None
        return None

    def _source(self, group: int) -> str | None:
        """The cell of a group that has its weights, trained to their end."""
        if group not in self._sources:
            found = next((name for name in self._members[group] if trained(self._files.cell(name))), None)
            if found is None:
                return None
            self._sources[group] = found
        return self._sources[group]

    def _runs(self, name: str) -> bool:
        return name in self.running or lock.holder(self._files.cell(name).root) is not None
