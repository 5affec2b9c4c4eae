from __future__ import annotations

from typing import Any

import moocore
import numpy as np
import pytest

from nas.errors import InputError
from nas.searchers.base import Searcher
from nas.searchers.nsga2 import NSGA2
from nas.searchers.pareto import pareto_rank
from nas.searchers.random import RandomSearch

REFERENCE = np.array([1.1, 11.0])


def front_of(searcher: Searcher, problem: Any, evaluations: int) -> np.ndarray:
    told = []
    for _ in range(evaluations // 40):
        genomes = searcher.ask(40)
        values, violation = problem.evaluate(genomes)
        searcher.tell(genomes, values, violation)
        told.append(values)
    values = np.concatenate(told)
    front: np.ndarray = values[pareto_rank(values) == 0]
    return front


@pytest.mark.parametrize("budget", [np.inf, 60.0])
def test_it_beats_random_search_on_zdt1_by_far(toy: Any, budget: float) -> None:
    """On the known front, f2 = 1 - sqrt(f1), random search leaves twice the volume uncovered, at every seed."""
    x = np.linspace(0, 1, 16)
    best = moocore.hypervolume(np.column_stack((x, 1 - np.sqrt(x))), ref=REFERENCE)
    for seed in range(5):
        problem = toy(depth=16, options=16, budgets=(budget,), seed=seed, deep=True)
        evolved = best - moocore.hypervolume(front_of(NSGA2(problem, population=40), problem, 1200), ref=REFERENCE)
        sampled = best - moocore.hypervolume(front_of(RandomSearch(problem), problem, 1200), ref=REFERENCE)
        assert 0 <= evolved < 0.5 * sampled


def test_it_finds_the_whole_front_of_a_small_problem(toy: Any) -> None:
    problem = toy(depth=4, options=4)
    everything = np.stack(np.unravel_index(np.arange(4**5), (4,) * 5), axis=1)
    values, _ = problem.evaluate(problem.canonical(everything))
    wanted = {tuple(v) for v in values[pareto_rank(values) == 0].tolist()}
    found = {tuple(v) for v in front_of(NSGA2(problem, population=20), problem, 320).tolist()}
    assert found == wanted


def test_feasible_genomes_survive_and_less_violation_comes_next(toy: Any) -> None:
    problem = toy()
    searcher = NSGA2(problem, population=2)
    genomes = problem.canonical(np.array([[5, k, 0, 0, 0, 0, 0] for k in range(6)]))
    values = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0], [np.nan, 0.0], [0.0, 0.0], [0.0, 0.0]])
    violation = np.array([[0.3, 0.4], [0.9, 0.1], [0.5, 0.0], [0.0, 0.0], [0.2, 0.3], [np.nan, np.nan]])
    searcher.tell(genomes, values, violation)
    assert [row[1] for row in searcher._archive.genomes.tolist()] == [2, 1]
    searcher.tell(np.array([[5, 7, 7, 7, 7, 7, 7]]), np.array([[1.0, 1.0]]), np.array([[0.0, 0.0]]))
    assert [row[1] for row in searcher._archive.genomes.tolist()] == [7, 2]


def test_the_better_of_two_is_the_parent(toy: Any) -> None:
    problem = toy()
    searcher = NSGA2(problem, population=4)
    genomes = problem.canonical(np.array([[5, k, 0, 0, 0, 0, 0] for k in range(4)]))
    searcher.tell(genomes, np.arange(4.0)[:, None], np.zeros((4, 1)))
    parents = searcher._parents(np.random.default_rng(0), 16_000)[:, 1]
    # The k-th best of 4 wins unless one of the k - 1 better ones is drawn with it: (7, 5, 3, 1) of 16.
    assert np.bincount(parents) / 16_000 == pytest.approx(np.array([7, 5, 3, 1]) / 16, abs=0.02)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"population": 1}, "a population of 1 cannot breed"),
        ({"crossover": 1.5}, "crossover is 1.5"),
        ({"mutation": -0.1}, "mutation is -0.1"),
        ({"mutation": float("nan")}, "mutation is nan"),
    ],
)
def test_parameters_out_of_range_are_refused(toy: Any, parameters: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        NSGA2(toy(), **parameters)
