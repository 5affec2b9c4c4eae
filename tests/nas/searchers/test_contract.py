"""What every searcher in the registry must do; a new one is tested by its line there."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nas.searchers import SEARCHERS
from nas.searchers.base import Genomes, Searcher

Make = Callable[..., Searcher]


#: Optuna takes milliseconds per proposal; `test_optuna.py` is the short form of this contract for it.
EVERY = [
    pytest.param(name, marks=pytest.mark.slow) if name.startswith("optuna_") else name for name in sorted(SEARCHERS)
]


@pytest.fixture(params=EVERY)
def make(request: pytest.FixtureRequest) -> Make:
    if request.param.startswith("optuna_"):
        pytest.importorskip("optuna")
    module, name = SEARCHERS[request.param].split(":")
    made: Make = getattr(import_module(module), name)
    return made


def drive(searcher: Searcher, problem: Any, batches: int, n: int = 32) -> list[Genomes]:
    asked = []
    for _ in range(batches):
        genomes = searcher.ask(n)
        searcher.tell(genomes, *problem.evaluate(genomes))
        asked.append(genomes)
    return asked


def rows(batches: list[Genomes]) -> list[tuple[int, ...]]:
    return [tuple(row) for batch in batches for row in batch.tolist()]


@pytest.mark.parametrize("budgets", [(), (np.inf,), (9.0,), (3.0, 14.0)])
def test_asked_genomes_are_legal_canonical_and_new(make: Make, toy: Any, budgets: tuple[float, ...]) -> None:
    problem = toy(budgets=budgets)
    asked = drive(make(problem), problem, 12)
    genomes = np.concatenate(asked)
    assert [len(batch) for batch in asked] == [32] * 12
    assert genomes.dtype.kind == "i"
    assert ((genomes >= 0) & (genomes < problem.sizes)).all()
    assert (problem.canonical(genomes) == genomes).all()
    assert len(set(rows(asked))) == len(genomes)


def test_asking_twice_without_telling_gives_other_genomes(make: Make, toy: Any) -> None:
    searcher = make(toy())
    assert len(set(rows([searcher.ask(20), searcher.ask(20)]))) == 40


@pytest.mark.parametrize("n", [0, 1, 7, 100])
def test_as_many_as_asked_for(make: Make, toy: Any, n: int) -> None:
    assert make(toy()).ask(n).shape == (n, 7)


def test_equal_seeds_search_equally_and_others_do_not(make: Make, toy: Any) -> None:
    problem = toy(budgets=(12.0,), seed=3)
    first = drive(make(problem), problem, 8)
    assert rows(first) == rows(drive(make(problem), problem, 8))
    assert rows(first) != rows(drive(make(toy(budgets=(12.0,), seed=4)), problem, 8))


@pytest.mark.parametrize("budgets", [(12.0,), (2.0,), (-1.0,)])
@pytest.mark.parametrize("done", [0, 1, 2, 5, 9])
def test_replaying_the_told_batches_resumes_the_search(
    make: Make, toy: Any, done: int, budgets: tuple[float, ...]
) -> None:
    problem = toy(budgets=budgets, options=4)
    whole = drive(make(problem), problem, 12, n=16)
    resumed = make(problem)
    for batch in whole[:done]:
        resumed.tell(batch, *problem.evaluate(batch))
    assert rows(drive(resumed, problem, 12 - done, n=16)) == rows(whole[done:])


def test_a_torn_batch_is_asked_again_and_is_the_same(make: Make, toy: Any) -> None:
    problem = toy(budgets=(12.0,))
    searcher = make(problem)
    told = drive(searcher, problem, 4)
    torn = searcher.ask(32)
    resumed = make(problem)
    for batch in told:
        resumed.tell(batch, *problem.evaluate(batch))
    assert resumed.ask(32).tolist() == torn.tolist()


@pytest.mark.parametrize("budgets", [(10.0,), (10.0, 3.0), (3.0, 10.0)])
def test_only_what_keeps_a_budget_is_asked(make: Make, toy: Any, budgets: tuple[float, ...]) -> None:
    problem = toy(budgets=budgets)
    genomes = np.concatenate(drive(make(problem), problem, 10))
    assert (problem.latency(genomes) <= 10).all()
    assert (problem.latency(genomes) > 3).any()


def test_a_budget_that_sampling_never_meets_is_met(make: Make, toy: Any) -> None:
    # 24 genes of 20 options within a sum of 12 of 456: about one genome in 10^22.
    problem = toy(depth=24, options=20, budgets=(12.0,), deep=True)
    asked = drive(make(problem), problem, 3)
    genomes = np.concatenate(asked)
    assert (problem.latency(genomes) <= 12).all()
    assert len(set(rows(asked))) == 96


def test_a_small_space_is_asked_to_its_last_genome_and_then_nothing(make: Make, toy: Any) -> None:
    problem = toy(depth=2, options=3, budgets=(3.0,))
    everything = np.stack(np.unravel_index(np.arange(18), (2, 3, 3)), axis=1)
    fitting = {tuple(g) for g in problem.canonical(everything).tolist() if sum(g) <= 3}
    searcher = make(problem)
    asked = drive(searcher, problem, 5, n=4)
    assert set(rows(asked)) == fitting
    assert len(rows(asked)) == len(fitting)
    assert searcher.ask(4).shape == (0, 3)


def test_where_nothing_fits_the_least_violating_are_asked(make: Make, toy: Any) -> None:
    problem = toy(budgets=(-1.0,), options=4)  # no latency is below 0, and a smaller one violates less
    asked = drive(make(problem), problem, 2, n=8)
    assert len(set(rows(asked))) == 16
    assert asked[0].sum(axis=1).max() <= 3
    large = toy(depth=24, options=20, budgets=(-1.0,), deep=True)
    assert drive(make(large), large, 1, n=4)[0].sum(axis=1).max() < 40  # of 456; uniform: 228


def test_failed_evaluations_do_no_harm(make: Make, toy: Any) -> None:
    problem = toy()
    searcher = make(problem)
    for number in range(6):
        genomes = searcher.ask(32)
        values, violation = problem.evaluate(genomes)
        values[number::6] = np.nan
        searcher.tell(genomes, values, violation)
    assert len(searcher.ask(32)) == 32


def best_within(searched: list[Genomes], problem: Any, value: Callable[[Genomes], NDArray[Any]]) -> float:
    genomes = np.concatenate(searched)
    return float(value(genomes[problem.latency(genomes) <= min(problem.budgets)]).min())


def test_moving_the_budget_moves_the_result(make: Make, toy: Any) -> None:
    """The best loss falls as the budget rises, and the network that reaches it uses the room that it was given."""
    losses, latencies = [], []
    for budget in (6.0, 16.0, 40.0):
        problem = toy(budgets=(budget,))

        def loss(genomes: Genomes) -> NDArray[np.float64]:
            return -1.0 * genomes.sum(axis=1)

        searcher = make(problem)
        asked = []
        for _ in range(20):
            genomes = searcher.ask(32)
            searcher.tell(genomes, loss(genomes)[:, None], problem.cheap(genomes)[1])
            asked.append(genomes)
        losses.append(best_within(asked, problem, loss))
        latencies.append(-losses[-1])
    assert losses[0] > losses[1] > losses[2]
    assert latencies[:2] == [6, 16]
    assert 30 <= latencies[2] <= 40
