"""When two runtimes count as computing the same network."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nas.deploy.parity import compare, compare_exits
from nas.tolerances import ARTEFACT_RELATIVE, TOP1_DISAGREEMENT_SHARE

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(2000, 10))


def test_rounding_is_the_same_network() -> None:
    result = compare(LOGITS, LOGITS.astype(np.float32))
    assert result.same
    assert result.changed == 0
    assert result.relative < 1e-6


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_the_difference_counts_relative_to_the_largest_logit(factor: float) -> None:
    largest = np.abs(LOGITS).max()
    shifted = LOGITS.copy()
    worst = np.unravel_index(np.argmin(LOGITS), LOGITS.shape)
    shifted[worst] -= factor * ARTEFACT_RELATIVE * largest
    result = compare(LOGITS, shifted)
    assert result.relative == pytest.approx(factor * ARTEFACT_RELATIVE)
    assert result.same == (factor < 1)


@pytest.mark.parametrize(("ties", "same"), [(2, True), (3, False)])
def test_ties_may_break_either_way_but_rarely(ties: int, same: bool) -> None:
    assert TOP1_DISAGREEMENT_SHARE * len(LOGITS) == 2
    reference, other = LOGITS.copy(), LOGITS.copy()
    for row in range(ties):
        first, second = np.argsort(LOGITS[row])[-2:][::-1]
        reference[row, second] = reference[row, first] - 1e-5
        other[row] = reference[row]
        other[row, second] += 2e-5
    result = compare(reference, other)
    assert result.changed == ties
    assert result.same == same


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_is_never_the_same(value: float) -> None:
    broken = LOGITS.copy()
    broken[3, 4] = value
    assert not compare(LOGITS, broken).same
    assert not compare(broken, broken).same


def test_exits_are_compared_one_by_one_with_the_first_runtime() -> None:
    result = compare_exits({"jax": [LOGITS, LOGITS], "onnxruntime": [LOGITS, LOGITS * 1.1], "tvm": [LOGITS, LOGITS]})
    assert [entry.same for entry in result["onnxruntime"]] == [True, False]
    assert [entry.same for entry in result["tvm"]] == [True, True]
    with pytest.raises(ValueError, match="shorter"):
        compare_exits({"jax": [LOGITS], "tvm": []})


def test_shapes_must_match() -> None:
    with pytest.raises(ValueError, match="cannot compare"):
        compare(LOGITS, LOGITS[:, :5])
    assert compare(np.zeros((2, 3)), np.zeros((2, 3))).same
