"""How sure an exit is of its answer: scores in [0, 1], larger is surer, from its logits; and intervals for accuracies.

Computed in float64: in float32 the probabilities of all very sure samples are 1, and equal scores cannot be parted by a
threshold.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

Logits = NDArray[np.floating[Any]]
Score = NDArray[np.float64]

_CHUNK = 1 << 20


def max_probability(logits: Logits) -> Score:
    """The largest softmax probability [...] of logits [..., C]."""
    return _per_row(logits, lambda z: 1 / _partition(z))


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


def _partition(z: Score) -> Score:
    """Sum exp(z - max z) over rows of [n, C]."""
    total: Score = np.exp(z - z.max(axis=1, keepdims=True)).sum(axis=1)
    return total


def _per_row(logits: Logits, score: Callable[[Score], Score]) -> Score:
    """Apply `score` to logits [..., C] as rows, a bounded number at a time: 1,000 classes in float64 are 8 kB a row."""
    if logits.shape[-1] < 2:
        raise ValueError(f"logits {logits.shape} have fewer than two classes on the last axis: nothing to be unsure of")
    rows = logits.reshape(-1, logits.shape[-1])
    step = max(1, _CHUNK // rows.shape[1])
    result = np.empty(len(rows))
    for start in range(0, len(rows), step):
        result[start : start + step] = score(rows[start : start + step].astype(np.float64))
    return result.reshape(logits.shape[:-1])
