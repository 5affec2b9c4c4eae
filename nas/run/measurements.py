"""The log of what a run measured: read by target and purpose, and grown by whole lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from hardware_profiles import Target
from nas.config.budget import Budget
from nas.devices.measurement import Measurement, read_rows
from nas.process.files import append_jsonl
from nas.run.context import Context


def read_measurements(context: Context, target: Target, purpose: str | None = None) -> tuple[Measurement, ...]:
    """The run's measurements on a target in order, all or those of one purpose."""
    rows = read_rows(context.files.measurements)
    return tuple(row for row in rows if row.target == target.key and purpose in (None, row.purpose))


def append_measurements(context: Context, rows: Sequence[Measurement]) -> None:
    """Add measurements to the run's log."""
    append_jsonl(context.files.measurements, [row.to_dict() for row in rows])


def candidate_rows(context: Context, budget: Budget) -> Iterator[Measurement]:
    """All readings of candidates and winners on a budget's target, in the order in which they were taken."""
    target = context.experiment.target_of(budget)
    return (row for row in read_measurements(context, target) if row.purpose != "calibration")


def measured(context: Context, budget: Budget) -> dict[str, Measurement]:
    """The last reading of each network by key, if there is one that was not refused; what is broken stays so.

    Measuring again until a reading happens to be within would make the bound worthless.
    """
    rows: dict[str, Measurement] = {}
    for row in candidate_rows(context, budget):
        if row.refused and row.key in rows and not rows[row.key].refused:
            continue
        before = rows[row.key].broken if row.key in rows else ()
        rows[row.key] = replace(row, broken=tuple(dict.fromkeys((*before, *row.broken))))
    return rows
