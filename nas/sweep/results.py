"""What a sweep found: its cells' budgets side by side, those that differ in the seed alone as one row with a spread."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any, Final

from nas.errors import InputError
from nas.process.files import read_json, read_jsonl
from nas.report.front import staircase
from nas.report.reading import target_key
from nas.report.svg import Point
from nas.run.layout import RunFiles
from nas.run.lenient_json import LenientJson
from nas.run.verdict import BudgetRow, Verdict
from nas.run.verdict_files import read_budget
from nas.sweep.state import CellState

#: The axis whose values are repetitions of the same.
SEED: Final = "seed"


@dataclass(frozen=True)
class Spread:
    """Numbers of repetitions: their mean, the least and the largest, and the standard deviation of two or more."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean."""
        return fmean(self.values)

    @property
    def deviation(self) -> float | None:
        """The standard deviation of the sample; None of a single number."""
        return stdev(self.values) if len(self.values) > 1 else None

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the largest."""
        return min(self.values), max(self.values)


@dataclass(frozen=True)
class Repeated:
    """Cells that differ in the seed alone: the values that they have in common, and a number for colours."""

    number: int
    values: Mapping[str, Any]
    cells: tuple[CellState, ...]


@dataclass(frozen=True)
class ResultRow:
    """One budget of repeated cells: how many of those that are complete kept it or broke it, and what winners gave.

    `parameters` are those of the winners; None where no winner says.
    """

    repeated: Repeated
    budget: BudgetRow
    complete: int
    kept: int
    broken: int
    accuracy: Spread | None
    latency_s: Spread | None
    parameters: Spread | None


@dataclass(frozen=True)
class Front:
    """The best networks of one cell: (seconds in the worst case, validation accuracy) from left to right."""

    repeated: Repeated
    cell: str
    points: tuple[Point, ...]
    winners: tuple[tuple[int, Verdict], ...]


def telling(cells: Sequence[CellState]) -> tuple[str, ...]:
    """The axes in which cells differ, or all of them where they differ in none; () where no cell was chosen yet."""
    if not cells:
        return ()
    first = cells[0].cell.values
    return tuple(key for key in first if any(cell.cell.values[key] != first[key] for cell in cells)) or tuple(first)


def repeated(cells: Sequence[CellState]) -> tuple[Repeated, ...]:
    """The cells by all of their values but the seed, in their order."""
    keys = [key for key in telling(cells) if key != SEED]
    groups: dict[str, list[CellState]] = {}
    for cell in cells:
        groups.setdefault(json.dumps([cell.cell.values[key] for key in keys], default=str), []).append(cell)
    return tuple(
        Repeated(number, {key: members[0].cell.values[key] for key in keys}, tuple(members))
        for number, members in enumerate(groups.values())
    )


def rows(groups: Iterable[Repeated]) -> tuple[ResultRow, ...]:
    """A row per budget of each group."""
    return tuple(_row(group, budget) for group in groups for budget in _budgets(group.cells[0]))


def front(group: Repeated, cell: CellState, files: RunFiles) -> Front | None:
    """The front of a cell; None where nothing was judged, or its files cannot be read."""
    try:
        trials, target = read_jsonl(files.trials), target_key(LenientJson(cell.cell.experiment)["target"])
    except (InputError, OSError):
        return None
    points = []
    for trial in map(LenientJson, trials):
        seconds, accuracy = trial["metrics"]["worst_case_latency_s"].number, trial["metrics"]["accuracy"].number
        if trial["status"].text == "complete" and seconds and seconds > 0 and accuracy is not None:
            points.append((seconds, accuracy))
    names = {name: number for number, name in enumerate(cell.budgets)}
    winners = tuple(
        (names[each.name], each) for each in cell.progress.verdicts.winners
        if each.name in names and each.target == target and each.measured_s and each.val_accuracy is not None
    )  # fmt: skip
    return Front(group, cell.cell.name, staircase(points), winners) if points else None


def device_names(runs: Iterable[RunFiles]) -> dict[str, str]:
    """Names of devices by id, as the runs noted them; this machine goes by its processor."""
    names: dict[str, str] = {}
    for files in runs:
        try:
            noted = LenientJson(read_json(files.environment, "")) if files.environment.is_file() else LenientJson()
        except InputError:
            continue
        names |= {key: profile["name"].text for key, profile in noted["profiles"].pairs.items()}
        if processor := noted["machine"]["processor"].text:
            names["host"] = processor
    return {key: name for key, name in names.items() if name}


def _budgets(cell: CellState) -> list[BudgetRow]:
    written = LenientJson(cell.cell.experiment)
    own = target_key(written["target"])
    return [read_budget(each, target_key(each["target"]) or own) for each in written["budgets"].items]


def _row(group: Repeated, budget: BudgetRow) -> ResultRow:
    done = [cell for cell in group.cells if cell.progress.ended]
    winners = [verdict for cell in done for verdict in cell.progress.verdicts.winners if verdict.name == budget.name]
    return ResultRow(
        group,
        budget,
        len(done),
        sum(verdict.kept is True for verdict in winners),
        len(done) - sum(verdict.kept is not False for verdict in winners),
        _spread(verdict.test_accuracy for verdict in winners),
        _spread(verdict.measured_s for verdict in winners),
        _spread(verdict.counts.get("params") for verdict in winners),
    )


def _spread(values: Iterable[float | None]) -> Spread | None:
    known = tuple(value for value in values if value is not None)
    return Spread(known) if known else None
