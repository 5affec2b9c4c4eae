"""What a run's winners took on devices that its budgets do not name: written, and read for the report."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from nas.config.units import format_seconds
from nas.process.files import atomic_write_json, read_json
from nas.run.layout import RunFiles
from nas.run.lenient_json import LenientJson

SCHEMA = 1
_REMEDY = "delete it, and what was measured elsewhere is forgotten"


@dataclass(frozen=True)
class Elsewhere:
    """One winner on another device: what its budget is about, measured and bounded in seconds, or why it was not.

    `machine` is what the device calls itself, `date` the day of the measurement.
    """

    device: str
    machine: str
    runtime: str
    date: str
    budget: str
    how: str
    statistic: str
    latency_s: float
    measured_s: float
    upper_95_s: float | None
    refused: str = ""

    @property
    def within(self) -> bool:
        """Whether the bound is within the budget."""
        return not self.refused and self.upper_95_s is not None and self.upper_95_s <= self.latency_s

    @property
    def sentence(self) -> str:
        """All of it, for people."""
        there = f"{self.budget} on {self.device} ({self.machine}, {self.runtime}, {self.date})"
        limit = f"{format_seconds(self.latency_s)} {self.how}"
        if self.refused or self.upper_95_s is None:
            return f"{there}: not measured against {limit}: {self.refused or 'too few readings'}"
        word = "within" if self.within else "above"
        return (
            f"{there}: {word} {limit}: {format_seconds(self.measured_s)}, {self.statistic} "
            f"(95 %: below {format_seconds(self.upper_95_s)})"
        )


def today() -> str:
    """The day, as it stands in files."""
    return time.strftime("%Y-%m-%d", time.gmtime())


def write_elsewhere(files: RunFiles, device: str, rows: Sequence[Elsewhere]) -> None:
    """Put rows of a device in the place of those that it has."""
    kept = [asdict(row) for row in load_elsewhere(files) if row.device != device]
    atomic_write_json(files.elsewhere, {"schema": SCHEMA, "winners": [*kept, *(asdict(row) for row in rows)]})


def load_elsewhere(files: RunFiles) -> tuple[Elsewhere, ...]:
    """Everything that was measured elsewhere, () if nothing was; raises InputError for a file that is none of ours."""
    return read_elsewhere(LenientJson(read_json(files.elsewhere, _REMEDY))) if files.elsewhere.exists() else ()


def read_elsewhere(record: LenientJson) -> tuple[Elsewhere, ...]:
    """The rows of the file, whatever of it is there."""
    return tuple(
        Elsewhere(
            device=row["device"].text,
            machine=row["machine"].text,
            runtime=row["runtime"].text,
            date=row["date"].text,
            budget=row["budget"].text,
            how=row["how"].text,
            statistic=row["statistic"].text,
            latency_s=row["latency_s"].number or 0.0,
            measured_s=row["measured_s"].number or 0.0,
            upper_95_s=row["upper_95_s"].number,
            refused=row["refused"].text,
        )
        for row in record["winners"].items
    )
