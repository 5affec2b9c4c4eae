"""How good predicted latencies are: order, relative error, and whether the stated error is the real one.

All functions take arrays [n] and leave out networks that were not measured (NaN in `measured`). They return NaN where
nothing is left, or where a correlation is undefined because one side is constant.
"""

from __future__ import annotations

import numpy as np

from latency_models.base import Floats


def spearman(predicted: Floats, measured: Floats) -> float:
    """Spearman's rank correlation; ties share their mean rank."""
    from scipy.stats import rankdata

    predicted, measured = _measured(predicted, measured)
    if len(measured) < 2:
        return float("nan")
    left, right = rankdata(predicted), rankdata(measured)
    left, right = left - left.mean(), right - right.mean()
    size = float(np.sqrt((left @ left) * (right @ right)))
    return float(left @ right) / size if size > 0 else float("nan")


def kendall(predicted: Floats, measured: Floats) -> float:
    """Kendall's tau-b, which corrects for ties."""
    from scipy.stats import kendalltau

    predicted, measured = _measured(predicted, measured)
    if len(measured) < 2 or np.ptp(predicted) == 0 or np.ptp(measured) == 0:
        return float("nan")
    return float(kendalltau(predicted, measured).statistic)


def median_relative_error(predicted: Floats, measured: Floats) -> float:
    """Median of |predicted / measured - 1|."""
    predicted, measured = _measured(predicted, measured)
    return float(np.median(_relative(predicted, measured))) if len(measured) else float("nan")


def within(predicted: Floats, measured: Floats, share: float = 0.1) -> float:
    """The share of networks whose prediction is within `share` of the measured latency."""
    predicted, measured = _measured(predicted, measured)
    return float(np.mean(_relative(predicted, measured) <= share)) if len(measured) else float("nan")


def coverage(low: Floats, high: Floats, measured: Floats) -> float:
    """The share of networks whose measured latency lies in [low, high]."""
    low, value = _measured(low, measured)
    high, _ = _measured(high, measured)
    return float(np.mean((low <= value) & (value <= high))) if len(value) else float("nan")


def interval_width(low: Floats, high: Floats, measured: Floats) -> float:
    """Mean width of the intervals, as a share of the median measured latency."""
    low, value = _measured(low, measured)
    high, _ = _measured(high, measured)
    return float(np.mean(high - low) / np.median(value)) if len(value) else float("nan")


def interval_score(low: Floats, high: Floats, measured: Floats, level: float = 0.9) -> float:
    """Mean interval score at `level`, as a share of the median measured latency; smaller is better.

    Width plus 2 / (1 - level) times the distance of what lies outside: Gneiting and Raftery, JASA 2007, section 6.2.
    """
    low, value = _measured(low, measured)
    high, _ = _measured(high, measured)
    if not len(value):
        return float("nan")
    outside = np.maximum(low - value, 0) + np.maximum(value - high, 0)
    return float(np.mean(high - low + 2 / (1 - level) * outside) / np.median(value))


def _relative(predicted: Floats, measured: Floats) -> Floats:
    """Relative errors; infinite where a rounded reading is zero and the prediction is not."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.nan_to_num(np.abs(predicted - measured) / measured, nan=0.0, posinf=np.inf))


def _measured(values: Floats, measured: Floats) -> tuple[Floats, Floats]:
    values, measured = np.asarray(values, np.float64), np.asarray(measured, np.float64)
    if values.shape != measured.shape:
        raise ValueError(f"values have shape {values.shape} and measurements {measured.shape}; they must be the same")
    there = np.isfinite(measured)
    return values[there], measured[there]
