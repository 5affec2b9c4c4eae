"""What has become of a sweep so far: of each cell whether it waits, runs, failed or is complete, and what it found."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from nas.process import lock
from nas.process.files import read_jsonl
from nas.run.layout import RunFiles
from nas.run.lenient_json import LenientJson
from nas.run.progress import Progress, progress_of
from nas.run.verdict_files import read_budget
from nas.sweep import folder
from nas.sweep.folder import Listed
from nas.sweep.layout import SweepFiles
from nas.sweep.objective import Search, found_in

State = Literal["waiting", "running", "interrupted", "failed", "stopped", "kept", "not kept", "not measured"]
#: Those of cells that came to their end: "not measured" where no budget is known to be broken.
COMPLETE: Final = ("kept", "not kept", "not measured")
#: Those of cells that have nothing left to do.
OVER: Final = (*COMPLETE, "stopped")
Signature = tuple[tuple[int, int] | None, ...]


@dataclass(frozen=True)
class CellState:
    """One cell: `cause` says why it failed or was stopped, `evaluations` how many networks its search judges."""

    cell: Listed
    state: State
    progress: Progress
    cause: str
    budgets: tuple[str, ...]
    evaluations: int

    @property
    def spent_s(self) -> float:
        """Seconds of all stages, with the one that is under way: nobody knows how far one came that was interrupted."""
        running = self.state == "running" and self.progress.stage
        return self.progress.spent_s + (time.time() - self.progress.since_s if running else 0.0)


@dataclass(frozen=True)
class SweepState:
    """Every cell; `running` says whether a process carries the sweep out at this moment.

    Where cells are searched for, those that were chosen by now.
    """

    name: str
    axes: tuple[str, ...]
    cells: tuple[CellState, ...]
    running: bool
    search: Search | None = None

    @property
    def planned(self) -> int:
        """How many cells there will be."""
        return len(self.cells) if self.search is None else self.search.samples

    @property
    def best(self) -> tuple[CellState, float] | None:
        """The best cell of a search of those that are complete and kept the budget, and its figure."""
        if self.search is None:
            return None
        found = [(cell, found_in(self.search, cell.progress.verdicts)) for cell in self.cells if cell.state in COMPLETE]
        known = [(cell, each.value) for cell, each in found if each.value is not None and each.kept]
        sign = -1 if self.search.figure.direction == "maximize" else 1
        return min(known, key=lambda pair: sign * pair[1], default=None)

    def count(self, *states: State) -> int:
        """How many cells are in one of some states."""
        return sum(cell.state in states for cell in self.cells)

    @property
    def left_s(self) -> float | None:
        """About what is left takes one cell at a time, from what complete ones took; None before one is complete."""
        done = [cell for cell in self.cells if cell.state in COMPLETE]
        if not done:
            return None
        mean = sum(cell.progress.spent_s for cell in done) / len(done)
        left = mean * (self.planned - len(self.cells))
        for cell in self.cells:
            if cell.state not in OVER:
                alike = [other for other in done if other.progress.reused == _will_take(cell, self.cells)] or done
                mean = sum(other.progress.spent_s for other in alike) / len(alike)
                left += max(0.0, mean - cell.spent_s)
        return left


class Watcher:
    """Looks at a sweep again and again; files are read where they have changed since.

    The process may be the one that measures: nothing changes while it does, and a look takes no time then.
    """

    def __init__(self, files: SweepFiles) -> None:
        self._files = files
        self._known = folder.read(files)
        self._known_at = _changed_at(files.cells)
        self._budgets: dict[str, tuple[str, ...]] = {}
        self._complete: dict[str, CellState] = {}
        self._read: dict[str, tuple[Signature, Progress]] = {}

    def look(self) -> SweepState:
        """What has become of it by now."""
        if (now := _changed_at(self._files.cells)) != self._known_at:  # one more was chosen
            self._known, self._known_at = folder.read(self._files), now
        running = lock.holder(self._files.root) is not None
        last = _last_events(self._files)
        cells = []
        for listed in self._known.cells:
            found = self._complete.get(listed.name) or self._cell(listed, running, last.get(listed.name))
            if found.state in COMPLETE and not found.progress.lost:
                self._complete[listed.name] = found
            cells.append(found)
        return SweepState(self._known.name, self._known.axes, self._with_trainers(cells), running, self._known.search)

    def _cell(self, listed: Listed, sweep_runs: bool, last: LenientJson | None) -> CellState:
        files = self._files.cell(listed.name)
        progress, cause = self._progress(listed.name), "" if last is None else last["cause"].text
        # That it ended is not said by a sweep that was killed before it heard of it; one that goes on leaves it alone.
        begun_here = last is not None and last["event"].text == "begin" and not progress.over
        if lock.holder(files.root) is not None or (begun_here and sweep_runs):
            state: State = "running"
        elif progress.ended:
            state = _outcome(progress)
        elif progress.stopped is not None:
            state, cause = "stopped", f"after epoch {progress.stopped.epoch}, with {progress.stopped.value:.1%}"
        elif cause:
            state = "failed"
        else:
            state = "interrupted" if progress.begun else "waiting"
        return CellState(
            listed, state, progress, cause if state in ("failed", "stopped") else "", self._names(listed),
            int(LenientJson(listed.experiment)["search"]["evaluations"].number or 0),
        )  # fmt: skip

    def _with_trainers(self, cells: Sequence[CellState]) -> tuple[CellState, ...]:
        """The same, where those that wait for weights whose training was stopped are stopped with it.

        As `sharing.stopped_trainer` has it, by what was read already.
        """
        there = {cell.cell.group for cell in cells if cell.progress.trained}
        under_way = {cell.cell.group for cell in cells if cell.state == "running"}
        stopped = {cell.cell.group: cell for cell in reversed(cells) if cell.state == "stopped"}
        found = []
        for cell in cells:
            trainer = stopped.get(cell.cell.group)
            if trainer is not None and not self._has_begun(cell) and cell.cell.group not in there | under_way:
                cell = replace(cell, state="stopped", cause=f"with {trainer.cell.name}")
            found.append(cell)
        return tuple(found)

    def _has_begun(self, cell: CellState) -> bool:
        """As `running.has_begun` has it: one that failed, or was killed, before that waits as if it never began."""
        return cell.state != "waiting" and self._files.cell(cell.cell.name).environment.is_file()

    def _names(self, listed: Listed) -> tuple[str, ...]:
        """The budgets of a cell."""
        if listed.name not in self._budgets:
            budgets = LenientJson(listed.experiment)["budgets"].items
            self._budgets[listed.name] = tuple(read_budget(each).name for each in budgets)
        return self._budgets[listed.name]

    def _progress(self, name: str) -> Progress:
        files = self._files.cell(name)
        signature = _signature(files)
        if name not in self._read or self._read[name][0] != signature:
            self._read[name] = signature, progress_of(files)
        return self._read[name][1]


def _signature(files: RunFiles) -> Signature:
    """What changes with any file that the progress of a run is read from."""
    read = (files.experiment, files.log, files.trials, files.verify, files.test, files.report, files.supernet)
    return tuple(_changed_at(path) for path in read)


def _changed_at(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _outcome(progress: Progress) -> Literal["kept", "not kept", "not measured"]:
    if progress.kept:
        return "kept"
    found = progress.verdicts
    open_ = progress.fits and not found.unmet and all(verdict.kept is not False for verdict in found.winners)
    return "not measured" if open_ and found.winners else "not kept"


def _will_take(cell: CellState, cells: Sequence[CellState]) -> bool:
    if cell.progress.reused:
        return True
    others = (other for other in cells if other is not cell and other.cell.group == cell.cell.group)
    return cell.cell.group is not None and not cell.progress.begun and any(other.progress.begun for other in others)


def _last_events(files: SweepFiles) -> dict[str, LenientJson]:
    """The last event of each cell in the sweep's log."""
    rows: Iterable[LenientJson] = map(LenientJson, read_jsonl(files.log))
    return {row["cell"].text: row for row in rows if row["cell"].text}
