"""Readings of winners that no verdict is about yet: who is killed between the two judges by these, and reads no more.

They are written before the log of measurements grows by them, and go when verify.json is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nas.devices.base import Times
from nas.devices.measurement import Measurement
from nas.process.files import atomic_write_json, read_json, read_jsonl, to_line, understood
from nas.run.artefacts import measured_files
from nas.run.context import Context
from nas.run.measurements import append_measurements
from nas.run.verdict_files import load_verdicts
from nas.run.winners import chosen_key

SCHEMA: Final = 1
_REMEDY: Final = "delete it, and the winners are measured again"


@dataclass(frozen=True, eq=False)
class Read:
    """What was read of a winner: its line of the log, None where its device was not within reach.

    `allowed_s` are the seconds that its thresholds were solved for, `rates` [exits] the shares of so many `images` that
    left at each exit, `single_s` seconds of single calls at the quantiles `measurement.LEVELS`.
    """

    allowed_s: float
    row: Measurement | None = None
    rates: NDArray[np.float64] | None = None
    single_s: tuple[float, ...] = ()
    images: int = 0

    @property
    def times(self) -> Times | None:
        """The seconds, as a session gave them."""
        row = self.row
        return None if row is None else Times(row.exits, row.stream, row.reference_s, self.single_s)


def note_read(context: Context, read: Mapping[str, Read]) -> None:
    """Keep what was read of winners, by budget, until it is judged; the log of measurements gets its lines."""
    record = {
        "schema": SCHEMA,
        "look": load_verdicts(context.files).looks + 1,
        "lines": len(read_jsonl(context.files.measurements)),
        "winners": {name: _record(context, name, each) for name, each in read.items()},
    }
    atomic_write_json(context.files.verifying, record)
    append_measurements(context, [each.row for each in read.values() if each.row is not None])


def read_before(context: Context) -> dict[str, Read] | None:
    """What a run that was killed had read of the winners that stand, and not judged; None where there is nothing.

    The log of measurements gets those of its lines that it lacks, whatever became of the winners since.
    """
    path = context.files.verifying
    if not path.is_file():
        return None
    record = read_json(path, _REMEDY)
    with understood(path, _REMEDY):
        found = {name: _read(each) for name, each in record["winners"].items()}
        later = read_jsonl(context.files.measurements)[record["lines"] :]
        # As lines: figures that there are none of are not a number, which equals nothing.
        logged = [to_line(Measurement.from_dict(row).to_dict()) for row in later]
        rows = [each.row for each in found.values() if each.row is not None]
        append_measurements(context, [row for row in rows if to_line(row.to_dict()) not in logged])
        of_these = {name: (each["key"], each["sha256"]) for name, each in record["winners"].items()}
        next_look = record["look"] == load_verdicts(context.files).looks + 1
    # What did not answer then may do so now, and is asked.
    back = [
        budget.name
        for budget in context.experiment.budgets
        if budget.name in found
        and found[budget.name].row is None
        and context.device(context.experiment.target_of(budget)) is not None
    ]
    if not next_look or back or of_these != _standing(context):
        forget_read(context)
        return None
    return found


def forget_read(context: Context) -> None:
    """What was read is judged."""
    context.files.verifying.unlink(missing_ok=True)


def _standing(context: Context) -> dict[str, tuple[str, dict[str, str]]]:
    """The key and the files of the winner of each budget that has one."""
    keys = {budget.name: chosen_key(context, budget) for budget in context.experiment.budgets}
    return {name: (key, measured_files(context.files.winner(name))) for name, key in keys.items() if key is not None}


def _record(context: Context, name: str, read: Read) -> dict[str, Any]:
    key, sha256 = _standing(context)[name]
    return {
        "key": key,
        "sha256": sha256,
        "allowed_s": read.allowed_s,
        "row": None if read.row is None else read.row.to_dict(),
        "rates": read.rates,
        "single_s": read.single_s,
        "images": read.images,
    }


def _read(record: Mapping[str, Any]) -> Read:
    row, rates = record["row"], record["rates"]
    return Read(
        float(record["allowed_s"]),
        None if row is None else Measurement.from_dict(row),
        None if rates is None else np.array(rates, np.float64),
        tuple(map(float, record["single_s"])),
        int(record.get("images", 0)),
    )
