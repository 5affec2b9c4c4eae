"""The table of the readings' benchmark: a repetition is compared with the long runs around it."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.readings_table import good, pooled, rows


def record(kind: str, value_s: float, session: str = "a", upper: float = 1.02, refused: str = "") -> dict[str, Any]:
    """What the benchmark keeps of one reading."""
    statistic = {"value_s": value_s, "upper_95_s": upper * value_s, "refused": refused, "contended": False}
    about = {"session": session, "kind": kind, "network": "one exit", "stream_over_calls": 1.01}
    return {**about, "busy": 0, "median": statistic, "mean": statistic}


def test_a_clock_that_wanders_counts_against_the_session_only():
    wandering = [record("truth", 1.0), record("repetition", 1.0), record("truth", 1.0)]
    wandering += [record("repetition", 1.1), record("truth", 1.2)]
    for row in rows(wandering):
        assert row["coverage"] == 1.0 and row["session_coverage"] == 0.5
        assert row["value_over_truth"] == pytest.approx(1.0) and row["n"] == 2


def test_a_repetition_after_which_the_process_was_killed_has_the_long_run_before_it():
    killed = [record("truth", 1.0), record("repetition", 0.9)]
    killed += [record("truth", 0.5, "b"), record("repetition", 0.5, "b"), record("truth", 0.5, "b")]
    assert [row["coverage"] for row in rows(killed)] == [0.5, 0.5]


def test_what_was_refused_is_no_bound():
    taken = [record("truth", 1.0), record("repetition", 0.5, refused="busy"), record("repetition", 1.0)]
    found = rows(taken)
    assert [(row["coverage"], row["refused"], row["n"]) for row in found] == [(1.0, 1, 2)] * 2
    assert pooled(found) == 1.0 and good(found)
    refused = rows(taken[:2])
    assert [row["coverage"] for row in refused] == [None, None]
    assert pooled(refused) is None and good(refused)


def test_bounds_that_do_not_cover_are_not_good():
    low = [record("truth", 1.0), record("repetition", 0.9), record("truth", 1.0)]
    assert not good(rows(low))


def test_a_percentile_is_compared_with_long_runs_that_were_not_refused() -> None:
    """And counted only where there is one; records from before there were percentiles have none."""

    def single(kind: str, value_s: float, refused: str = "") -> dict[str, Any]:
        return record(kind, value_s) | {"p99": record(kind, value_s, upper=1.1, refused=refused)["median"]}

    taken = [single("truth", 1.0), single("repetition", 1.0), single("truth", 9.0, "busy"), single("repetition", 2.0)]
    taken += [record("repetition", 1.0), single("repetition", 1.0, "busy"), single("truth", 2.5)]
    found = {row["statistic"]: row for row in rows(taken)}
    assert set(found) == {"median", "mean", "p99"} and found["median"]["n"] == 4
    percentile = found["p99"]
    assert (percentile["n"], percentile["refused"], percentile["coverage"]) == (3, 1, 0.5)
    alone = [single("truth", 1.0, "busy"), single("repetition", 1.0)]
    assert {row["statistic"]: row["n"] for row in rows(alone)}["p99"] == 0 and good(rows(alone))
