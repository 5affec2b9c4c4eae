"""Optuna's samplers behind the contract of a searcher, in short: `test_contract.py` runs all of it, slowly."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nas.errors import InputError
from nas.searchers.optuna import NSGA3, TPE

pytest.importorskip("optuna")

EACH = pytest.mark.parametrize(
    "make", [lambda problem: TPE(problem, startup=6), lambda problem: NSGA3(problem, population=6)]
)


def drive(searcher: Any, problem: Any, batches: int) -> list[np.ndarray]:
    asked = []
    for _ in range(batches):
        genomes = searcher.ask(6)
        searcher.tell(genomes, *problem.evaluate(genomes))
        asked.append(genomes)
    return asked


@EACH
def test_what_is_asked_is_new_within_the_budget_and_replayed(toy: Any, make: Callable[..., Any]) -> None:
    problem = toy(depth=3, options=4, budgets=(7.0,))
    whole = drive(make(problem), problem, 4)
    genomes = np.concatenate(whole)
    assert (problem.latency(genomes) <= 7).all()
    assert len({tuple(row) for row in genomes.tolist()}) == len(genomes) == 24
    resumed = make(problem)
    for batch in whole[:2]:
        resumed.tell(batch, *problem.evaluate(batch))
    assert np.array_equal(np.concatenate(drive(resumed, problem, 2)), np.concatenate(whole[2:]))


@EACH
def test_failures_and_violations_do_no_harm(toy: Any, make: Callable[..., Any]) -> None:
    problem = toy(depth=3, options=4, budgets=(-1.0,))
    searcher = make(problem)
    for _ in range(3):
        genomes = searcher.ask(4)
        values, violation = problem.evaluate(genomes)
        values[0] = np.nan
        searcher.tell(genomes, values, violation)
    assert len(searcher.ask(4)) == 4


def test_tpe_learns(plain: Any) -> None:
    problem = plain(8, 6)
    searcher, sums = TPE(problem), []
    for _ in range(12):
        genomes = searcher.ask(5)
        sums.append(float(genomes.sum(axis=1).mean()))
        searcher.tell(genomes, genomes.sum(axis=1, keepdims=True) * 1.0, problem.free_objectives(genomes)[1])
    assert np.mean(sums[-3:]) < 0.75 * np.mean(sums[:2])


def test_a_population_that_cannot_breed_is_refused(toy: Any) -> None:
    with pytest.raises(InputError, match="a population of 1"):
        NSGA3(toy(), population=1)


def test_without_the_library_the_message_says_what_to_install(toy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(InputError, match=r"pip install hwnas\[optuna\]"):
        TPE(toy())
