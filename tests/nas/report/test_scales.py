"""Ticks are round and within the scale, and scales keep order, whatever the numbers."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.report import scales

RANGES = st.tuples(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9)).map(lambda pair: (pair[0], pair[0] + pair[1]))
USABLE = RANGES.filter(lambda r: r[1] - r[0] > 1e-6 * max(abs(r[0]), abs(r[1])))
POSITIVE = st.tuples(st.floats(1e-9, 1e6), st.floats(1.001, 1e9)).map(lambda pair: (pair[0], pair[0] * pair[1]))


@given(USABLE, st.integers(2, 12))
@settings(max_examples=200, deadline=None)
def test_ticks_are_evenly_spaced_round_numbers_within_the_range(ends: tuple[float, float], count: int) -> None:
    low, high = ends
    found = scales.ticks(low, high, count)
    assert 1 <= len(found) <= 1.5 * count + 1
    assert all(low <= tick <= high for tick in found)
    assert list(found) == sorted(set(found))
    if len(found) > 2:
        steps = [b - a for a, b in pairwise(found)]
        digit = min(steps) / 10 ** math.floor(math.log10(min(steps)) + 1e-6)
        assert any(math.isclose(digit, nice, rel_tol=1e-4) for nice in (1, 2, 5, 10)), found


@given(POSITIVE, st.integers(2, 12))
@settings(max_examples=200, deadline=None)
def test_logarithmic_ticks_increase_within_the_range(ends: tuple[float, float], count: int) -> None:
    low, high = ends
    found = scales.log_ticks(low, high, count)
    assert 1 <= len(found) <= 2 * count
    assert all(low <= tick <= high for tick in found)
    assert list(found) == sorted(set(found))


@given(USABLE, st.integers(2, 12))
@settings(max_examples=100, deadline=None)
def test_labels_tell_ticks_apart(ends: tuple[float, float], count: int) -> None:
    found = scales.ticks(*ends, count)
    assert len(set(scales.tick_labels(found))) == len(found)


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=20), st.booleans(), st.booleans())
@settings(max_examples=200, deadline=None)
def test_a_fitted_scale_holds_its_values_in_order(values: list[float], log: bool, zero: bool) -> None:
    scale = scales.fitted(values, 10, 110, log=log, zero=zero)
    places = [scale(value) for value in sorted(values)]
    assert all(10 <= place <= 110 for place in places)
    assert places == sorted(places)
    assert scale(scale.low) == pytest.approx(10)
    assert scale(scale.high) == pytest.approx(110)
    assert scale.ticks()


def test_known_ticks() -> None:
    assert scales.ticks(0, 1, 5) == (0, 0.2, 0.4, 0.6, 0.8, 1)
    assert scales.ticks(-0.3, 0.3, 6) == (-0.3, -0.2, -0.1, 0, 0.1, 0.2, 0.3)
    assert scales.log_ticks(0.5, 50, 4) == (0.5, 1, 2, 5, 10, 20, 50)
    assert scales.log_ticks(1, 1e8, 4) == (1, 100, 1e4, 1e6, 1e8)
    assert scales.tick_labels((-0.5, 0.0, 0.5)) == ("\N{MINUS SIGN}0.5", "0.0", "0.5")
    assert scales.tick_labels((1.0, 10.0, 100.0)) == ("1", "10", "100")


@pytest.mark.parametrize("ends", [(1, 1), (2, 1), (math.nan, 1), (0, math.inf), (1, 1 + 1e-15)])
def test_impossible_ranges_are_refused(ends: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="low < high"):
        scales.ticks(*ends)
