from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.errors import InputError
from nas.process.files import append_jsonl
from nas.run.trial import AtBudget, Trial, complete_batches, load_batches

floats = st.floats(allow_nan=False, allow_infinity=False)
not_nan = st.floats(allow_nan=False, min_value=0)


@st.composite
def at_budget(draw: st.DrawFn) -> AtBudget:
    thresholds = draw(st.lists(st.one_of(floats, st.just(math.inf)), max_size=4))
    rates = draw(st.lists(floats, min_size=len(thresholds) + 1, max_size=len(thresholds) + 1))
    return AtBudget(draw(floats), draw(floats), tuple(thresholds), tuple(rates))


trials = st.builds(
    Trial,
    batch=st.integers(0, 10**6),
    slot=st.integers(0, 3),
    of=st.integers(4, 64),
    genome=st.lists(st.integers(0, 100), max_size=5).map(tuple),
    key=st.text(max_size=5),
    status=st.sampled_from(["complete", "infeasible", "failed"]),
    metrics=st.dictionaries(st.text(max_size=5), st.floats(), max_size=4),
    violation=st.lists(not_nan, max_size=3).map(tuple),
    budgets=st.lists(st.none() | at_budget(), max_size=3).map(tuple),
    curve=st.lists(st.tuples(floats, floats, floats), max_size=3).map(tuple),
    model_version=st.integers(0, 9),
    error=st.none() | st.text(max_size=9),
)


@given(trials)
@settings(max_examples=200, deadline=None)
def test_a_trial_is_its_line(trial: Trial) -> None:
    line = trial.to_json()
    assert "\n" not in line
    json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    again = Trial.from_json(line)
    assert again == trial
    assert again.to_json() == line
    assert Trial.from_json(json.loads(line)) == trial


def trial(batch: int = 0, slot: int = 0, of: int = 2, **fields: Any) -> Trial:
    return Trial(batch, slot, of, **{"genome": (batch, slot), "key": "k", "status": "complete", **fields})


def test_numpy_values_are_stored_as_numbers() -> None:
    made = trial(
        genome=np.array([1, 2]),
        metrics={"macs": np.int64(5), "loss": np.float32(0.5), "bad": np.float64("inf")},
        violation=np.array([0.0, np.inf]),
        budgets=[AtBudget(np.float64(0.5), np.float32(0.25), np.array([np.inf]), np.array([0.0, 1.0])), None],
    )
    fields = json.loads(made.to_json())
    assert fields["genome"] == [1, 2]
    assert fields["metrics"] == {"bad": None, "loss": 0.5, "macs": 5.0}
    assert fields["violation"] == [0.0, None]
    assert fields["budgets"] == [
        {"accuracy": 0.5, "latency_s": 0.25, "thresholds": [None], "rates": [0.0, 1.0], "images": 0, "right": ""},
        None,
    ]
    assert Trial.from_json(fields).budgets[0] == AtBudget(0.5, 0.25, (math.inf,), (0.0, 1.0))


def test_the_order_of_metrics_does_not_show() -> None:
    assert trial(metrics={"a": 1.0, "b": 2.0}).to_json() == trial(metrics={"b": 2.0, "a": 1.0}).to_json()


@pytest.mark.parametrize(
    "fields",
    [
        {"slot": 2},
        {"slot": -1},
        {"batch": -1},
        {"status": "done"},
        {"violation": (math.nan,)},
        {"violation": (-1.0,)},
        {"curve": ((0.4, math.inf, 0.5),)},
    ],
)
def test_contradictions_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        trial(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"accuracy": math.nan},
        {"latency_s": math.inf},
        {"thresholds": (-math.inf,)},
        {"thresholds": (math.nan,)},
        {"rates": (1.0,)},
        {"rates": (math.nan, 1.0)},
    ],
)
def test_a_policy_that_could_not_be_written_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        AtBudget(**{"accuracy": 0.5, "latency_s": 0.1, "thresholds": (0.5,), "rates": (0.4, 0.6), **fields})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"schema": 99}, "schema 99, and this release reads 1"),
        ({"schema": None}, "schema None"),
        ({"colour": "red"}, "colour"),
        ({"metrics": 3}, "items"),
        ({"budgets": [{"accuracy": 1}]}, "thresholds"),
        ({"genome": ["a"]}, "invalid literal"),
    ],
)
def test_a_line_that_was_edited_is_refused_with_its_reason(change: dict[str, Any], reason: str) -> None:
    fields = {**json.loads(trial().to_json()), **change}
    with pytest.raises(InputError, match=f"cannot be read: .*{reason}"):
        Trial.from_json(fields)
    for text in ("[]", "{", '"x"', "{}"):
        with pytest.raises(InputError, match="cannot be read"):
            Trial.from_json(text)


def test_only_complete_batches_count_in_slot_order() -> None:
    log = [trial(0, 1), trial(0, 0), trial(1, 0, of=1), trial(2, 1)]
    assert complete_batches(log) == ((log[1], log[0]), (log[2],))
    assert complete_batches([]) == ()


def test_a_slot_asked_again_counts_once_and_the_later_line_wins() -> None:
    first, again = trial(0, 0, error="torn"), trial(0, 0)
    assert complete_batches([first, trial(0, 1), again]) == ((again, trial(0, 1)),)
    with pytest.raises(InputError, match="two different genomes for slot 0 of batch 0"):
        complete_batches([first, dataclasses.replace(again, genome=(9, 9))])


def test_a_gap_in_the_log_is_an_error() -> None:
    with pytest.raises(InputError, match="ends with batch 2, but not every batch before it is complete"):
        complete_batches([trial(0, 0), trial(0, 1), trial(1, 0), trial(2, 0), trial(2, 1)])
    with pytest.raises(InputError, match="ends with batch 1"):
        complete_batches([trial(1, 0), trial(1, 1)])


@given(cut=st.integers(0, 1500))
@settings(max_examples=40, deadline=None)
def test_the_log_of_a_resumed_run_is_that_of_an_uninterrupted_one(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.mktemp("run") / "trials.jsonl"
    batches = [[trial(batch, slot, of=3) for slot in range(3)] for batch in range(3)]
    for batch in batches:
        append_jsonl(path, [json.loads(t.to_json()) for t in batch])
    whole = path.read_bytes()
    path.write_bytes(whole[:cut])
    done = load_batches(path)
    assert [list(batch) for batch in done] == batches[: len(done)]
    for batch in batches[len(done) :]:
        append_jsonl(path, [json.loads(t.to_json()) for t in batch])
    assert path.read_bytes() == whole


def test_a_missing_log_has_no_batches(tmp_path: Path) -> None:
    assert load_batches(tmp_path / "trials.jsonl") == ()
