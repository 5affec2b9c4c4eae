"""Deterministic random subsets: how many stay, that the answer depends on the row alone, and that nobody is
preferred."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import array_shapes, arrays

from search_spaces.random_subset import random_subset


@settings(max_examples=60, deadline=None)
@given(marked=arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=12)), most=st.integers(0, 13))
def test_what_is_left(marked: np.ndarray, most: int) -> None:
    left = random_subset(marked, most)
    assert (left <= marked).all()
    assert (left.sum(axis=1) == np.minimum(marked.sum(axis=1), most)).all()
    assert np.array_equal(random_subset(left, most), left)
    assert np.array_equal(np.concatenate([random_subset(row[None], most) for row in marked]), left)


@pytest.mark.parametrize(("count", "most"), [(8, 1), (20, 3), (70, 3)])
def test_each_is_left_about_equally_often(count: int, most: int) -> None:
    left = random_subset(np.random.default_rng(0).random((20_000, count)) < 0.5, most)
    shares = left.mean(axis=0) * count / most
    assert shares.min() > 0.6 and shares.max() < 1.5


def test_the_numbers_never_change() -> None:
    """Runs that are resumed with another release of numpy go on with the same networks."""
    every = random_subset(np.ones((1, 21), np.bool_), 3)
    assert np.flatnonzero(every[0]).tolist() == [3, 11, 14]
