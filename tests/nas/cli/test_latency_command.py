"""`nas latency fit|eval` on a small made-up table whose devices are alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latency_models.few_shot import load
from tests.nas.small_runs import Command, hashes

SOURCES, TARGETS = "a,b,c", "d,e"
BOTH = ("--sources", SOURCES, "--targets", TARGETS, "--pool", "60", "--seeds", "2")


def arrays(**changes: Any) -> dict[str, Any]:
    """150 networks of five positions and three operators on five devices; milliseconds add up over operators."""
    rng = np.random.default_rng(0)
    ops = rng.integers(0, 3, (150, 5))
    speed = rng.uniform(0.5, 2, (5, 3))
    latency = np.stack([1 + cost[ops].sum(axis=1) for cost in speed], axis=1) * rng.lognormal(0, 0.01, (150, 5))
    made = {"latency_ms": latency.astype(np.float32), "devices": np.array(list("abcde")), "ops": ops.astype(np.int8)}
    return {key: value for key, value in {**made, **changes}.items() if value is not None}


@pytest.fixture
def table(nas: Command) -> str:
    np.savez("table.npz", **arrays())
    return "table.npz"


def test_transfer_is_judged_per_target(table: str, nas: Command) -> None:
    done = nas("latency", "eval", table, *BOTH, "--json", "out.json")
    assert done.code == 0, done.err
    for heading in ("Spearman", "Kendall", "median error", "within 10 %", "90 % coverage"):
        assert heading in done.out.splitlines()[0]
    assert [line.split()[0] for line in done.out.splitlines()[1:4]] == ["d", "e", "mean"]
    rows = json.loads(Path("out.json").read_text())["rows"]
    assert [row["target"] for row in rows] == ["d", "e"]
    for row in rows:
        assert (row["method"], row["samples"]) == ("ours", 10)
        assert row["spearman"] > 0.9 and row["kendall"] > 0.7 and row["within_10"] > 0.7
        assert 0 <= row["coverage_90"] <= 1 and row["interval_width"] > 0 and row["spearman_std"] >= 0


def test_a_prior_that_was_kept_says_the_same(table: str, nas: Command) -> None:
    done = nas("latency", "fit", table, "--sources", SOURCES, "--pool", "60", "--out", "prior.npz")
    assert done.code == 0 and "learned from 60 networks on 3 devices: a, b, c" in done.out
    assert load("prior.npz").devices == ("a", "b", "c")
    shared = ("--targets", TARGETS, "--pool", "60", "--seeds", "2")
    assert nas("latency", "eval", table, "--sources", SOURCES, *shared, "--json", "one.json").code == 0
    assert nas("latency", "eval", table, "--prior", "prior.npz", *shared, "--json", "two.json").code == 0
    assert Path("one.json").read_bytes() == Path("two.json").read_bytes()


def test_a_prior_that_was_kept_knows_its_sources_and_operators(nas: Command) -> None:
    names = np.array(["none", "skip", "conv"])
    np.savez("table.npz", **arrays(op_names=names))
    fit = ("latency", "fit", "table.npz", "--sources", SOURCES, "--pool", "60", "--out", "prior.npz")
    assert nas(*fit).code == 0
    judge = ("--prior", "prior.npz", "--targets", "d", "--pool", "60", "--seeds", "2", "--json")
    assert nas("latency", "eval", "table.npz", *judge, "one.json").code == 0
    # The same networks, their operators in another order.
    np.savez("other.npz", **arrays(op_names=names[::-1], ops=(2 - arrays()["ops"]).astype(np.int8)))
    assert nas("latency", "eval", "other.npz", *judge, "two.json").code == 0
    assert Path("one.json").read_bytes() == Path("two.json").read_bytes()
    np.savez("other.npz", **arrays(op_names=np.array(["none", "skip", "pool"])))
    error = nas("latency", "eval", "other.npz", *judge, "two.json").error
    assert error.startswith("other.npz does not go with prior.npz: the operators are none, skip, pool; the prior was ")
    error = nas("latency", "eval", "table.npz", "--prior", "prior.npz", "--targets", "a,d").error
    assert error.startswith("--targets a: also a source")


def test_what_is_no_prior_is_refused(table: str, nas: Command) -> None:
    Path("text.npz").write_text("nonsense")
    for path in (table, "text.npz"):
        error = nas("latency", "eval", table, "--prior", path, "--targets", "d").error
        assert f"{path}: is not a stored prior" in error and "give what `nas latency fit` wrote" in error


def test_one_draw_has_no_spread(table: str, nas: Command) -> None:
    done = nas("latency", "eval", table, *BOTH[:-1], "1", "--json", "out.json")
    assert done.code == 0 and "±" not in done.out and "one draw, so the spread over draws is not known" in done.out
    (row, _) = json.loads(Path("out.json").read_text())["rows"]
    assert row["spearman"] > 0.9 and row["spearman_std"] is None


def test_what_was_not_measured_is_neither_drawn_nor_judged(nas: Command) -> None:
    latency = arrays()["latency_ms"]
    latency[::3, 3] = np.nan
    latency[1::5, 0] = np.nan
    np.savez("table.npz", **arrays(latency_ms=latency))
    done = nas("latency", "eval", "table.npz", *BOTH, "--json", "out.json")
    assert done.code == 0, done.err
    assert all(np.isfinite(row["spearman"]) for row in json.loads(Path("out.json").read_text())["rows"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--sources", "a,b", "--targets", "x"), "has no device 'x'"),
        (("--sources", "a,x", "--targets", "d"), "has no device 'x'"),
        (("--sources", "a,d", "--targets", "d"), "--targets d: also a source"),
        (("--sources", "a,a", "--targets", "d"), "--sources a,a: a device is named twice"),
        (("--sources", ",", "--targets", "d"), "--sources ',': name at least one device"),
        (("--sources", "a", "--targets", "d", "--pool", "0"), "--pool 0: table.npz has 150 networks"),
        (("--sources", "a", "--targets", "d", "--pool", "151"), "--pool 151: table.npz has 150 networks"),
        (("--sources", "a", "--targets", "d", "--samples", "1"), "--samples 1: d was measured on 150"),
        (("--sources", "a", "--targets", "d", "--samples", "61", "--pool", "60"), "give a number from 2 to that"),
        (("--sources", "a", "--targets", "d", "--samples", "149"), "fewer than 10 are left to judge on"),
        (("--sources", "a", "--targets", "d", "--seeds", "0"), "--seeds 0: at least one draw"),
        (("--prior", "no.npz", "--targets", "d"), "there is no prior 'no.npz'; give what `nas latency fit` wrote"),
    ],
)
def test_what_cannot_be_judged_is_refused(table: str, arguments: tuple[str, ...], message: str, nas: Command) -> None:
    assert message in nas("latency", "eval", table, *arguments).error


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ops": None}, "it has no array 'ops'"),
        ({"latency_ms": None}, "it has no array 'latency_ms'"),
        ({"ops": np.zeros((149, 5), np.int8)}, "there are 150 rows of latencies and 149 of ops"),
        ({"ops": np.full((150, 5), 0.5)}, "they must be integers"),
        ({"devices": np.array(list("abcd"))}, "there are 5 columns of latencies and 4 devices"),
        ({"devices": np.array(list("abcdd"))}, "a device is named twice"),
        ({"latency_ms": np.full((150, 5), -1.0)}, "there is a negative or infinite latency"),
        ({"latency_ms": np.full((150, 5), np.nan)}, "source a was not measured on the first 60 networks"),
        ({"families": np.array(["x"])}, "there are 1 families for 5 devices"),
        ({"devices": np.array([{}] * 5, object)}, "is no latency table"),
    ],
)
def test_a_bad_table_is_refused_in_one_line(changes: dict[str, Any], message: str, nas: Command) -> None:
    np.savez("table.npz", **arrays(**changes))
    assert message in nas("latency", "eval", "table.npz", *BOTH).error
    before = hashes(Path())
    fit = ("latency", "fit", "table.npz", "--sources", SOURCES, "--pool", "60", "--out", "prior.npz")
    assert message in nas(*fit).error
    assert hashes(Path()) == before


def test_what_is_no_table_at_all_is_refused(nas: Command) -> None:
    Path("table.npz").write_text("nonsense")
    assert "table.npz is no latency table" in nas("latency", "eval", "table.npz", *BOTH).error
    assert "there is no table 'none.npz'" in nas("latency", "eval", "none.npz", *BOTH).error


def test_a_prior_of_another_space_is_refused(table: str, nas: Command) -> None:
    ops = np.random.default_rng(1).integers(0, 3, (150, 4))
    np.savez("other.npz", **arrays(ops=ops, devices=np.array(list("vwxyz"))))
    assert nas("latency", "fit", "other.npz", "--sources", "v,w", "--pool", "60", "--out", "prior.npz").code == 0
    error = nas("latency", "eval", table, "--prior", "prior.npz", "--targets", "d").error
    assert error.startswith("table.npz does not go with prior.npz: ")
