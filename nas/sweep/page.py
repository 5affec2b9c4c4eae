"""The page of a sweep: were the budgets kept, by which values, how much do seeds move, and where is each run?"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from markupsafe import Markup

from nas.process.files import atomic_write_text
from nas.report import formatting, style, template
from nas.report.view_model import Answer
from nas.run.verdict import State
from nas.sweep import figures, results
from nas.sweep.layout import SweepFiles
from nas.sweep.results import Repeated, ResultRow
from nas.sweep.state import COMPLETE, CellState, SweepState, Watcher

_WIDE, _NARROW = (960.0, 500.0), (358.0, 400.0)


@dataclass(frozen=True)
class RowView:
    """A row of results: the device in words, whether all kept the budget, and accuracies as a picture."""

    row: ResultRow
    target: str
    state: State
    strip: Markup | None

    @property
    def limit(self) -> str:
        """The budget in words."""
        return formatting.budget(self.row.budget.latency_s, self.row.budget.how)


@dataclass(frozen=True)
class CellView:
    """A cell: where its page is, empty where there is none yet, and whose weights it has in words."""

    cell: CellState
    link: str
    weights: str

    @property
    def badge(self) -> str:
        """The class of its state's colour."""
        colours = {"kept": "kept", "not kept": "not-kept", "failed": "not-kept"}
        return colours.get(self.cell.state, "not-measured")


@dataclass(frozen=True)
class SweepView:
    """All the template needs; `target` is that of all budgets, empty where they have several.

    `telling` are the axes in which cells differ, `axes` those but the seed, `budgets` the names that all cells have.
    """

    state: SweepState
    answer: Answer
    target: str
    telling: tuple[str, ...]
    axes: tuple[str, ...]
    groups: tuple[Repeated, ...]
    keys: tuple[Markup, ...]
    budgets: tuple[str, ...]
    shapes: tuple[Markup, ...]
    rows: tuple[RowView, ...]
    repeats: bool
    seeds_stopped: bool
    wide: Markup | None
    narrow: Markup | None
    cells: tuple[CellView, ...]
    trainings: int
    sharing: int
    spent_s: float
    searched: str


def write_page(files: SweepFiles) -> Path:
    """Write the page of a sweep from whatever its folder holds, and return its path; raises InputError without one."""
    page = template(_resource("page.html")).render(page=build(files), style=style(), sweep_style=_extra())
    atomic_write_text(files.report, page)
    return files.report


def build(files: SweepFiles) -> SweepView:
    """What the page says."""
    state = Watcher(files).look()
    groups, telling = results.repeated(state.cells), results.telling(state.cells)
    budgets = tuple(dict.fromkeys(cell.budgets for cell in state.cells))
    found = results.rows(groups)
    names = results.device_names(files.cell(cell.cell.name) for cell in state.cells)
    values = [value for row in found if row.accuracy for value in row.accuracy.values]
    ends = (min(values), max(values)) if values else (0.0, 1.0)
    fronts = [
        front for group in groups for cell in group.cells
        if (front := results.front(group, cell, files.cell(cell.cell.name))) is not None
    ]  # fmt: skip
    views = tuple(_row(row, names, ends) for row in found)
    targets = {view.target for view in views}
    trained = {cell.cell.group for cell in state.cells if cell.cell.group is not None and cell.progress.trained}
    return SweepView(
        state=state,
        answer=_answer(state),
        target=targets.pop() if len(targets) == 1 else "",
        telling=telling,
        axes=tuple(key for key in telling if key != results.SEED),
        groups=groups,
        keys=tuple(figures.key(group.number) for group in groups),
        budgets=budgets[0] if len(budgets) == 1 else (),
        shapes=tuple(map(figures.shape, range(max(map(len, budgets), default=0)))),
        rows=views,
        repeats=any(len(group.cells) > 1 for group in groups),
        seeds_stopped=any(1 <= sum(c.state == "stopped" for c in group.cells) < len(group.cells) for group in groups),
        wide=figures.fronts(fronts, *_WIDE) if fronts else None,
        narrow=figures.fronts(fronts, *_NARROW) if fronts else None,
        cells=tuple(_cell(files, cell) for cell in state.cells),
        trainings=len(trained),
        sharing=sum(cell.cell.group in trained for cell in state.cells),
        spent_s=sum(cell.progress.spent_s for cell in state.cells),
        searched=_searched(state),
    )


def _searched(state: SweepState) -> str:
    """What was searched for, and which cell has it; empty where cells were not chosen by what others found."""
    if state.search is None:
        return ""
    what = f"Each cell was chosen by what those before it found, in search of {state.search.said}"
    if state.best is None:
        return f"{what}; none that is complete keeps that budget."
    return f"{what}: {state.best[0].cell.name} has it, {state.search.figure.said(state.best[1])}."


def _answer(state: SweepState) -> Answer:
    stopped, kept = state.count("stopped"), state.count("kept")
    total = state.planned - stopped
    broken, failed, left = state.count("not kept"), state.count("failed"), total - state.count(*COMPLETE)
    open_ = state.count("not measured")
    early = f" {stopped} of {state.planned} were stopped early, while they trained." if stopped else ""
    if 0 < kept == total:
        headline = "All budgets are kept." if total == 1 else f"All {total} cells kept their budgets."
        return Answer("kept", headline, f"Measured on their targets; each cell has a page of its own.{early}")
    counts = (
        (broken, "did not"), (open_, "could not be measured"), (failed, "failed"), (left - failed, "are not complete")
    )  # fmt: skip
    said = [f"{count} {what}" for count, what in counts if count]
    headline = f"{kept} of {total} cells kept their budgets."
    text = f"Of the others {', '.join(said)}. What was found follows; each cell has a page of its own.{early}"
    return Answer("not kept" if broken or failed else "not measured", headline, text)


def _row(row: ResultRow, names: dict[str, str], ends: tuple[float, float]) -> RowView:
    state: State = "not kept" if row.broken else "kept" if row.complete and row.kept == row.complete else "not measured"
    strip = None if row.accuracy is None else figures.strip(row.accuracy, ends, row.repeated.number)
    return RowView(row, formatting.target(row.budget.target, names), state, strip)


def _cell(files: SweepFiles, cell: CellState) -> CellView:
    name = cell.cell.name
    weights = "taken" if cell.progress.reused else "trained here" if cell.progress.trained else ""
    number = f"{cell.cell.group}, " if weights and cell.cell.group is not None else ""
    return CellView(cell, files.link(name) if files.cell(name).report.is_file() else "", number + weights)


def _extra() -> Markup:
    """The style of what only this page has."""
    return Markup(_resource("page.css"))


def _resource(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
