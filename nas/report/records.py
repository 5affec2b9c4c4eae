"""What the page says about a run beside its verdicts, as data: pairs of latencies, and how optimisers ended.

Built from the run's files; None or nothing stands where a file does not say.
"""

from __future__ import annotations

from dataclasses import dataclass

from nas.run.lenient_json import LenientJson


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


def optimised(record: LenientJson) -> Optimised:
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


def pair(record: LenientJson, predicted_s: float | None = None) -> Pair | None:
    """The worst case from a line of measurements.jsonl, None where it lacks a number or was refused.

    `predicted_s` stands in for a prediction that the line does not have; it comes from the model fitted to the line.
    """
    exits = record["exits"].items
    # What was refused is what others made of it, and no prediction is judged by that.
    if not exits or exits[-1]["refused"].text:
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
