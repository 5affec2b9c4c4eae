"""Regularised evolution, local search and budgeted initialisation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nas.errors import InputError
from nas.searchers.base import Genomes
from nas.searchers.local import LocalSearch
from nas.searchers.nsga2 import NSGA2
from nas.searchers.random import RandomSearch
from nas.searchers.regularised import RegularisedEvolution


def best_loss(searcher: Any, problem: Any, loss: Callable[[Genomes], np.ndarray], batches: int, n: int) -> float:
    best = np.inf
    for _ in range(batches):
        genomes = searcher.ask(n)
        values = loss(genomes)
        searcher.tell(genomes, values[:, None], problem.free_objectives(genomes)[1])
        best = min(best, float(values.min()))
    return best


@pytest.mark.parametrize("make", [RegularisedEvolution, LocalSearch])
def test_they_beat_random_search_by_far_on_a_separable_loss(plain: Any, make: Callable[..., Any]) -> None:
    rng = np.random.default_rng(0)
    table = rng.normal(size=(13, 8))

    def loss(genomes: Genomes) -> np.ndarray:
        total: np.ndarray = table[np.arange(13), genomes].sum(axis=1)
        return total

    optimum = table.min(axis=1).sum()
    for seed in range(4):
        problem = plain(13, 8, seed=seed)
        found = best_loss(make(problem), problem, loss, 60, 5) - optimum
        assert found < 0.6 * (best_loss(RandomSearch(problem), problem, loss, 60, 5) - optimum)


def test_the_oldest_dies_even_if_it_is_the_best(toy: Any) -> None:
    problem = toy()
    searcher = RegularisedEvolution(problem, population=3, sample=3)
    genomes = problem.canonical(np.array([[5, k, 0, 0, 0, 0, 0] for k in range(5)]))
    searcher.tell(genomes[:3], np.array([[0.0], [1.0], [2.0]]), np.zeros((3, 1)))
    children = searcher._children(np.random.default_rng(0), 50, 0)
    assert ((children != genomes[0]).sum(axis=1) == 1).all()
    searcher.tell(genomes[3:4], np.array([[3.0]]), np.zeros((1, 1)))
    assert ((searcher._children(np.random.default_rng(0), 50, 0) != genomes[1]).sum(axis=1) == 1).all()


def test_local_search_asks_the_neighbours_of_the_best_and_then_starts_anew(toy: Any) -> None:
    problem = toy(depth=2, options=3, deep=True)
    searcher = LocalSearch(problem, starts=2)
    first = searcher.ask(2)
    searcher.tell(first, np.array([[1.0], [0.0]]), np.zeros((2, 1)))
    around = searcher.ask(4)
    assert ((around != first[1]).sum(axis=1) == 1).all()
    # Nothing around is better, so the descent ends as soon as every neighbour is known.
    searcher.tell(around, np.full((4, 1), 2.0), np.zeros((4, 1)))
    rest = searcher.ask(1)
    if len(searcher._archive):
        searcher.tell(rest, np.full((1, 1), 2.0), np.zeros((1, 1)))
    assert len(searcher._archive) == 0


@pytest.mark.parametrize("make", [NSGA2, RegularisedEvolution])
def test_budgeted_initialisation_keeps_the_first_population_within_the_budget(
    toy: Any, make: Callable[..., Any]
) -> None:
    """Otherwise the first population is drawn anywhere; after it, nothing beyond the budget is asked either way."""
    problem = toy(budgets=(9.0,))
    for budgeted in (True, False):
        searcher = make(problem, population=40, budgeted_initialisation=budgeted)
        first = searcher.ask(40)
        searcher.tell(first, *problem.evaluate(first))
        assert bool((problem.latency(first) <= 9).all()) == budgeted
        assert (problem.latency(searcher.ask(40)) <= 9).all()


@pytest.mark.parametrize(
    ("make", "parameters", "message"),
    [
        (RegularisedEvolution, {"population": 5, "sample": 6}, "6 of a population of 5"),
        (RegularisedEvolution, {"population": 5, "sample": 0}, "0 of a population of 5"),
        (LocalSearch, {"starts": 0}, "from 0 genomes"),
    ],
)
def test_parameters_out_of_range_are_refused(
    toy: Any, make: Callable[..., Any], parameters: dict[str, int], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        make(toy(), **parameters)
