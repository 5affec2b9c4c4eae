from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nas.search.pareto import crowding_distance, hypervolume, pareto_front, pareto_rank, reference_point

Array = NDArray[np.float64]


@st.composite
def points(draw: st.DrawFn, objectives: tuple[int, ...] = (1, 2, 3)) -> tuple[Array, Array]:
    """Points on a coarse grid, so that ties and copies occur, and violations of which most are 0."""
    n, m = draw(st.integers(1, 24)), draw(st.sampled_from(objectives))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return rng.integers(0, 6, size=(n, m)) * 1.0, np.maximum(rng.integers(-4, 4, size=n), 0) * 0.5


def dominates(a: Array, va: float, b: Array, vb: float) -> bool:
    """Deb's constraint domination, from its definition."""
    if va == 0 and vb == 0:
        return bool((a <= b).all() and (a < b).any())
    return va < vb


def peel(values: Array, violation: Array) -> list[int]:
    """Non-dominated sorting from its definition: take off the points that nothing left dominates."""
    rank, left, front = [0] * len(values), set(range(len(values))), 0
    while left:
        free = {i for i in left if not any(dominates(values[j], violation[j], values[i], violation[i]) for j in left)}
        for i in free:
            rank[i] = front
        left -= free
        front += 1
    return rank


@given(points())
@settings(max_examples=150, deadline=None)
def test_ranks_are_those_of_the_definition(drawn: tuple[Array, Array]) -> None:
    values, violation = drawn
    assert pareto_rank(values, violation).tolist() == peel(values, violation)


def test_a_small_case_by_hand() -> None:
    values = np.array([[1.0, 4.0], [2.0, 2.0], [4.0, 1.0], [3.0, 3.0], [0.0, 0.0], [9.0, 9.0], [2.0, 2.0]])
    violation = np.array([0, 0, 0, 0, 0.5, 0.2, 0])
    assert pareto_rank(values, violation).tolist() == [0, 0, 0, 1, 3, 2, 0]
    assert pareto_front(values, violation).tolist() == [True, True, True, False, False, False, True]


def test_values_of_infeasible_points_may_be_anything() -> None:
    values = np.array([[1.0, 1.0], [np.nan, np.inf]])
    assert pareto_rank(values, np.array([0.0, 1.0])).tolist() == [0, 1]
    assert pareto_rank(values, np.array([np.inf, 1.0])).tolist() == [1, 0]
    assert pareto_front(values, np.array([1.0, 1.0])).tolist() == [False, False]


def test_two_objectives_sort_as_a_sweep_does() -> None:
    values = np.random.default_rng(0).integers(0, 40, size=(300, 2)) * 1.0
    ranks = np.empty(300, dtype=int)
    tails: list[tuple[float, float]] = []  # the last point of each front; a sweep by the first objective
    for i in np.lexsort((values[:, 1], values[:, 0])):
        point = (float(values[i, 0]), float(values[i, 1]))
        front = next((k for k, tail in enumerate(tails) if tail[1] > point[1] or tail == point), len(tails))
        tails[front : front + 1] = [point]
        ranks[i] = front
    assert pareto_rank(values).tolist() == ranks.tolist()


@given(points(), st.randoms(use_true_random=False))
@settings(max_examples=80, deadline=None)
def test_the_order_of_the_points_does_not_matter(drawn: tuple[Array, Array], random: np.random.Generator) -> None:
    values, violation = drawn
    order = list(range(len(values)))
    random.shuffle(order)
    ranks = pareto_rank(values, violation)
    assert pareto_rank(values[order], violation[order]).tolist() == ranks[order].tolist()
    assert pareto_front(values[order], violation[order]).tolist() == pareto_front(values, violation)[order].tolist()
    here = np.column_stack((ranks, values, crowding_distance(values, ranks)))
    there = np.column_stack((ranks[order], values[order], crowding_distance(values[order], ranks[order])))
    assert sorted(here.tolist()) == sorted(there.tolist())


@given(points((2, 3)))
@settings(max_examples=80, deadline=None)
def test_the_front_holds_what_nothing_dominates(drawn: tuple[Array, Array]) -> None:
    values, violation = drawn
    front = pareto_front(values, violation)
    for i in range(len(values)):
        beaten = any(dominates(values[j], violation[j], values[i], violation[i]) for j in range(len(values)))
        assert front[i] == (violation[i] == 0 and not beaten)


def test_crowding_by_hand() -> None:
    # One front with ranges 4 and 4: the second point has neighbours 2 apart in the first objective and 3 in the second.
    values = np.array([[0.0, 4.0], [1.0, 2.0], [2.0, 1.0], [4.0, 0.0], [2.0, 1.0]])
    assert crowding_distance(values, np.zeros(5, dtype=np.int64)).tolist() == [
        np.inf,
        2 / 4 + 3 / 4,
        3 / 4 + 2 / 4,
        np.inf,
        0.0,  # a copy
    ]
    two_fronts = crowding_distance(values[:4], np.array([0, 1, 1, 0]))
    assert two_fronts.tolist() == [np.inf] * 4
    assert crowding_distance(np.empty((0, 2)), np.empty(0, dtype=np.int64)).tolist() == []


def test_a_flat_objective_adds_nothing() -> None:
    values = np.array([[0.0, 1.0], [1.0, 1.0], [4.0, 1.0]])
    assert crowding_distance(values, np.zeros(3, dtype=np.int64)).tolist()[1] == 1.0


@given(st.integers(1, 8), st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_hypervolume_of_a_staircase_is_the_sum_of_its_steps(steps: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = np.sort(rng.random(steps)), np.sort(rng.random(steps))[::-1]
    widths = np.diff(np.append(x, 1.5))
    wanted = float((widths * (2.0 - y)).sum())
    front = np.column_stack((x, y))
    dominated = front + 0.1
    outside = np.array([[1.6, 0.0], [0.0, 2.5]])
    union = rng.permutation(np.concatenate((front, dominated, outside)))
    assert hypervolume(union, np.array([1.5, 2.0])) == pytest.approx(wanted, rel=1e-12)


def test_hypervolume_of_a_box_and_of_nothing() -> None:
    assert hypervolume(np.array([[1.0, 1.0, 1.0]]), np.array([2.0, 3.0, 4.0])) == pytest.approx(6.0)
    assert hypervolume(np.empty((0, 2)), np.array([1.0, 1.0])) == 0.0


def test_the_reference_lies_a_tenth_behind_the_worst() -> None:
    reference = reference_point(np.array([[0.0, 5.0]]), np.array([[10.0, 1.0], [2.0, 2.0]]))
    assert reference == pytest.approx([11.0, 5.4])
