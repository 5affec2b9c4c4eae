"""Does a cell go on at a rung? A function of the lines of `rungs.jsonl` up to its own, whoever reads them, and when.

Every cell appends what it is worth, reads what others have written, and stops itself: nobody has to be asked, and a
cell that was killed before it stopped comes to the same answer when it goes on. The rule is that of Optuna's pruner.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from nas.errors import InputError
from nas.process.files import append_jsonl, read_jsonl, understood
from nas.run.rungs import AtRung
from nas.searchers.optuna import library
from nas.sweep import folder
from nas.sweep.comparing import NEEDED_BY, question
from nas.sweep.layout import SweepFiles
from nas.sweep.scheduler import Scheduler

_REMEDY: Final = "restore it, or start anew with another --out"


@dataclass(frozen=True)
class Report:
    """What a cell was worth after some epochs, NaN where that is no number; `group` is the question that it answers."""

    cell: str
    epoch: int
    value: float
    group: Mapping[str, Any]


@dataclass(frozen=True)
class CellRungs:
    """Satisfies `nas.run.rungs.Rungs` for a cell of a sweep; `group` is the question that it answers."""

    files: SweepFiles
    cell: str
    scheduler: Scheduler
    group: Mapping[str, Any]

    def epochs(self, last: int) -> tuple[int, ...]:
        """Those at which a training of `last` epochs is compared."""
        return self.scheduler.rungs(last)

    def reported(self, epoch: int) -> float | None:
        """What this cell was worth there."""
        return next((each.value for each in self._there(epoch) if each.cell == self.cell), None)

    def report(self, epoch: int, found: AtRung) -> None:
        """Append a line, with what was compared."""
        row = {
            "cell": self.cell,
            "rung": len(self.epochs(epoch)),
            "epoch": epoch,
            "value": found.value,
            "group": self.group,
        }
        compared = {"budget": found.budget, "networks": [asdict(each) for each in found.networks]}
        append_jsonl(self.files.rungs, [{**row, **compared}])

    def stops(self, epoch: int) -> bool:
        """Whether this cell is to stop there, by what was reported before it."""
        there = self._there(epoch)
        own = next(number for number, each in enumerate(there) if each.cell == self.cell)
        return decisions(self.scheduler.reduction_factor, [each.value for each in there[: own + 1]])[-1]

    def _there(self, epoch: int) -> list[Report]:
        """What cells that answer the same question have reported, in that order, each once."""
        first: dict[str, Report] = {}
        for each in reports(self.files):
            if (each.epoch, each.group) == (epoch, self.group):
                first.setdefault(each.cell, each)
        return list(first.values())


def rungs_of(files: SweepFiles, cell: str) -> CellRungs | None:
    """Where a cell of a sweep may be stopped, None where the sweep has no scheduler.

    Raises InputError where there is no such sweep or cell, or no Optuna.
    """
    known = folder.read(files)
    if known.scheduler is None:
        return None
    listed = next((each for each in known.cells if each.name == cell), None)
    if listed is None:
        raise InputError(f"{files.root} is a sweep that has no cell {cell!r}; see `nas status {files.root}`")
    library(NEEDED_BY)
    balanced = "balanced_accuracy" in listed.experiment["search"]["objectives"]
    return CellRungs(files, cell, known.scheduler, question(listed.values, balanced))


def reports(files: SweepFiles) -> tuple[Report, ...]:
    """All that was reported; raises InputError where the file is damaged."""
    rows = read_jsonl(files.rungs)
    with understood(files.rungs, _REMEDY):
        return tuple(Report(str(row["cell"]), int(row["epoch"]), _number(row["value"]), row["group"]) for row in rows)


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def decisions(reduction_factor: int, values: Iterable[float]) -> list[bool]:
    """Whether each of those that come to a rung stops there, by its value and those before it.

    Those with a value among the best of every `reduction_factor` go on, and until there are so many, the best so far.
    """
    optuna = library(NEEDED_BY)
    # A study of this rung alone, which is its first; those behind it are never reached.
    pruner = optuna.pruners.SuccessiveHalvingPruner(1, reduction_factor, min_early_stopping_rate=0, bootstrap_count=0)
    study = optuna.create_study(direction="maximize", pruner=pruner, sampler=optuna.samplers.RandomSampler(seed=0))
    found = []
    for value in values:
        trial = study.ask()
        trial.report(value, 1)
        found.append(bool(trial.should_prune()))
    return found
