from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from nas.exits import policies
from nas.exits.intervals import wilson
from nas.exits.policies import MaxProbability


def max_probability(logits: np.ndarray) -> np.ndarray:
    return MaxProbability().scores({"logits": logits})


def test_scores_by_hand() -> None:
    logits = np.log(np.array([[0.5, 0.3, 0.2], [1 / 3, 1 / 3, 1 / 3]]))
    assert max_probability(logits) == pytest.approx([0.5, 1 / 3])


@given(seed=st.integers(0, 2**32), scale=st.sampled_from([1e-3, 1.0, 1e3, 1e30]))
@settings(max_examples=25, deadline=None)
def test_scores_lie_between_0_and_1_and_do_not_move_with_the_logits(seed: int, scale: float) -> None:
    logits = np.random.default_rng(seed).normal(size=(5, 3, 7)) * scale
    score = max_probability(logits)
    assert score.shape == (5, 3)
    assert score.dtype == np.float64
    assert ((score >= 0) & (score <= 1)).all()
    if scale <= 1:
        assert max_probability(logits + 100) == pytest.approx(score, abs=1e-9)


def test_surer_logits_score_higher_even_where_single_precision_sees_none() -> None:
    logits = np.zeros((4, 10), dtype=np.float32)
    logits[:, 3] = [1, 10, 20, 25]
    assert (np.diff(max_probability(logits)) > 0).all()


def test_rows_are_taken_in_chunks_without_a_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    logits = np.random.default_rng(0).normal(size=(50, 2, 10))
    whole = max_probability(logits)
    monkeypatch.setattr(policies, "_CHUNK", 70)
    assert (max_probability(logits) == whole).all()


def test_one_class_is_refused() -> None:
    with pytest.raises(ValueError, match="fewer than two classes"):
        max_probability(np.zeros((4, 1)))


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (1, 10), (37, 50), (50, 50), (9000, 10_000)])
def test_intervals_equal_those_of_scipy(successes: int, n: int) -> None:
    wanted = binomtest(successes, n).proportion_ci(0.9, method="wilson")
    assert wilson(successes, n, 0.9) == pytest.approx((wanted.low, wanted.high), abs=1e-12)
    low, high = wilson(successes, n)
    assert 0 <= low <= successes / n <= high <= 1
    assert wilson(0, 0) == (0.0, 1.0)
