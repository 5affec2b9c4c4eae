"""How far a percentile lies above calls in a row is learned from the readings that are about it, and no others."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hardware_profiles import Target
from latency_models.tail import NO_TAIL, UNKNOWN_TAIL
from nas.config.budget import Budget
from nas.devices.measurement import ExitTime, Measurement
from nas.process.files import append_jsonl
from nas.run.tails import known, tail_of, tails_before
from nas.search.candidates import seconds_of

TARGET = Target("host", "onnxruntime")
WARM, DUTY = Budget(8e-3, "p99", "warm"), Budget(8e-3, "p99", "duty", every_s=33e-3)
MEDIAN = Budget(8e-3, name="median")


def reading(purpose: Any, p99: float, bound: float = math.inf, **more: Any) -> Measurement:
    """A network that takes 1 ms in a row, and so many milliseconds as a single call."""
    last = ExitTime(1e-3, 1.1e-3, p95_s=1e-3, p99_s=1e-3 * p99, calls=300, p99_upper_s=1e-3 * bound, slowest_s=3e-3)
    times = (ExitTime(5e-4, 6e-4), replace(last, **more))
    return Measurement(purpose=purpose, target=TARGET.key, genome=(0,), key="k", exits=times)


@pytest.fixture
def context(tmp_path: Path) -> Any:
    """As much of a run as readings need."""
    experiment = SimpleNamespace(target_of=lambda budget: TARGET, targets=(TARGET,), budgets=(WARM, DUTY, MEDIAN))
    return SimpleNamespace(experiment=experiment, files=SimpleNamespace(measurements=tmp_path / "measurements.jsonl"))


def note(context: Any, *rows: Measurement) -> None:
    append_jsonl(context.files.measurements, [row.to_dict() for row in rows])


def test_a_ratio_is_learned_from_calls_of_the_same_duty_cycle(context: Any) -> None:
    note(context, reading("single_calls", 1.5, 2.0), reading("single_calls", 4.0, 5.0, every_s=33e-3))
    assert tail_of(context, WARM, "percentile").ratio == pytest.approx(1.5)
    assert tail_of(context, WARM, "bound").ratio == pytest.approx(2.0)
    assert tail_of(context, DUTY, "percentile").ratio == pytest.approx(4.0)
    assert tail_of(context, DUTY, "bound").ratio == pytest.approx(5.0)
    assert tail_of(context, MEDIAN, "bound") == NO_TAIL


def test_too_few_calls_for_a_bound_have_a_slowest_one(context: Any) -> None:
    note(context, reading("single_calls", 1.5))
    assert tail_of(context, WARM, "bound").ratio == pytest.approx(3.0)


@pytest.mark.parametrize(
    "other",
    [
        {"single_refused": "busy"},
        {"refused": "busy"},
        {"calls": 0},
        {"every_s": 10e-3},
    ],
    ids=str,
)
def test_readings_that_say_nothing_of_it_leave_it_unknown(context: Any, other: dict[str, Any]) -> None:
    row = reading("single_calls", 1.5, 2.0, **other)
    note(context, row)
    assert tail_of(context, WARM, "bound") == UNKNOWN_TAIL and not known(WARM, [row])


def test_a_winner_that_took_longer_raises_it_for_choices_and_not_for_the_search(context: Any) -> None:
    others = replace(reading("winner", 9.0, 90.0), budget="median")
    note(context, reading("single_calls", 1.5, 2.0), replace(reading("winner", 3.0, 8.0), budget="warm"), others)
    assert tail_of(context, WARM, "bound").ratio == pytest.approx(4.0)
    assert tails_before(context)["warm"].ratio == pytest.approx(2.0)


def test_a_candidate_counts_as_its_bound_in_a_row_times_the_ratio(context: Any) -> None:
    note(context, reading("single_calls", 1.5, 2.0))
    row = reading("candidate", math.nan, calls=0)
    assert seconds_of(WARM, (0.0, 1.0), row, tail_of(context, WARM, "bound")) == pytest.approx(2 * 1.1e-3)
    assert seconds_of(WARM, (0.999, 0.001), row, tail_of(context, WARM, "bound")) == pytest.approx(2 * 6e-4)
    assert seconds_of(MEDIAN, (0.0, 1.0), row, tail_of(context, MEDIAN, "bound")) == 1.1e-3


def over_a_stream(p99: float, bound: float, rates: tuple[float, ...]) -> Measurement:
    """A winner whose single calls were over a stream of images, of which so many left at each exit."""
    row = reading("winner", p99, bound)
    early, last = row.exits[0], replace(row.exits[-1], calls=0)
    return replace(row, exits=(early, last), stream=row.exits[-1], rates=rates, budget="warm")


def test_calls_over_a_stream_are_compared_with_the_exit_that_decides(context: Any) -> None:
    note(context, over_a_stream(1.5, 2.0, (1.0, 0.0)))
    assert tail_of(context, WARM, "percentile").ratio == pytest.approx(3.0)
    assert tail_of(context, WARM, "bound").ratio == pytest.approx(4.0)


def test_a_bound_that_may_be_of_a_later_exit_says_nothing_of_how_long_calls_take(context: Any) -> None:
    note(context, reading("single_calls", 1.2, 1.3), over_a_stream(1.5, 9.0, (0.995, 0.005)))
    assert tail_of(context, WARM, "bound").ratio == pytest.approx(1.3)
    assert tail_of(context, WARM, "percentile").ratio == pytest.approx((1.2 * 3.0) ** 0.5)


def test_readings_of_older_releases_say_nothing_of_percentiles(tmp_path: Path) -> None:
    record = reading("winner", 1.5, 2.0).to_dict()
    new = ("every_s", "p95_upper_s", "p99_upper_s", "slowest_s", "single_refused")
    record["exits"] = [{name: value for name, value in each.items() if name not in new} for each in record["exits"]]
    record["exits"] = [{**each, "p95_s": None, "p99_s": None, "calls": 0} for each in record["exits"]]
    assert not known(WARM, [Measurement.from_dict(record)])
