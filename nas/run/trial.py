"""One evaluated genome as one line of `trials.jsonl`, and the log of a search as complete batches.

The log is the state of a search: it is replayed batch by batch, so a line holds nothing that would differ if the same
search ran again (no time of day, no duration), and the log of a resumed run equals that of an uninterrupted one.
"""

from __future__ import annotations

import json
import math
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from nas.errors import InputError
from nas.process.files import atomic_write_bytes, read_jsonl, to_line, understood, unsealed

SCHEMA = 1
_REMEDY = "restore the file, read it with the release that wrote it, or start again in another --out"
Status = Literal["complete", "infeasible", "failed"]
#: The metric by which networks are ranked that were not judged by an accuracy.
SCORE: Final = "score"


@dataclass(frozen=True, slots=True)
class AtBudget:
    """A network run under one budget: its K - 1 thresholds (inf: never leave here), exit rates, and what they give.

    `right` packs which of `images` are answered rightly (`answers`), by thresholds that were solved on others; 0 and
    empty where the accuracy is not of images, or of a release that did not note them. The accuracy is None where a
    network was ranked by a score.
    """

    accuracy: float | None
    latency_s: float
    thresholds: tuple[float, ...]
    rates: tuple[float, ...]
    images: int = 0
    right: str = ""

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        set_(self, "accuracy", None if self.accuracy is None else float(self.accuracy))
        set_(self, "latency_s", float(self.latency_s))
        set_(self, "thresholds", _floats(self.thresholds))
        set_(self, "rates", _floats(self.rates))
        if not (math.isfinite(self.accuracy or 0.0) and math.isfinite(self.latency_s)):
            raise ValueError(f"accuracy {self.accuracy} and latency {self.latency_s} s must be finite numbers")
        if any(math.isnan(t) or t == -math.inf for t in self.thresholds):
            raise ValueError(f"thresholds {self.thresholds} must be numbers, or inf for an exit that is never taken")
        if len(self.rates) != len(self.thresholds) + 1 or not all(map(math.isfinite, self.rates)):
            raise ValueError(f"{len(self.thresholds)} thresholds need one finite rate more, not {self.rates}")
        if len(self.right) != 4 * -(-self.images // 24):
            raise ValueError(f"the answers on {self.images} images do not have {len(self.right)} letters")

    def answers(self) -> NDArray[np.bool_]:
        """Which images [images] are answered rightly; [0] where that is not known."""
        octets = np.frombuffer(b64decode(self.right, validate=True), np.uint8)
        return np.unpackbits(octets, count=self.images).astype(np.bool_)


def packed(right: NDArray[np.bool_]) -> str:
    """Booleans [n], eight to an octet, in base 64, as a line of JSON has them."""
    return b64encode(np.packbits(right).tobytes()).decode()


@dataclass(frozen=True, slots=True)
class Trial:
    """One genome, where it stood in the search, and what was found about it.

    `of` is the size of its batch, `violation` and `budgets` have an entry per budget (None: the budget cannot be kept),
    `curve` has (fraction of the worst case, expected seconds, accuracy). A metric that is not finite is nan; a
    violation may be inf. Raises ValueError where the fields contradict each other.
    """

    batch: int
    slot: int
    of: int
    genome: tuple[int, ...]
    key: str
    status: Status
    metrics: dict[str, float] = field(default_factory=dict)
    violation: tuple[float, ...] = ()
    budgets: tuple[AtBudget | None, ...] = ()
    curve: tuple[tuple[float, float, float], ...] = ()
    model_version: int = 0
    error: str | None = None
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        for name in ("batch", "slot", "of", "model_version", "schema"):
            set_(self, name, int(getattr(self, name)))
        set_(self, "genome", tuple(int(gene) for gene in self.genome))
        # One nan object for all: a trial then equals its own copy, because Python compares identity first.
        metrics = {name: float(self.metrics[name]) for name in sorted(self.metrics)}
        set_(self, "metrics", {name: value if math.isfinite(value) else math.nan for name, value in metrics.items()})
        set_(self, "violation", _floats(self.violation))
        set_(self, "budgets", tuple(self.budgets))
        set_(self, "curve", tuple((float(f), float(s), float(a)) for f, s, a in self.curve))
        if not 0 <= self.slot < self.of or self.batch < 0:
            raise ValueError(f"batch {self.batch} has no slot {self.slot}: it holds slots 0 to {self.of - 1}")
        if self.status not in get_args(Status):
            raise ValueError(f"status {self.status!r} is none of {', '.join(get_args(Status))}")
        if not all(v >= 0 for v in self.violation):
            raise ValueError(f"violation {self.violation} must be 0 where a budget is kept and positive elsewhere")
        unknown = any(at is not None and at.accuracy is None for at in self.budgets)
        if unknown and not math.isfinite(self.metrics.get(SCORE, math.nan)):
            raise ValueError("a network without an accuracy at a budget needs a score, and it has none")
        if not all(math.isfinite(x) for point in self.curve for x in point):
            raise ValueError(f"curve {self.curve} must hold finite numbers; leave out points that cannot be reached")

    def worth(self, number: int) -> float:
        """What this network is ranked by at a budget that it may keep, more is better: its accuracy, else its score."""
        at = self.budgets[number]
        if at is None:
            raise AssertionError("only networks that may keep a budget are ranked by it")
        return self.metrics[SCORE] if at.accuracy is None else at.accuracy

    def to_json(self) -> str:
        """Write the trial as one line of JSON; infinite thresholds and violations and missing metrics become null."""
        return to_line(asdict(self))

    @classmethod
    def from_json(cls, record: str | Mapping[str, Any]) -> Self:
        """Read a trial from its line, or from the line's parsed object. Raises InputError."""
        try:
            fields = unsealed(json.loads(record) if isinstance(record, str) else record)
            if fields.get("schema") != SCHEMA:
                raise ValueError(f"it has schema {fields.get('schema')!r}, and this release reads {SCHEMA}")
            fields["metrics"] = {name: _number(value, math.nan) for name, value in fields["metrics"].items()}
            fields["violation"] = _filled(fields["violation"])
            fields["budgets"] = [
                b and AtBudget(**b | {"thresholds": _filled(b["thresholds"])}) for b in fields["budgets"]
            ]
            return cls(**fields)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
            raise InputError(f"a trial cannot be read: {error}; {_REMEDY}") from error


def complete_batches(trials: Iterable[Trial]) -> tuple[tuple[Trial, ...], ...]:
    """The batches 0, 1, ... whose slots are all there, each in slot order; a torn last batch is left out.

    Where a slot occurs twice, the later line counts. Raises InputError if a batch is missing before the last one, or
    if two lines of one slot hold different genomes.
    """
    batches: dict[int, dict[int, Trial]] = {}
    for trial in trials:
        slots = batches.setdefault(trial.batch, {})
        first = slots.setdefault(trial.slot, trial)
        if first.genome != trial.genome or first.of != trial.of:
            raise InputError(
                f"the log of trials has two different genomes for slot {trial.slot} of batch {trial.batch}; "
                "two runs were mixed: restore the file, or start again in another --out"
            )
        slots[trial.slot] = trial
    complete = [
        tuple(slots[slot] for slot in sorted(slots))
        for _, slots in sorted(batches.items())
        if len(slots) == next(iter(slots.values())).of
    ]
    last = max(batches, default=-1)
    if [batch[0].batch for batch in complete] not in (list(range(last)), list(range(last + 1))):
        raise InputError(
            f"the log of trials ends with batch {last}, but not every batch before it is complete; "
            "lines were lost: restore the file, or start again in another --out"
        )
    return tuple(complete)


def load_batches(path: Path) -> tuple[tuple[Trial, ...], ...]:
    """Read the complete batches of a log, () where there is none, and cut a torn last batch off the file.

    The torn batch is evaluated again, and its lines then stand where an uninterrupted run would have put them.
    Raises InputError as `read_jsonl`, `Trial.from_json` and `complete_batches` do.
    """
    records, trials = read_jsonl(path), []
    for number, record in enumerate(records, start=1):
        with understood(f"{path}, line {number}", _REMEDY):
            trials.append(Trial.from_json(record))
    with understood(path, _REMEDY):
        batches = complete_batches(trials)
    kept = sum(map(len, batches))
    if kept < len(records):
        lines = path.read_bytes().split(b"\n")[:kept]
        if [json.loads(line)["batch"] for line in lines] != [trial.batch for batch in batches for trial in batch]:
            raise InputError(f"{path} has its batches out of order; restore it, or start again in another --out")
        atomic_write_bytes(path, b"".join(line + b"\n" for line in lines))
    return batches


def _floats(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _filled(values: Sequence[float | None]) -> list[float]:
    return [_number(value, math.inf) for value in values]


def _number(value: float | None, missing: float) -> float:
    return missing if value is None else value
