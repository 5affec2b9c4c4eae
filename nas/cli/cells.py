"""How the cells of a sweep are shown: a table that is drawn again on a terminal, lines elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from rich.live import Live
from rich.table import Table
from rich.text import Text

from nas.errors import InputError
from nas.process import lock
from nas.report import formatting
from nas.run.progress import Progress, progress_of
from nas.sweep.state import COMPLETE, CellState, State, SweepState, Watcher

if TYPE_CHECKING:
    from rich.console import Console

    from nas.run.layout import RunFiles
    from nas.sweep.running import Happened

_COLOURS: Final = {
    "kept": "green",
    "running": "bold",
    **dict.fromkeys(("not kept", "failed"), "red"),
    **dict.fromkeys(("interrupted", "not measured"), "yellow"),
    "stopped": "dim",
}
#: How often the table is drawn: what is measured may be in the same process.
_DRAWN_PER_S: Final = 0.5
#: Where there is no terminal, something is said at least that often.
SAID_EVERY_S: Final = 30.0
#: In which order cells are shown where there is no room for all.
_FIRST: Final = ("running", "failed", "interrupted", "not kept", "not measured", "kept", "stopped", "waiting")
#: Lines of a terminal that the table leaves free.
_ROOM: Final = 6


class Shown:
    """Shows a sweep while it is carried out."""

    def __init__(self, console: Console, watcher: Watcher, workers: int) -> None:
        self._console, self._watcher, self._workers = console, watcher, workers
        self._said_s = time.monotonic()
        self._stop = threading.Event()
        self._live: Live | None = None
        self._thread: threading.Thread | None = None
        self._last = watcher.look()

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(
                get_renderable=self._drawn, console=self._console, refresh_per_second=_DRAWN_PER_S, transient=True
            )
            self._live.start()
        else:
            self._thread = threading.Thread(target=self._say_now_and_then, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        if self._live is not None:
            self._live.stop()
        if self._thread is not None:
            self._thread.join()

    def happened(self, event: Happened) -> None:
        """A cell began or ended."""
        state = self._look()
        cell = next(each for each in state.cells if each.cell.name == event.name)
        stopped = f", {count} stopped" if (count := state.count("stopped")) else ""
        place = f"{state.count(*COMPLETE)} of {state.planned} complete{stopped}"
        if event.kind == "begin":
            what = "goes on" if cell.progress.spent_s else "begins"
        else:
            told = ", ".join(filter(None, (cell.state, cell.cause, *found(cell))))
            what = f"failed: {event.cause}" if event.cause else told
        if event.kind == "end" or self._live is None:
            self._say(f"{event.name}: {what} ({place})")

    def _look(self) -> SweepState:
        try:
            self._last = self._watcher.look()
        except InputError:  # a file that is being written; the sweep itself says what is damaged
            return self._last
        return self._last

    def _drawn(self) -> Table:
        return table(self._look(), max(4, self._console.height - _ROOM), self._workers)

    def _say(self, line: str) -> None:
        self._said_s = time.monotonic()
        self._console.print(Text(line))

    def _say_now_and_then(self) -> None:
        while not self._stop.wait(max(0.1, self._said_s + SAID_EVERY_S - time.monotonic())):
            if time.monotonic() - self._said_s >= SAID_EVERY_S:
                state = self._look()
                running = [f"{cell.cell.name} ({doing(cell)})" for cell in state.cells if cell.state == "running"]
                self._say(f"{summary(state, self._workers)}; {', '.join(running) or 'none is running'}")


def table(state: SweepState, most: int | None = None, workers: int = 1) -> Table:
    """The cells, in their order; `most` so many of them, those that run first."""
    drawn = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("cell", "state", "", "budgets", "time"):
        drawn.add_column(column, overflow="fold", justify="right" if column == "time" else "left")
    names = {cell.cell.name for cell in sorted(state.cells, key=lambda cell: _FIRST.index(cell.state))[:most]}
    for cell in state.cells:
        if cell.cell.name in names:
            drawn.add_row(
                Text(cell.cell.name),
                Text(cell.state, _COLOURS.get(cell.state, "")),
                Text(doing(cell) if cell.state == "running" else cell.cause),
                Text(", ".join(found(cell))),
                Text(duration(cell.spent_s) if cell.progress.begun else ""),
            )
    hidden = len(state.cells) - len(names)
    more = f"{hidden} more cells; " if hidden else ""
    drawn.caption = None if most is None else f"{more}{summary(state, workers)}"
    drawn.caption_justify = "left"
    return drawn


def summary(state: SweepState, workers: int) -> str:
    """A sweep in a line: how many cells are complete, and about how long the others take."""
    counts = [f"{state.count(*COMPLETE)} of {state.planned} cells complete", f"{state.count('kept')} kept"]
    names: tuple[State, ...] = ("stopped", "failed", "interrupted", "running")
    counts += [f"{count} {name}" for name in names if (count := state.count(name))]
    left_s = state.left_s
    if left_s and state.running:
        counts.append(f"about {duration(left_s / workers)} left")
    if not state.running and (state.planned > len(state.cells) or state.count("waiting", "interrupted", "failed")):
        counts.append("nobody is at it: `nas sweep ... --resume` goes on")
    return ", ".join(counts) + best(state)


def best(state: SweepState) -> str:
    """What a search has found by now, behind a semicolon; empty where nothing is searched for."""
    if state.search is None:
        return ""
    if state.best is None:
        return f"; searched is {state.search.said}: none kept it yet"
    cell, value = state.best
    return f"; searched is {state.search.said}: {cell.cell.name} has {state.search.figure.said(value)}"


def doing(cell: CellState) -> str:
    """What a cell that runs is doing."""
    return _doing(cell.progress, cell.evaluations) or "starts"


def _doing(progress: Progress, evaluations: int) -> str:
    judged = f", {progress.judged} of {evaluations} networks" if progress.stage == "search" and evaluations else ""
    return f"{progress.stage}{judged}" if progress.stage else ""


def found(cell: CellState) -> list[str]:
    """What is known for each budget of a cell: the winner's accuracy on test images, or the best so far."""
    return _found(cell.progress, cell.budgets)


def _found(progress: Progress, budgets: tuple[str, ...]) -> list[str]:
    if not progress.fits:
        return ["nothing fits"]
    winners = {verdict.name: verdict for verdict in progress.verdicts.winners}
    unmet = {budget.name for budget, _ in progress.verdicts.unmet}
    said = []
    for number, name in enumerate(budgets):
        best = progress.best[number] if number < len(progress.best) else None
        if name in unmet:
            said.append(f"{name}: not kept")
        elif (verdict := winners.get(name)) is not None and verdict.test_accuracy is not None:
            said.append(f"{name}: {verdict.test_accuracy:.1%}, {verdict.state}")
        elif best is not None:
            said.append(f"{name}: {best:.1%} on validation")
    return said


def duration(seconds: float) -> str:
    """How long a person waits, with blanks that can be searched for."""
    return formatting.duration(seconds).replace("\N{NO-BREAK SPACE}", " ")


def run_lines(files: RunFiles) -> Iterator[str]:
    """A run in a few lines."""
    from nas.config import plain_yaml
    from nas.run.lenient_json import LenientJson
    from nas.run.verdict_files import read_budget

    progress, process = progress_of(files), lock.holder(files.root)
    written = LenientJson(plain_yaml.read(files.experiment))
    budgets = tuple(read_budget(each).name for each in written["budgets"].items)
    if process is not None:
        state = f"running, process {process}"
    elif progress.ended:
        state = "complete, " + ("every budget kept" if progress.kept else "a budget was not kept")
    elif (at := progress.stopped) is not None:
        state = f"stopped by its sweep after epoch {at.epoch}, with {at.value:.1%}: `nas run ... --resume` goes on"
    else:
        state = "interrupted: `nas run ... --resume` goes on"
    yield f"{files.root}: {state}"
    if progress.problem:
        yield progress.problem
    if (now := _doing(progress, int(written["search"]["evaluations"].number or 0))) and not progress.ended:
        yield f"{'in' if process is not None else 'was in'} {now}"
    yield f"{duration(progress.spent_s)} so far, {progress.judged} networks judged"
    yield from _found(progress, budgets)
