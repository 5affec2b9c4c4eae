"""One round of the budget loop: what it reads next, and when it says that a network keeps the budget or none does."""

from __future__ import annotations

import numpy as np
import pytest

from nas.search.budget_loop import Floats, Observed, Rules, decide
from tests.nas.search.beliefs import Normal


def read(measured: list[int], seconds: Floats | list[float], noise: float = 0.0, step_s: float = 0.0) -> Observed:
    """Readings of candidates among three."""
    return Observed.of(np.array(measured), np.asarray(seconds), 3, noise, step_s)


def test_a_budget_close_to_a_reading_is_not_given_up_while_readings_are_left() -> None:
    accuracy, readings = np.array([1.0, 2.0, 3.0]), read([0], [1.0])
    # Candidate 1 has one chance in fifty: too little to count on, and enough to look before the budget is given up.
    belief = Normal(np.array([1.0, 1.22, 3.0]), np.array([1e-6, 0.13, 0.01]))
    near, far = 0.9, 0.7
    assert 0.02 < belief.probability_within(1.05 * near)[1] < 0.03
    step = decide(accuracy, near, belief, readings, 5, Rules())
    assert (step.found, step.index) == (None, 1)
    assert decide(accuracy, near, belief, readings, 0, Rules()).found == "nothing fits"
    assert decide(accuracy, far, belief, readings, 5, Rules()).found == "nothing fits"


@pytest.mark.parametrize("over", [1.01, 1.02, 1.06])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_it_ends_where_everything_was_read_and_nothing_keeps_the_budget(n: int, over: float) -> None:
    seconds = over + 0.3 * np.arange(n)
    belief, readings = Normal(seconds, np.full(n, 1e-6)), Observed.of(np.arange(n), seconds, n)
    step = decide(np.arange(n, dtype=np.float64), 1.0, belief, readings, 4, Rules())
    assert step.index is None and step.found == ("undecided" if over < 1.0247 else "nothing fits")


def test_the_likely_fastest_network_is_read_before_a_far_budget_is_given_up() -> None:
    mean = np.linspace(1.0, 3.0, 50)[::-1].copy()
    belief = Normal(mean, np.full(50, 0.01))
    readings = Observed.of(np.array([10]), mean[[10]], 50, noise=0.03)
    step = decide(mean.copy(), 0.5, belief, readings, 9, Rules())
    assert (step.found, step.index) == (None, 49)


def test_a_reading_just_within_the_budget_is_taken_again() -> None:
    # Candidate 1 is the better one and reads at 0.97 of the budget; 0 is safe, 2 far too slow.
    belief = Normal(np.array([0.5, 0.97, 9.0]), np.array([0.02, 0.03, 0.1]))
    accuracy, readings = np.array([60.0, 70.0, 80.0]), read([0, 1], [0.5, 0.97], noise=0.03)
    step = decide(accuracy, 1.0, belief, readings, 5, Rules())
    assert (step.found, step.index) == (None, 1)
    step = decide(accuracy, 1.0, belief, readings, 0, Rules())
    assert (step.found, step.index) == ("network", 0)
    again = read([0, 1, 1, 1, 1], [0.5, 0.97, 0.97, 0.97, 0.97], noise=0.03)
    sure = Normal(np.array([0.5, 0.97, 9.0]), np.array([0.02, 0.015, 0.1]))
    step = decide(accuracy, 1.0, sure, again, 5, Rules())
    assert (step.found, step.index) == ("network", 1)


def test_a_belief_that_knows_better_than_one_reading_is_heard() -> None:
    belief = Normal(np.array([0.5, 1.02]), np.array([0.02, 0.02]))
    readings = Observed.of(np.array([0, 1]), np.array([0.5, 0.93]), 2, noise=0.03)
    step = decide(np.array([60.0, 70.0]), 1.0, belief, readings, 0, Rules())
    assert (step.found, step.index) == ("network", 0)


def test_it_stops_where_no_reading_promises_enough() -> None:
    belief = Normal(np.array([0.5, 0.7, 5.0]), np.array([1e-3, 0.05, 0.05]))
    readings = read([0], [0.5])
    near = np.array([93.000, 93.009, 94.0])
    assert decide(near, 1.0, belief, readings, 5, Rules()).found == "network"
    assert decide(near, 1.0, belief, readings, 5, Rules(gain=0.001)).index == 1


def test_a_clock_that_rounds_gives_away_half_a_step() -> None:
    readings = read([0, 1], [0.005, 0.007], step_s=0.001)
    assert readings.reachable(0.008) == pytest.approx(0.0085)
    assert readings.reachable(0.0079) == pytest.approx(0.0075)


@pytest.mark.parametrize("wrong", [{"confidence": 0.4}, {"doubt": 0.0}, {"slack": 0.9}, {"gain": -0.1}])
def test_rules_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        Rules(**wrong)
