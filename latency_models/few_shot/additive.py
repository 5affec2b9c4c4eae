"""The part of a source's latency that adds up: a cost for each column and a constant, robust to broken readings.

Costs of a group of columns (an operator at all its positions) share a mean, from which each position may deviate; how
far is decided by the evidence. That is hierarchical Bayesian linear regression (Bishop, "Pattern Recognition and
Machine Learning", 3.3 and 3.5) with Student errors, fitted by reweighting (Lange, Little and Taylor, JASA 1989).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from latency_models.base import Floats
from latency_models.few_shot.encoding import Encoding

#: More rows than this add time, not accuracy.
MOST_ROWS: Final = 2000
#: No network is believed to take less than this share of the median of its device.
LEAST: Final = 0.02
#: Standard deviations before anything is seen: all columns of a group together, and the constant, in medians.
_GROUP_STD: Final = 1.5
_CONSTANT_STD: Final = 0.5
#: Deviations of a position from its group, as a share of the group's; the evidence picks one.
_DEVIATIONS: Final = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
_DEGREES: Final = 4.0
#: Errors are relative, but not below this share of the median.
_FLOOR: Final = 0.2
_FIRST_ROUNDS: Final = 6
_ROUNDS: Final = 2
_LEAST_VARIANCE: Final = 1e-6


def costs(encoding: Encoding, columns: Floats, relative_s: Floats) -> Floats:
    """Cost of each column, and the constant last [columns + 1].

    `columns` [pool, columns]; `relative_s` [pool] seconds over the device's median, NaN where not measured.
    """
    rows = thin(np.flatnonzero(np.isfinite(relative_s)), MOST_ROWS)
    seconds, columns = relative_s[rows], columns[rows]
    counts = encoding.counts(columns)
    size = max(float(counts.sum(axis=1).mean()), 1e-9)
    features = np.hstack([counts / size, columns / size, np.ones((len(rows), 1))])
    groups, width = counts.shape[1], columns.shape[1]
    believed = np.ones(len(rows))
    expected = np.ones(len(rows))
    best, found = -np.inf, np.zeros(features.shape[1])
    middle = _DEVIATIONS[len(_DEVIATIONS) // 2 - 1]
    for deviation in (middle, *_DEVIATIONS):
        std = np.concatenate([np.full(groups, 1.0), np.full(width, deviation), [_CONSTANT_STD / _GROUP_STD]])
        std *= _GROUP_STD
        for _ in range(_FIRST_ROUNDS if deviation == middle else _ROUNDS):
            scale = np.maximum(expected, _FLOOR)
            left, right = features * std / scale[:, None], seconds / scale
            weighted = left * believed[:, None]
            gram = weighted.T @ left
            # The noise of the last round; the first time that of a prediction by the median.
            variance = max(float(believed @ (right - expected / scale) ** 2) / len(rows), _LEAST_VARIANCE)
            precision = gram / variance + np.eye(len(std))
            solution = np.linalg.solve(precision, weighted.T @ right / variance)
            error = right - left @ solution
            variance = max(float(believed @ error**2) / len(rows), _LEAST_VARIANCE)
            believed = (_DEGREES + 1) / (_DEGREES + error**2 / variance)
            expected = features @ (std * solution)
        fit = (_DEGREES + 1) * np.log1p(error**2 / variance / _DEGREES).sum() + len(rows) * np.log(variance)
        evidence = -0.5 * (fit + solution @ solution + np.linalg.slogdet(precision)[1])
        if evidence > best:
            best, found = evidence, std * solution
    per_column = encoding.membership @ found[:groups] + found[groups:-1]
    return np.append(per_column / size, found[-1])


def total(columns: Floats, cost: Floats) -> Floats:
    """What networks cost in all [n, ...], from columns [n, columns] and costs [..., columns + 1]; never below LEAST."""
    return np.asarray(np.maximum(columns @ cost[..., :-1].T + cost[..., -1], LEAST))


def thin(rows: np.ndarray[tuple[int], np.dtype[np.intp]], most: int) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """At most `most` of the rows, evenly spread."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).round().astype(np.intp)]
