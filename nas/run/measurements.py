"""The log of what a run measured: read by target and purpose, and grown by whole lines."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from hardware_profiles import Target
from nas.config.budget import Budget
from nas.devices.measurement import Measurement, read_rows
from nas.process.files import append_jsonl
from nas.run.context import Context

#: Boards are measured side by side, and a log grows by whole lines.
_APPENDING: Final = threading.Lock()


def read_measurements(context: Context, target: Target, purpose: str | None = None) -> tuple[Measurement, ...]:
    """The run's measurements on a target in order, all or those of one purpose."""
    rows = read_rows(context.files.measurements)
    return tuple(row for row in rows if row.target == target.key and purpose in (None, row.purpose))


def append_measurements(context: Context, rows: Sequence[Measurement]) -> None:
    """Add measurements to the run's log."""
    with _APPENDING:
        append_jsonl(context.files.measurements, [row.to_dict() for row in rows])


def candidate_rows(context: Context, budget: Budget) -> Iterator[Measurement]:
    """All readings of candidates and winners on a budget's target, in the order in which they were taken."""
    target = context.experiment.target_of(budget)
    return (row for row in read_measurements(context, target) if row.purpose in ("candidate", "winner"))


def measured(context: Context, budget: Budget) -> dict[str, Measurement]:
    """The last reading of each network by key, if there is one that was not refused; what is broken stays so.

    Measuring again until a reading happens to be within would make the bound worthless: after so many readings above a
    budget, one more than those in a row have to be within it.
    """
    rows: dict[str, Measurement] = {}
    needed: dict[str, _Needed] = defaultdict(_Needed)
    for row in candidate_rows(context, budget):
        if row.refused and row.key in rows and not rows[row.key].refused:
            continue
        needed[row.key].read(row)
        rows[row.key] = replace(row, broken=needed[row.key].broken)
    return rows


def readings_needed(context: Context, budget: Budget, key: str) -> int:
    """How many readings within a budget in a row a network needs before it counts as keeping it: 1 at first."""
    needed = _Needed()
    for row in candidate_rows(context, budget):
        if row.key == key:
            needed.read(row)
    return needed.of(budget.name)


class _Needed:
    """How often a network was above each budget, and how often within it since."""

    def __init__(self) -> None:
        self._above: Counter[str] = Counter()
        self._within: Counter[str] = Counter()

    def read(self, row: Measurement) -> None:
        """Take in a reading; candidates are read before they are trained, and only winners count as within."""
        for name in row.broken:
            self._above[name] += 1
            self._within[name] = 0
        if row.purpose == "winner" and row.budget and not row.refused and row.budget not in row.broken:
            self._within[row.budget] += 1

    def of(self, name: str) -> int:
        """How many more readings within a budget it takes."""
        return max(self._above[name] + 1 - self._within[name], 0)

    @property
    def broken(self) -> tuple[str, ...]:
        """The budgets that it was above, and not often enough within since."""
        return tuple(name for name in self._above if self.of(name) > 0)
