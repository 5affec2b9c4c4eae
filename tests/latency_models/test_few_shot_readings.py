"""Readings of a new device: the step of its clock, and what cannot be readings."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latency_models.few_shot import learn
from latency_models.few_shot.readings import gather, rounding_step
from latency_models.table import HELP_TEST, HELP_TRAIN, HELP_VALIDATION, nb201

#: Devices of the shipped table that report whole milliseconds.
PHONES = {"samsung_a50", "essential_ph_1", "samsung_s7", "pixel2"}
#: Networks of six positions, and their latencies, about 5.5 ms.
OPS = np.random.default_rng(0).integers(0, 4, (300, 6))
SECONDS = 1e-3 * (4.5 + OPS.sum(axis=1) / OPS.sum(axis=1).max() + 0.01 * np.random.default_rng(1).random(300))


@pytest.mark.parametrize("step", [1e-3, 5e-4, 1e-6])
def test_the_step_of_a_clock_is_found(step: float) -> None:
    readings = np.array([3, 8, 21, 40, 41]) * step
    assert rounding_step(readings) == pytest.approx(step)
    assert rounding_step(readings.astype(np.float32).astype(float)) == pytest.approx(step)


def test_readings_without_a_step_have_none() -> None:
    assert rounding_step(np.random.default_rng(0).uniform(1e-3, 2e-3, 10)) == 0
    assert rounding_step(np.array([0.002, 0.004])) == 0
    # Microseconds in a reading of seconds do not matter.
    assert rounding_step(np.array([1.000001, 1.234567, 1.5])) == 0


def test_two_values_tell_a_step_if_they_are_of_different_networks() -> None:
    read = 1e-3 * np.array([5, 6, 5, 5, 6, 5, 6, 6, 5, 5])
    assert rounding_step(read, np.arange(10)) == pytest.approx(1e-3)
    assert rounding_step(np.float32(read * 1e3).astype(float) / 1e3, np.arange(10)) == pytest.approx(1e-3)
    # Ten networks that take as long to the last digit, too.
    assert rounding_step(np.full(10, 5e-3), np.arange(10)) == pytest.approx(1e-3)
    # A network that reads now one, now the other is no table.
    assert rounding_step(read[:3], np.array([0, 0, 1])) == pytest.approx(1e-3)


def test_one_network_read_again_without_noise_says_nothing_new() -> None:
    read = 1e-3 * np.array([5, 6, 5, 5, 6, 5, 6, 6, 5, 5])
    of = (read > 5.5e-3).astype(int)
    assert rounding_step(read, of) == 0
    assert rounding_step(np.full(10, 5e-3), np.zeros(10, int)) == 0
    # Without the networks equal values may be of the same one.
    assert rounding_step(read) == 0


def test_few_values_do_not_tell_two_steps_from_one() -> None:
    assert rounding_step(1e-3 * np.array([4, 6, 4, 6, 6]), np.arange(5)) == pytest.approx(1e-3)
    assert rounding_step(1e-3 * np.array([5, 10, 5, 10, 5]), np.arange(5)) == pytest.approx(1e-3)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.floats(1e-5, 1.0), st.integers(1, 10))
def test_equal_networks_of_a_simulator_are_no_step(seed: int, scale: float, values: int) -> None:
    """Sums of costs give few different values, and none of them round."""
    rng = np.random.default_rng(seed)
    costs = scale * rng.uniform(0.5, 2.0, values)
    assert rounding_step(costs[rng.integers(0, values, 10)], np.arange(10)) == 0


@pytest.mark.parametrize("device", sorted({*HELP_TRAIN, *HELP_VALIDATION, *HELP_TEST}))
def test_the_phones_of_the_shipped_table_round_and_no_other_device_does(device: str) -> None:
    seconds = nb201().column(device)
    for seed in range(20):
        index = np.random.default_rng(seed).choice(len(seconds), 10, replace=False)
        step = rounding_step(seconds[index], index)
        assert step >= 0.999e-3 if device in PHONES else step == 0


def test_rounded_readings_are_no_more_exact_than_their_step() -> None:
    """Two values among ten readings: 5 and 6 ms."""
    prior = learn(OPS, np.stack([SECONDS, 2 * SECONDS], axis=1))
    index = np.random.default_rng(2).choice(300, 10, replace=False)
    read = np.round(SECONDS[index], 3)
    read[0], read[1] = 5e-3, 6e-3
    assert len(np.unique(read)) == 2
    belief = prior.adapt(prior.candidates(OPS), index, read)
    assert np.all(belief.above[index] * belief.mean_s[index] > 0.5e-3 / np.sqrt(12))


@pytest.mark.parametrize(
    ("index", "seconds", "noise", "says"),
    [
        ([], [], None, "at least one"),
        ([1, 2], [0.1], None, "2 indices and 1 readings"),
        ([900], [0.1], None, "from 0 to 899"),
        ([1.5], [0.1], None, "must be indices"),
        ([1], [np.nan], None, "finite"),
        ([1], [-1.0], None, "not negative"),
        ([1], [0.0], None, "not all zero"),
        ([1], [0.1], -0.1, "noise of a reading"),
    ],
)
def test_what_cannot_be_readings_is_refused(
    index: list[int], seconds: list[float], noise: float | None, says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        gather(index, seconds, 900, noise)
