"""What decides about a percentile: single calls over the stream where there is one, bounded for other images too."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nas.config.budget import Budget
from nas.devices.base import Times
from nas.devices.conditions import Conditions
from nas.devices.measurement import LEVELS, ExitTime, quantiles_of
from nas.devices.timing.single_calls import SingleReadings
from nas.search import winner_readings
from nas.search.percentiles import LEAST_IMAGES

EARLY_S, LATE_S, LIMIT_S = 1e-3, 4e-3, 2e-3


@pytest.mark.parametrize(
    ("share", "bound_s", "rates", "images", "raised_s"),
    [
        (0.99, 1.2e-3, (1.0, 0.0), 300, 1.2e-3),
        (0.99, 1.2e-3, (1.0, 0.0), 200, 4.8e-3),
        (0.95, 1.2e-3, (1.0, 0.0), 60, 1.2e-3),
        (0.95, 1.2e-3, (0.98, 0.02), 300, 1.2e-3),
        (0.95, 1.2e-3, (0.98, 0.02), 100, 4.8e-3),
        (0.99, 5e-3, (0.98, 0.02), 100, 5e-3),
        (0.99, np.inf, (1.0, 0.0), 10, np.inf),
        (0.99, 1.2e-3, (1.0, 0.0), 0, 1.2e-3),
    ],
)
@pytest.mark.parametrize("slower", [1.0, 3.0])
def test_a_bound_holds_for_other_images(
    share: float, bound_s: float, rates: tuple[float, ...], images: int, raised_s: float, slower: float
) -> None:
    """Where another exit may decide, by as much as calls to it take longer; at a duty cycle all do."""
    to_exits = (ExitTime(EARLY_S / slower, 1.0), ExitTime(LATE_S / slower, 1.0))
    single_s = tuple(np.where(np.array(LEVELS) < 0.99, EARLY_S, 1.1 * EARLY_S).tolist())
    times = Times(to_exits, ExitTime(EARLY_S, 1.0, calls=900), None, single_s)
    found = winner_readings.for_other_images(share, bound_s, times, np.array(rates), images)
    assert found == pytest.approx(raised_s)
    alone = replace(times, stream=None)
    assert winner_readings.for_other_images(share, bound_s, alone, np.array(rates), images) == bound_s


def test_without_a_stream_the_calls_to_the_last_exit_decide() -> None:
    """As of networks of one exit, and in the readings of older releases."""
    late = ExitTime(LATE_S, LATE_S, p95_s=LATE_S, p99_s=LATE_S, calls=900, p95_upper_s=LATE_S, p99_upper_s=LATE_S)
    early, budget = ExitTime(EARLY_S, EARLY_S), Budget(LIMIT_S, "p99", "late")
    taken = winner_readings.Taken(Times((early, late)), np.array([1.0, 0.0]), Conditions("runtime", 1))
    assert winner_readings.deciding(budget, taken) == (LATE_S, LATE_S, "")
    over = replace(late, p99_s=EARLY_S, p99_upper_s=1.5 * EARLY_S)
    streamed = replace(taken, times=replace(taken.times, stream=over))
    assert winner_readings.deciding(budget, streamed) == (EARLY_S, 1.5 * EARLY_S, "")
    for change in ({"single_refused": "busy"}, {"refused": "busy"}):
        refused = replace(taken, times=replace(taken.times, stream=replace(over, **change)))
        assert winner_readings.deciding(budget, refused)[2] == "busy"


def covered(share: float, late: float, images: int, repetitions: int = 100) -> tuple[float, float]:
    """How often the bound covers the percentile over all images, of which so many are late, and that of calls alone."""
    rng, found, alone = np.random.default_rng(0), [], []
    every = np.where(np.arange(200_000) < late * 200_000, LATE_S, EARLY_S)
    truth_s = np.quantile(every * np.exp(0.05 * rng.standard_normal(len(every))), share)
    for _ in range(repetitions):
        is_late = rng.random(images) < late
        drawn = is_late[rng.integers(images, size=(10, 1000))]
        seconds = np.where(drawn, LATE_S, EARLY_S) * np.exp(0.05 * rng.standard_normal(drawn.shape))
        single = SingleReadings(seconds, drawn=True)
        stream = ExitTime.of_single(single)
        to_exits = (ExitTime(EARLY_S, EARLY_S), ExitTime(LATE_S, LATE_S))
        rates, bound_s = np.array([1 - is_late.mean(), is_late.mean()]), stream.percentile(share)[1]
        times = Times(to_exits, stream, None, quantiles_of(single))
        alone.append(bound_s >= truth_s)
        found.append(winner_readings.for_other_images(share, bound_s, times, rates, images) >= truth_s)
    return float(np.mean(found)), float(np.mean(alone))


@pytest.mark.parametrize(("share", "late"), [(0.95, 0.03), (0.95, 0.055), (0.99, 0.006), (0.99, 0.012)])
@pytest.mark.parametrize("images", [LEAST_IMAGES, 1000])
def test_bounds_cover_all_images_at_95_percent(share: float, late: float, images: int) -> None:
    """Where fewer are late than may be, whose calls shift the percentile, and slightly more: it is the last exit's."""
    assert covered(share, late, images)[0] >= 0.94


def test_calls_again_and_again_over_few_images_say_less_than_they_seem_to() -> None:
    bound, alone = covered(0.95, 0.055, 100)
    assert bound >= 0.94 and alone < 0.9
    # Of still fewer not even those that excluded too large a share: so many are asked for.
    assert covered(0.95, 0.03, 59)[0] < 0.9
