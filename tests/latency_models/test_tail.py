"""What single calls say of calls in a row."""

from __future__ import annotations

import numpy as np
import pytest

from latency_models.base import LogStudent
from latency_models.tail import NO_TAIL, UNKNOWN_TAIL, Tail

BELIEVED = LogStudent(np.array([1e-3, 2e-3]), np.array([1e-4, 2e-4]), 5.0)


def test_without_a_tail_nothing_changes() -> None:
    assert NO_TAIL.of(BELIEVED) is BELIEVED


def test_a_ratio_multiplies_and_its_error_widens() -> None:
    found = Tail(2.0, 0.3).of(BELIEVED)
    assert found.mean_s == pytest.approx(2 * BELIEVED.mean_s) and found.degrees_of_freedom == 5.0
    width = np.log(found.quantile_s(0.95) / found.mean_s)
    before = np.log(BELIEVED.quantile_s(0.95) / BELIEVED.mean_s)
    only = np.log(Tail(1.0, 0.3).of(LogStudent(np.array([1.0]), np.array([1e-9]), 5.0)).quantile_s(0.95))
    assert width == pytest.approx(np.hypot(before, only), rel=1e-6)
    assert UNKNOWN_TAIL.of(BELIEVED).probability_within(1.5e-3)[0] < BELIEVED.probability_within(1.5e-3)[0]


def test_what_is_learned_is_the_middle_and_the_spread() -> None:
    found = Tail.learned([1.0, 2.0, 4.0])
    assert found.ratio == pytest.approx(2.0) and found.log_std > np.log(2)
    one = Tail.learned([1.5])
    assert one.ratio == pytest.approx(1.5) and one.log_std > 0
    assert Tail.learned([0.5]).ratio == 1.0, "a percentile is no less than the median"
    with pytest.raises(ValueError, match="no network"):
        Tail.learned([])
