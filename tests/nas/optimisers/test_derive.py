"""Swaps, for costs that don't add up."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from nas.errors import NothingFits
from nas.optimisers.base import total
from nas.optimisers.derive import derive, swaps, without_limit
from nas.searchers.base import Genomes
from nas.testing.problems import Choices, Opaque, padded


def crooked(problem: Choices, rng: np.random.Generator) -> Opaque:
    """Seconds with terms of pairs of genes, always positive."""
    tables = rng.uniform(0.1, 1.0, (len(problem.options), max(problem.options)))

    def seconds(genomes: Genomes) -> np.ndarray:
        single = tables[np.arange(genomes.shape[1]), genomes]
        return np.asarray(single.sum(axis=1) + (single[:, 1:] * single[:, :-1]).sum(axis=1))

    return Opaque(seconds)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), share=st.floats(0.01, 1.2))
def test_what_swaps_find_fits_and_no_single_change_is_better(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    problem = Choices((3, 4, 2, 4, 3), optional=(3,))
    preference, cost = padded(problem, rng), crooked(problem, rng)
    every = problem.every()
    seconds = cost.seconds(every)
    limit = float(seconds.min() + share * (seconds.max() - seconds.min()))
    start = every[rng.integers(len(every))]
    found = swaps(problem, preference, cost, limit, start, floor=0.0)
    assert cost.seconds(found[None])[0] <= limit
    single = [row for row in every if (row != found).sum() == 1]
    value = total(problem, preference, np.array(single))
    fits = cost.seconds(np.array(single)) <= limit
    assert (value[fits] <= total(problem, preference, found[None])[0] + 1e-9).all()


def test_swaps_climb_into_the_band_below_the_limit() -> None:
    rng = np.random.default_rng(0)
    problem = Choices((6,) * 6)
    cost = crooked(problem, rng)
    # Everything slow is disliked, so that the best network by preference alone is among the fastest.
    order = np.array([np.argsort(np.argsort([cost.seconds(np.eye(6, dtype=int)[[g]] * k)[0] for k in range(6)]))
                      for g in range(6)])  # fmt: skip
    start = np.zeros(6, np.int64)
    limit = float(np.quantile(cost.seconds(problem.every()), 0.6))
    low = swaps(problem, -order.astype(float), cost, limit, start, floor=0.0)
    high = swaps(problem, -order.astype(float), cost, limit, start, floor=0.97)
    assert cost.seconds(low[None])[0] < 0.9 * limit
    assert 0.97 * limit <= cost.seconds(high[None])[0] <= limit


def test_a_network_that_fits_is_found_where_no_single_change_saves_time() -> None:
    """From (1, 1) both changes are slower, yet (0, 0) is the only network that fits."""
    table = np.array([[1.0, 9.0], [9.0, 5.0]])
    problem, cost = Choices((2, 2)), Opaque(lambda genomes: table[genomes[:, 0], genomes[:, 1]])
    genomes, seconds = derive(problem, np.zeros((2, 2)), cost, 2.0, np.array([1, 1]))
    assert genomes.tolist() == [[0, 0]] and seconds.tolist() == [1.0]
    with pytest.raises(NothingFits, match=r"at most 0\.5 s; the fastest takes 1 s"):
        derive(problem, np.zeros((2, 2)), cost, 0.5, np.array([1, 1]))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_without_a_limit_no_network_is_preferred_and_genes_without_effect_say_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    problem = Choices((3, 4, 2, 4, 3), optional=(1, 3))
    preference = padded(problem, rng)
    found = without_limit(problem, preference, crooked(problem, rng))
    assert np.array_equal(found, problem.canonical(found[None])[0])
    best = total(problem, preference, problem.canonical(problem.every())).max()
    assert total(problem, preference, found[None])[0] == pytest.approx(best)


def test_of_a_large_space_no_single_change_is_better_without_a_limit() -> None:
    rng = np.random.default_rng(3)
    problem = Choices((4,) * 16, optional=(2, 9))
    preference, cost = padded(problem, rng), crooked(problem, rng)
    found = without_limit(problem, preference, cost)
    changed = np.repeat(found[None], 64, axis=0)
    changed[np.arange(64), np.repeat(np.arange(16), 4)] = np.tile(np.arange(4), 16)
    values = total(problem, preference, problem.canonical(changed))
    assert values.max() <= total(problem, preference, found[None])[0] + 1e-9
