"""Estimates of time and memory: what they grow with, what bounds them, and what they learn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nas.config import parse
from nas.outlook import rate
from nas.outlook.effort import Effort, effort_of
from nas.outlook.latencies import spans_of
from nas.outlook.rehearsal import Rehearsed, rehearsed
from tests.nas.small_runs import SMALL, small

RATE = 1e9


def effort(**changes: Any) -> Effort:
    return effort_of(rehearsed(parse.experiment(small(**changes))))


def flops(found: Effort, what: str) -> float:
    return next((each.flops for each in found.trainings if each.what == what), 0.0)


def test_training_takes_as_many_operations_as_it_has_epochs_and_networks() -> None:
    once, often = (effort(supernet={"epochs": n, "random_subnets": 1}) for n in (2, 6))
    assert flops(often, "shared weights") == 3 * flops(once, "shared weights") > 0
    two, four = (flops(effort(supernet={"epochs": 2, "random_subnets": n}), "shared weights") for n in (2, 4))
    drawn = two - flops(once, "shared weights")
    assert four - two == 2 * drawn > 0
    assert drawn < two - 2 * drawn < 2 * drawn, "the smallest network runs at its own size"
    assert flops(effort(winners={"epochs": 0}), "winners") == 0


def test_a_time_that_is_given_bounds_the_estimate() -> None:
    bounded = effort(supernet={"epochs": 1000, "max_time": "7 s"})
    (shared,) = (each for each in bounded.trainings if each.what == "shared weights")
    assert shared.seconds(1.0) == 7 and shared.seconds(1e30) < 1e-9


def test_nothing_is_trained_for_networks_that_are_trained_one_by_one() -> None:
    search = {**SMALL["search"], "evaluator": {"name": "train", "epochs": 2}}
    found = effort(search=search, winners={"training": "scratch"})
    assert flops(found, "shared weights") == 0 < flops(found, "search")


def test_an_optimiser_takes_as_many_operations_as_it_has_steps_and_budgets_and_thrice_for_gradients() -> None:
    def searched(name: str, budgets: int, steps: int) -> float:
        optimiser = {"name": name, "steps": steps, "warm_up": 1}
        limits = [{"name": str(n), "latency": "9 ms"} for n in range(budgets)]
        found = effort(search={**SMALL["search"], "optimiser": optimiser}, budgets=limits, splits={})
        assert not found.left_out
        return flops(found, "optimiser")

    one = searched("loss_regression", 1, 100)
    assert 0 < one < searched("loss_regression", 1, 200) < 2 * one, "the warm-up does not grow with the steps"
    assert searched("loss_regression", 3, 100) == 3 * one
    assert searched("differentiable", 1, 100) == 3 * one
    assert flops(effort(), "optimiser") == 0


def test_only_what_is_here_takes_time_to_measure() -> None:
    there = effort(target={"device": "rpi4b", "runner": "onnxruntime"})
    assert there.measuring_s == 0 < effort().measuring_s < effort(calibration={"networks": 40}).measuring_s


def test_memory_grows_with_the_batch() -> None:
    assert effort(supernet={"batch_size": 900}).memory_bytes > effort().memory_bytes > 2**28


@pytest.fixture(scope="module")
def found() -> Rehearsed:
    return rehearsed(parse.experiment(small()))


def test_the_fastest_network_is_no_slower_than_the_slowest(found: Rehearsed) -> None:
    (target,) = found.beliefs
    span = spans_of(found)[target]
    assert 0 < span.fastest.low_s < span.fastest.seconds < span.fastest.high_s
    assert span.fastest.seconds < span.slowest.seconds
    genomes = found.context.space.canonical(found.problem.sizes[None] - 1)
    seconds = found.beliefs[target].model.predict([found.context.space.decode(genomes[0])]).total_s[0]
    assert span.fastest.seconds < seconds <= span.slowest.seconds * (1 + 1e-9)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(rate, "_products_per_s", lambda: 10 * RATE)
    return tmp_path / "hwnas" / "training_rate.json"


def test_the_rate_is_measured_once_and_learned_from_long_trainings(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = rate.training_rate()
    assert 0 < first.flops_per_s < 10 * RATE and cache.is_file()
    monkeypatch.setattr(rate, "_products_per_s", lambda: 0.0)
    assert rate.training_rate() == first
    rate.learn(1e12, 1.0)
    assert rate.training_rate() == first
    rate.learn(3e12, 100.0)
    assert rate.training_rate() == rate.Rate(3e10, "the last training of shared weights on this machine")


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"\xff\xfe", b'{"schema": 1}', b'{"schema": 1, "machine": {}, "flops_per_s": 1, "basis": ""}',
    ],
)  # fmt: skip
def test_a_note_that_says_nothing_is_made_anew(content: bytes, cache: Path) -> None:
    cache.parent.mkdir()
    cache.write_bytes(content)
    assert rate.training_rate().basis == "a short test of this machine"
    assert json.loads(cache.read_text())["flops_per_s"] == rate.training_rate().flops_per_s


@pytest.mark.parametrize("flops_per_s", [0, -1, "NaN", "Infinity", None, "fast"])
def test_a_rate_that_is_none_is_measured_anew(flops_per_s: Any, cache: Path) -> None:
    before = rate.training_rate()
    record = {**json.loads(cache.read_text()), "flops_per_s": flops_per_s}
    cache.write_text(json.dumps(record))
    assert rate.training_rate() == before


def test_a_cache_that_cannot_be_written_costs_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate, "_products_per_s", lambda: RATE)
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert rate.training_rate().flops_per_s > 0
