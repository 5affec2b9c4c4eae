"""When to leave where 95 or 99 of 100 single calls have to be within a limit: thresholds of a percentile.

A percentile of calls over a stream of samples does not care how early a sample leaves, but only which exit nearly all
have left by. So thresholds trade nothing: nobody leaves before the latest exit that fits into the limit, and there all
leave but those few that may be slow, which are the least confident and run on to the last exit. As in the worst case
(`thresholds.last_exit`) a deeper exit is taken to be the better one; no answer is looked at, and so none that is chosen
by looks better than it is.

How few may be slow is what a verification will be sure of (`most_beyond`): of 300 images to solve on and as many to
verify on, none for the 99th percentile, and one or two for the 95th.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from nas.exits.intervals import largest_likely, upper_share
from nas.exits.scores import Scores
from nas.exits.thresholds import Policy, evaluate


def within_percentile(found: Scores, cumulative_s: NDArray[np.float64], limit_s: float, most: int) -> Policy:
    """The policy under which at most `most` samples of `found` run on beyond the latest exit within `limit_s`.

    `cumulative_s` [K] are the seconds to each exit. Where even the first takes longer, that is what is nearest.
    """
    thresholds = np.full(len(cumulative_s) - 1, math.inf)
    latest = max(int(np.searchsorted(cumulative_s, limit_s, side="right")) - 1, 0)
    if latest < len(thresholds):
        thresholds[latest] = _leaving_out(found.confidence[:, latest], most)
    return evaluate(thresholds.tolist(), found.confidence, found.correct, cumulative_s)


def _leaving_out(confidence: NDArray[np.float64], most: int) -> float:
    """The threshold that no more than `most` samples of confidence [n] are below; with 0, one that no sample is below.

    It lies halfway between two confidences, so that the small differences of another runtime move no sample across it.
    """
    ranked = np.sort(confidence)
    if most <= 0:
        # 0 takes all of a score in [0, 1], on new samples too; other scores may be negative.
        return 0.0 if ranked[0] >= 0 else float(ranked[0]) - 1.0
    lower, upper = ranked[min(most, len(ranked)) - 1], ranked[min(most, len(ranked) - 1)]
    return float(upper if lower == upper else lower + (upper - lower) / 2)


@lru_cache(maxsize=1024)
def most_beyond(share: float, n: int, images: int, calls: int, blocks: int) -> int:
    """How many of n samples may run on beyond an exit, where `share` of single calls have to leave by it; often 0.

    So few that their share among all samples, bounded at 95 % from these n, is one of which a verification is likely to
    be sure: on `images` others, by the bound of the share that runs on (`largest_counted`), and in `blocks` blocks of
    so many `calls` each, by the order statistic that bounds the percentile.
    """
    counted = largest_likely(largest_counted(images, 1 - share), images, 1)
    # Of a block the bound is the k-th smallest call; n - k may be slower than the limit.
    drawn = largest_likely(calls - _rank(calls, share), calls, blocks)
    return max(largest_counted(n, min(counted, drawn)), 0)


def largest_counted(n: int, share: float) -> int:
    """The largest count of n samples that bounds a proportion to `share` at 95 %; -1 where even none does not."""
    low, high = -1, n
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if upper_share(middle, n) <= share else (low, middle)
    return low


def _rank(calls: int, share: float) -> int:
    """Which of so many calls in ascending order bounds the percentile at 95 % (`timing.bounds.quantile_bound`)."""
    from scipy.stats import binom

    return int(binom.ppf(0.95, calls, share)) + 1
