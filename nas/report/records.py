"""What the page says about a run, as data: budgets, winners with their exits and checks, and pairs of latencies.

Built from the run's files; None or nothing stands where a file does not say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from nas.report.loose import Loose
from nas.units import parse_quantity

State = Literal["kept", "not kept", "not measured"]


@dataclass(frozen=True)
class BudgetRow:
    """A limit as the experiment or the verification names it; `target` is a key, empty for the experiment's own."""

    name: str
    of: str
    latency_s: float | None
    target: str


@dataclass(frozen=True)
class ExitRow:
    """One exit of a winner: `accuracy` if all left there, `rate` the share that does leave there.

    `threshold` None at an early exit means that nothing ever leaves there.
    """

    name: str
    reach_s: float | None
    accuracy: float | None
    interval: tuple[float, float] | None
    rate: float | None
    threshold: float | None


@dataclass(frozen=True)
class Check:
    """How an artefact's numbers compare with JAX; `skipped` says why there are none."""

    runtime: str
    max_difference: float | None
    disagreement: float | None
    ok: bool | None
    skipped: str


@dataclass(frozen=True)
class Attempt:
    """A measurement behind the choice for a budget: of the worst case, before training or of a winner."""

    key: str
    purpose: str
    predicted_s: float | None
    measured_s: float | None
    kept: bool | None


@dataclass(frozen=True)
class Winner:
    """What the verification says of one budget's network; energy and memory are estimates."""

    name: str
    budget: BudgetRow
    target: str
    state: State
    reason: str
    contended: bool
    budget_s: float | None
    predicted_s: float | None
    predicted_std_s: float | None
    measured_s: float | None
    upper_95_s: float | None
    worst_case_s: float | None
    expected_s: float | None
    val_accuracy: float | None
    before_export: float | None
    test_accuracy: float | None
    interval: tuple[float, float] | None
    test_images: float | None
    key: str
    genome: tuple[int, ...]
    exits: tuple[ExitRow, ...]
    checks: tuple[Check, ...]
    tvm_s: float | None
    counts: dict[str, float | None]
    energy_j: float | None
    no_energy: str
    memory_bytes: float | None
    attempts: tuple[Attempt, ...]
    files: tuple[str, ...]

    @property
    def headroom(self) -> float | None:
        """Share of the budget that the upper bound leaves free; negative where it is broken."""
        if self.upper_95_s is None or not self.budget_s:
            return None
        return 1 - self.upper_95_s / self.budget_s


@dataclass(frozen=True)
class Pair:
    """The worst case of one network on one target, predicted and measured; `in_sample`: the model was fitted to it."""

    purpose: str
    target: str
    key: str
    predicted_s: float
    predicted_std_s: float | None
    measured_s: float
    upper_95_s: float | None
    contended: bool
    in_sample: bool

    @property
    def error(self) -> float:
        """Of the prediction, relative to the measured: positive where it was too high."""
        return self.predicted_s / self.measured_s - 1


@dataclass(frozen=True)
class Optimised:
    """How a differentiable search for one budget ended; shares and entropy are fractions, `statement` a warning."""

    budget: str
    limit_s: float | None
    proposals: int
    first_s: float | None
    before_s: float | None
    entropy: float | None
    left_out: float | None
    left_out_random: float | None
    statement: str


def optimised(record: Loose) -> Optimised:
    """A budget's file of the optimiser."""
    report, seconds = record["report"], record["proposals_s"].items
    return Optimised(
        budget=record["budget"].text,
        limit_s=record["limit_s"].number,
        proposals=len(record["proposals"].items),
        first_s=seconds[0].number if seconds else None,
        before_s=record["before_s"].number,
        entropy=report["entropy_mean"].number,
        left_out=report["left_out"].number,
        left_out_random=report["left_out_random"].number,
        statement=record["statement"].text,
    )


def budget_row(record: Loose, target: str = "") -> BudgetRow:
    """A budget from verify.json (`latency_s`) or from experiment.yaml (`latency: 0.008 s`)."""
    latency = record["latency_s"].number
    if latency is None and record["latency"].text:
        try:
            latency = parse_quantity(record["latency"].text, "s")
        except ValueError:
            latency = None
    return BudgetRow(record["name"].text, record["of"].text or "worst_case", latency, target)


def winner(record: Loose) -> Winner:
    """A winner from verify.json."""
    budget = budget_row(record["budget"], record["target"].text)
    accuracy = record["accuracy"]
    kept = record["kept"].flag
    return Winner(
        name=record["name"].text or budget.name,
        budget=budget,
        target=record["target"].text,
        state="not measured" if kept is None else "kept" if kept else "not kept",
        reason=record["reason"].text,
        contended=record["contended"].flag or False,
        budget_s=record["budget_s"].number or budget.latency_s,
        predicted_s=record["predicted_s"].number,
        predicted_std_s=record["predicted_std_s"].number,
        measured_s=record["measured_s"].number,
        upper_95_s=record["upper_95_s"].number,
        worst_case_s=record["worst_case_s"].number,
        expected_s=record["expected_s"].number,
        val_accuracy=accuracy["val"].number,
        before_export=accuracy["test_before_export"].number,
        test_accuracy=accuracy["test_exported"].number,
        interval=accuracy["interval"].interval,
        test_images=accuracy["images"].number,
        key=record["key"].text,
        genome=record["genome"].genome,
        exits=_exits(record["exits"].items),
        checks=tuple(_check(name, item) for name, item in record["parity"].pairs.items()),
        tvm_s=record["tvm_s"].number,
        counts={name: item.number for name, item in record["counts"].pairs.items()},
        energy_j=record["energy_estimate_j"].number,
        no_energy=record["energy_estimate_reason"].text,
        memory_bytes=record["peak_memory_estimate_bytes"].number,
        attempts=tuple(
            Attempt(
                item["key"].text,
                item["purpose"].text,
                item["predicted_s"].number,
                item["measured_s"].number,
                item["kept"].flag,
            )
            for item in record["attempts"].items
        ),
        files=tuple(item.text or item["path"].text or item["file"].text for item in record["files"].items),
    )


def _exits(records: Sequence[Loose]) -> tuple[ExitRow, ...]:
    """Exits, called by their order: the names of their operators count places where an exit could be."""
    rows = []
    for number, record in enumerate(records, start=1):
        test_rate = record["test_rate"].number
        rows.append(
            ExitRow(
                "final" if number == len(records) else f"exit {number}",
                record["reach_s"].number,
                record["accuracy"].number,
                record["interval"].interval,
                record["rate"].number if test_rate is None else test_rate,
                record["threshold"].number,
            )
        )
    return tuple(rows)


def _check(name: str, record: Loose) -> Check:
    return Check(
        name, record["max_difference"].number, record["disagreement"].number, record["ok"].flag, record["skipped"].text
    )


def pair(record: Loose, predicted_s: float | None = None) -> Pair | None:
    """The worst case from a line of measurements.jsonl, None where it lacks a number.

    `predicted_s` stands in for a prediction that the line does not have; it comes from the model fitted to the line.
    """
    exits = record["exits"].items
    if not exits:
        return None
    stored = [value for value in record["predicted_s"].numbers if value is not None]
    stds = [value for value in record["predicted_std_s"].numbers if value is not None]
    prediction = stored[-1] if stored else predicted_s
    measured = exits[-1]["median_s"].number
    if not prediction or not measured or prediction <= 0 or measured <= 0:
        return None
    purpose = record["purpose"].text
    return Pair(
        purpose, record["target"].text, record["key"].text, prediction, stds[-1] if stds else None, measured,
        exits[-1]["upper_95_s"].number, exits[-1]["contended"].flag or False, purpose == "calibration",
    )  # fmt: skip
