"""Intervals of proportions: of accuracies, and of shares that leave at exits."""

from __future__ import annotations

import math
from statistics import NormalDist


def wilson(successes: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """The two-sided interval of a proportion, `successes` of n; (0, 1) where n is 0.

    Wilson, "Probable inference, the law of succession, and statistical inference" (JASA 1927); holds its level near 0
    and 1, where the textbook interval does not.
    """
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + level) / 2)
    p = successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    # At the ends one limit is exact, and rounding must not push it past the proportion itself.
    return (0.0 if successes == 0 else centre - half), (1.0 if successes == n else centre + half)


def upper_share(successes: int, n: int, level: float = 0.95) -> float:
    """The one-sided upper bound of a proportion, `successes` of n; 1 where n is 0 or all are.

    Clopper and Pearson, "The use of confidence or fiducial limits" (Biometrika 1934): never below its level, so that it
    may certify. 0 of 59 bounds 5 %, and 0 of 299 bounds 1 %.
    """
    from scipy.stats import beta

    return 1.0 if successes >= n else float(beta.ppf(level, successes + 1, n - successes))


def largest_likely(most: int, n: int, times: int, level: float = 0.95) -> float:
    """The largest proportion of which n draws are likely (`level`) to have at most `most` successes, `times` in a row.

    The Clopper-Pearson bound from the other side; 0 where `most` is negative.
    """
    from scipy.stats import beta

    if most < 0:
        return 0.0
    return 1.0 if most >= n else float(beta.ppf(1 - level ** (1 / times), most + 1, n - most))
