from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.searchers.base import least_violation
from nas.searchers.feasibility_filter import FeasibilityFilter, uniform
from nas.searchers.visited_set import VisitedSet


@pytest.mark.parametrize("sizes", [[3, 4, 5], [2] * 62, [50] * 40])
def test_hashes_of_different_genomes_differ(sizes: list[int]) -> None:
    genomes = np.random.default_rng(0).integers(sizes, size=(20_000, len(sizes)))
    visited = VisitedSet(np.array(sizes))
    assert len(np.unique(visited.keys(genomes))) == len(np.unique(genomes, axis=0))


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=20), st.integers(0, 20))
@settings(max_examples=100, deadline=None)
def test_new_keeps_first_occurrences_in_order(drawn: list[tuple[int, int]], known: int) -> None:
    genomes = np.array(drawn, dtype=np.int64).reshape(-1, 2)
    visited = VisitedSet(np.array([3, 3]))
    visited.add(genomes[:known])
    wanted = [g for g in dict.fromkeys(drawn) if g not in drawn[:known]]
    assert visited.new(genomes).tolist() == [list(g) for g in wanted]
    assert visited.count == len(set(drawn[:known]))


def test_the_nearest_budget_counts() -> None:
    violation = np.array([[0.5, 0.2], [0.0, 3.0], [np.nan, 0.1], [np.nan, np.nan], [-1.0, 2.0]])
    assert least_violation(violation).tolist() == [0.2, 0.0, 0.1, np.inf, 0.0]
    assert least_violation(np.empty((3, 0))).tolist() == [0.0, 0.0, 0.0]


def test_what_fits_comes_in_the_order_of_its_source(toy: Any) -> None:
    """Screening must not prefer small networks: what fits is taken as it came."""
    problem = toy(budgets=(12.0,))
    filter_ = FeasibilityFilter(problem)
    rng = np.random.default_rng(1)
    sample = problem.canonical(uniform(problem.sizes)(np.random.default_rng(1), 128, 0))
    fitting = [row for row in dict.fromkeys(map(tuple, sample.tolist())) if sum(row) <= 12]
    chosen = filter_.propose(rng, 5, (uniform(problem.sizes),))
    assert [tuple(row) for row in chosen.tolist()] == fitting[:5]


def test_screening_is_bounded(toy: Any) -> None:
    """A problem that nothing ever solves costs a bounded number of free evaluations."""
    problem = toy(depth=24, options=20, budgets=(-1.0,), deep=True)
    priced = 0

    class Counted:
        sizes, ordinal, seed, canonical = problem.sizes, problem.ordinal, 0, staticmethod(problem.canonical)

        def free_objectives(self, genomes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            nonlocal priced
            priced += len(genomes)
            return problem.free_objectives(genomes)

    assert len(FeasibilityFilter(Counted()).propose(np.random.default_rng(0), 8, (uniform(problem.sizes),))) == 8
    assert priced < 100_000
