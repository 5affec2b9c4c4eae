"""Measured latencies of networks, exit by exit, as they are kept: one JSON line each."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from nas.devices.conditions import Conditions
from nas.devices.timing.bounds import percentile_upper_95_s, t_bound, upper_95_s
from nas.devices.timing.readings import Readings
from nas.devices.timing.single_calls import SingleReadings
from nas.errors import InputError
from nas.process.files import read_jsonl, understood
from nas.tolerances import QUIET_SHARE

SCHEMA: Final = 1
_REMEDY: Final = "restore the file, or delete this line and all after it, and measure again"
_CALLED: Final = {bool: "truth value", int: "whole number", float: "finite number", str: "text", list: "list"}
Purpose = Literal["calibration", "single_calls", "candidate", "winner"]


#: Quantiles that a distribution of single calls is kept by: half of them in its upper tenth.
LEVELS: Final = tuple(np.concatenate([np.linspace(0, 0.9, 100, endpoint=False), np.linspace(0.9, 1, 101)]).tolist())


def quantiles_of(single: SingleReadings) -> tuple[float, ...]:
    """Seconds of single calls at `LEVELS`, each of them a call that was seen."""
    return tuple(np.quantile(single.seconds, LEVELS, method="higher").tolist())


@dataclass(frozen=True)
class ExitTime:
    """Cumulative seconds until a sample has left at one exit: the median, its upper 95 % bound, and how it was read.

    For a stream of samples it is the mean instead. `wall_s` and `cpu_s` are what each block gave by either clock;
    `repeated` counts blocks that were thrown away because somebody else was using the core or the reference network
    had moved. `drift` is the largest relative move of the reference next to the blocks that were kept, and `drifted`
    whether that is more than `nas.tolerances` allows. `disturbed` is the share of readings beside which a probe found
    the core shared. `refused` says why the time could not be measured and is empty where it could; then `median_s` is
    more than it and the bound is infinite. `cpu_s` is empty where the clock is too coarse. `p95_s` and `p99_s` are the
    seconds that 95 and 99 % of `calls` single calls stayed within, by the wall clock and none left out; else NaN. One
    was due every `every_s` seconds (None: they came one after another), and the slowest took `slowest_s`. `p95_upper_s`
    and `p99_upper_s` are upper 95 % bounds of these percentiles, infinite for too few calls and where `single_refused`
    says why they do not count.
    """

    median_s: float
    upper_95_s: float
    contended: bool = False
    wall_s: tuple[float, ...] = ()
    cpu_s: tuple[float, ...] = ()
    repeated: int = 0
    drift: float = 0.0
    drifted: bool = False
    disturbed: float = 0.0
    refused: str = ""
    p95_s: float = math.nan
    p99_s: float = math.nan
    calls: int = 0
    every_s: float | None = None
    p95_upper_s: float = math.inf
    p99_upper_s: float = math.inf
    slowest_s: float = math.nan
    single_refused: str = ""

    @staticmethod
    def of(readings: Readings, single: SingleReadings | None = None) -> ExitTime:
        """What is kept of readings, and of single calls."""
        centre = np.median if readings.statistic == "median" else np.mean
        kept = ExitTime(
            median_s=readings.value_s,
            upper_95_s=upper_95_s(readings),
            contended=readings.contended,
            wall_s=tuple(centre(readings.wall_s, axis=1).tolist()),
            cpu_s=tuple(centre(readings.cpu_s, axis=1).tolist()) if readings.cpu_per_reading else (),
            repeated=readings.repeated,
            drift=readings.drift,
            drifted=readings.drifted,
            disturbed=readings.disturbed,
            refused=readings.refused,
        )
        return kept if single is None else kept._with(single)

    @staticmethod
    def of_single(single: SingleReadings) -> ExitTime:
        """What is kept of single calls over a stream: their mean, bounded by that of each block, and percentiles."""
        means_s = single.seconds.mean(axis=1)
        mean = ExitTime(
            median_s=float(single.seconds.mean()),
            upper_95_s=math.inf if single.refused else t_bound(means_s),
            wall_s=tuple(means_s.tolist()),
            repeated=single.repeated,
            disturbed=single.disturbed,
            refused=single.refused,
        )
        return mean._with(single)

    def _with(self, single: SingleReadings) -> ExitTime:
        p95_s, p99_s = np.quantile(single.seconds, (0.95, 0.99), method="higher").tolist()
        return replace(
            self,
            p95_s=p95_s,
            p99_s=p99_s,
            calls=single.seconds.size,
            every_s=single.every_s,
            p95_upper_s=percentile_upper_95_s(single, 0.95),
            p99_upper_s=percentile_upper_95_s(single, 0.99),
            slowest_s=float(single.seconds.max()),
            single_refused=single.refused,
        )

    def percentile(self, share: float) -> tuple[float, float]:
        """What 95 or 99 % of single calls stayed within, and its bound."""
        return {0.95: (self.p95_s, self.p95_upper_s), 0.99: (self.p99_s, self.p99_upper_s)}[share]

    @staticmethod
    def from_dict(record: Mapping[str, Any]) -> ExitTime:
        """Read back what JSON made of it; an infinite bound became null."""
        _only(record, ExitTime)
        bound = math.inf if record["upper_95_s"] is None else _seconds(record["upper_95_s"], "upper_95_s")
        clocks: dict[str, Any] = {
            name: tuple(_seconds(each, name) for each in record.get(name, ())) for name in ("wall_s", "cpu_s")
        }
        later: dict[str, Any] = {"contended": _of(record["contended"], bool, "contended")}
        kinds = {"repeated": int, "drift": float, "drifted": bool, "disturbed": float, "calls": int}
        later |= {name: _of(record[name], kind, name) for name, kind in kinds.items() if name in record}
        seconds = ("p95_s", "p99_s", "every_s", "p95_upper_s", "p99_upper_s", "slowest_s")
        later |= {name: _seconds(record[name], name) for name in seconds if record.get(name) is not None}
        later |= {name: _of(record.get(name, ""), str, name) for name in ("refused", "single_refused")}
        return ExitTime(_seconds(record["median_s"], "median_s"), bound, **clocks, **later)


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """The seconds to every exit of one network on one target, and what had been predicted for them.

    `broken` names the budgets that this reading showed to be broken, `budget` the one that it was taken for; `stream`
    is over test images that leave by thresholds, and `rates` the shares of them that left at each exit, where the
    budget is about that: a mean, or single calls of a network with exits. `reference_s` is what the reference network
    took meanwhile, usually, or None where the core was never undisturbed beside it; it, `rates` and `conditions` are
    None in files of older releases.
    """

    purpose: Purpose
    target: str
    genome: tuple[int, ...]
    key: str
    exits: tuple[ExitTime, ...]
    predicted_s: tuple[float, ...] | None = None
    predicted_std_s: tuple[float, ...] | None = None
    broken: tuple[str, ...] = ()
    budget: str = ""
    stream: ExitTime | None = None
    rates: tuple[float, ...] | None = None
    reference_s: float | None = None
    conditions: Conditions | None = None
    schema: int = field(default=SCHEMA)

    @property
    def cumulative_s(self) -> NDArray[np.float64]:
        """Median seconds to each exit [exits]."""
        return np.array([exit_.median_s for exit_ in self.exits])

    @property
    def worst_upper_s(self) -> float:
        """Upper bound of the worst case: the last exit's."""
        return self.exits[-1].upper_95_s

    @property
    def drifted(self) -> bool:
        """Whether the machine was not the same while this was read."""
        return any(exit_.drifted for exit_ in self.exits)

    @property
    def disturbed(self) -> float:
        """The largest share of readings, over the exits, beside which the core was shared."""
        return max(exit_.disturbed for exit_ in self.exits)

    @property
    def steady(self) -> bool:
        """Whether the machine stayed the same, with the core undisturbed: then it says something of other networks."""
        return not (self.drifted or self.refused) and self.disturbed <= QUIET_SHARE

    @property
    def contended(self) -> bool:
        """Whether others kept using the core, so that CPU time was taken for some exit."""
        return any(exit_.contended for exit_ in self.exits)

    @property
    def refused(self) -> str:
        """Why the time to some exit, or over the stream, could not be measured; empty where all could."""
        times = self.exits if self.stream is None else (*self.exits, self.stream)
        return next((time.refused for time in times if time.refused), "")

    def to_dict(self) -> dict[str, Any]:
        """JSON-able values of one line."""
        return asdict(self)

    @staticmethod
    def from_dict(record: Mapping[str, Any]) -> Measurement:
        """Read a line back; raises InputError for another schema, and what `understood` turns into one."""
        if record.get("schema") != SCHEMA:
            raise InputError(f"a measurement of schema {record.get('schema')!r}; this version reads {SCHEMA}")
        if not record.get("exits"):
            raise InputError(f"a record with {', '.join(sorted(record)) or 'nothing'} is no measurement of a network")
        _only(record, Measurement)
        values = dict(record)
        for name, kind in (("purpose", str), ("target", str), ("key", str), ("budget", str)):
            values[name] = _of(record.get(name, ""), kind, name)
        values["exits"] = tuple(ExitTime.from_dict(entry) for entry in record["exits"])
        values["stream"] = ExitTime.from_dict(record["stream"]) if record.get("stream") else None
        values["conditions"] = Conditions.from_dict(record["conditions"]) if record.get("conditions") else None
        values["genome"] = tuple(_of(gene, int, "genome") for gene in _of(record["genome"], list, "genome"))
        for name in ("predicted_s", "predicted_std_s", "rates"):
            given = record.get(name)
            values[name] = None if given is None else tuple(_of(each, float, name) for each in _of(given, list, name))
        if record.get("reference_s") is not None:
            values["reference_s"] = _seconds(record["reference_s"], "reference_s")
        values["broken"] = tuple(_of(each, str, "broken") for each in _of(record.get("broken") or [], list, "broken"))
        return Measurement(**values)


def _only(record: object, kind: type[ExitTime | Measurement]) -> None:
    if not isinstance(record, Mapping):
        raise InputError(f"{record!r:.40} is no reading")
    if unknown := sorted(set(record) - {each.name for each in fields(kind)}):
        raise InputError(f"a reading has no key {unknown[0]!r:.40}")


def _of(value: Any, kind: type, name: str) -> Any:
    """A value that is of the kind it has to be; an integer is a number too, and a truth value is none."""
    # An integer may be larger than any float.
    is_number = kind is float and type(value) is int and abs(value) <= sys.float_info.max
    given: Any = float(value) if is_number else value
    if kind is list and isinstance(value, tuple):
        given = list(value)
    if type(given) is not kind or (isinstance(given, float) and not math.isfinite(given)):
        raise InputError(f"{name} is {value!r:.40}, which is no {_CALLED[kind]}")
    return given


def _seconds(value: Any, name: str) -> float:
    seconds: float = _of(value, float, name)
    if seconds <= 0:
        raise InputError(f"{name} is {value!r:.40}; whatever was measured takes more than 0 seconds")
    return seconds


def read_rows(path: Path, after: int = 0) -> tuple[Measurement, ...]:
    """The measurements in a file, those `after` so many lines of something else; () where there is no file.

    Raises InputError with file and line for what is none.
    """
    rows = []
    for number, record in enumerate(read_jsonl(path)[after:], start=after + 1):
        with understood(f"{path}, line {number}", _REMEDY):
            rows.append(Measurement.from_dict(record))
    return tuple(rows)
