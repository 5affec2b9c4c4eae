"""Thresholds of a percentile: only those few run on beyond the exit that fits of which a verification will be sure."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom

from nas.exits.intervals import largest_likely, upper_share
from nas.exits.percentiles import largest_counted, most_beyond, within_percentile
from nas.exits.scores import Scores
from nas.exits.thresholds import exit_index, last_exit

SECONDS = np.array([1.0, 2.0, 4.0])


def scored(n: int = 200, seed: int = 0, low: float = 0.0) -> Scores:
    rng = np.random.default_rng(seed)
    return Scores(low + rng.random((n, 3)), rng.random((n, 3)) < 0.9)


@pytest.mark.parametrize("limit_s", [0.5, 1.0, 1.9, 2.0, 3.9, 4.0, 9.0])
@pytest.mark.parametrize("most", [0, 1, 7, 199, 200])
def test_the_latest_exit_that_fits_decides_and_no_more_run_on_than_may(limit_s: float, most: int) -> None:
    found = scored()
    policy = within_percentile(found, SECONDS, limit_s, most)
    latest = max(int((limit_s >= SECONDS).sum()) - 1, 0)
    assert policy.rates[:latest] == (0.0,) * latest, "nobody leaves before it: that would gain no time"
    assert sum(policy.rates[latest + 1 :]) * 200 <= most + 1e-9
    if latest == 2:
        assert policy == last_exit(found.correct, SECONDS)
        return
    # As many as may, the least confident, and these answer at the last exit.
    assert policy.rates[-1] * 200 == pytest.approx(min(most, 199))
    leaving = exit_index(policy.thresholds, found.confidence)
    assert set(leaving) <= {latest, 2}
    confident = found.confidence[:, latest]
    assert confident[leaving == latest].min(initial=2.0) > confident[leaving == 2].max(initial=-1.0)


@pytest.mark.parametrize("low", [0.0, -3.0])
def test_where_none_may_run_on_all_leave_on_new_images_too(low: float) -> None:
    policy = within_percentile(scored(low=low), SECONDS, 2.0, 0)
    fresh = scored(5000, 1, low)
    rates = np.bincount(exit_index(policy.thresholds, fresh.confidence), minlength=3) / 5000
    assert rates[1] == 1.0 if low == 0 else rates[1] > 0.999


def test_equal_confidences_are_not_parted() -> None:
    found = Scores(np.repeat([[0.25, 0.5], [0.75, 0.5]], 50, axis=0), np.ones((100, 2), bool))
    rates = [within_percentile(found, SECONDS[:2], 1.0, most).rates[1] for most in (0, 1, 49, 50, 60, 99)]
    assert rates == [0.0, 0.0, 0.0, 0.5, 0.5, 0.5]


def test_one_exit_has_nothing_to_solve() -> None:
    found = Scores(np.ones((9, 1)), np.ones((9, 1), bool))
    assert within_percentile(found, SECONDS[:1], 0.1, 3) == last_exit(found.correct, SECONDS[:1])


@pytest.mark.parametrize(("n", "share", "most"), [(58, 0.05, -1), (59, 0.05, 0), (298, 0.01, -1), (299, 0.01, 0)])
def test_as_few_images_certify_as_calls_bound_a_percentile(n: int, share: float, most: int) -> None:
    assert largest_counted(n, share) == most


@pytest.mark.parametrize("n", [30, 300, 1000, 20000])
@pytest.mark.parametrize("share", [0.002, 0.01, 0.05, 0.4])
def test_a_count_certifies_a_share_and_one_more_does_not(n: int, share: float) -> None:
    most = largest_counted(n, share)
    assert most == -1 or binom.cdf(most, n, share) <= 0.05
    assert binom.cdf(most + 1, n, share) > 0.05
    assert upper_share(n, n) == 1.0 and upper_share(3, 0) == 1.0


def test_what_is_likely_is_so() -> None:
    for most, n, times in ((0, 300, 3), (4, 1000, 10), (38, 1000, 10)):
        share = largest_likely(most, n, times)
        assert binom.cdf(most, n, share) ** times == pytest.approx(0.95)
    assert (largest_likely(-1, 10, 1), largest_likely(10, 10, 1)) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("share", "n", "images", "calls", "blocks", "most"),
    [
        (0.95, 300, 1000, 1000, 10, 2),
        (0.95, 10_000, 10_000, 1000, 10, 224),
        (0.99, 300, 1000, 1000, 10, 0),
        (0.99, 60_000, 60_000, 1000, 10, 52),
        (0.99, 60_000, 60_000, 300, 3, 0),
        (0.95, 300, 58, 1000, 10, 0),
        (0.95, 300, 1000, 58, 3, 0),
    ],
)
def test_how_many_may_run_on(share: float, n: int, images: int, calls: int, blocks: int, most: int) -> None:
    found = most_beyond(share, n, images, calls, blocks)
    assert found == pytest.approx(most, abs=3 if most > 9 else 0)
    assert found <= (1 - share) * n


def test_a_policy_that_is_certified_on_some_images_is_verified_on_others() -> None:
    """Of as many as were allowed to run on, no more do on new images than the percentile lets, nine times in ten."""
    within = []
    for seed in range(60):
        solved = scored(2000, seed)
        most = most_beyond(0.95, 2000, 1000, 1000, 10)
        policy = within_percentile(solved, SECONDS, 2.0, most)
        fresh = exit_index(policy.thresholds, scored(1000, 1000 + seed).confidence)
        within.append(int((fresh == 2).sum()) <= largest_counted(1000, 0.05))
    assert most > 0 and np.mean(within) >= 0.9
    assert math.isinf(policy.thresholds[0])
