"""Fitting seconds = features x coefficients on few measurements: positive, close to a prior, with an honest error.

Non-negative least squares on relative errors with a ridge towards the prior (the mode of a conjugate Bayesian linear
regression, Bishop, "Pattern Recognition and Machine Learning", 3.3, truncated at a positive floor). The strength of the
ridge and the noise come from leaving one network out at a time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from latency_models.base import Floats, Prediction, stack
from latency_models.features import Prior
from latency_models.sheets import SheetError

#: Relative errors of tiny latencies are measured against this share of the median.
FLOOR_OF_MEDIAN: Final = 0.1
#: No coefficient falls below this share of its prior: nothing costs nothing.
FLOOR_OF_PRIOR: Final = 0.1
#: Candidate strengths of the ridge: (relative noise of a measurement / relative error of the prior)^2.
RIDGES: Final = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
#: The strongest ridge within this factor of the smallest squared error is taken: it carries over better.
_SLACK: Final = 1.3
#: Ridge on the common factors of the prior; weak, since a device may well be ten times slower than its sheet.
_FACTOR_RIDGE: Final = 1e-2
#: A common factor does not shrink the error of the prior below this share.
LEAST_SHRINK: Final = 0.3
#: More networks than this are left out in groups, which bounds the time of a fit.
_MAX_FOLDS: Final = 20
#: What took less of all seconds in every measured network has not been measured.
LEAST_SEEN: Final = 0.002
#: Squared errors of left-out networks count up to so many times their median.
_OUTLYING: Final = 6.0
#: With fewer networks there is nothing to be learnt from leaving one out.
_FEWEST_TO_LEAVE_OUT: Final = 3
#: Relative errors believed before anything is measured: common to the whole network, of each coefficient, and the rest.
_UNMEASURED_COMMON: Final = 1.0
_UNMEASURED_EACH: Final = 0.5
_UNMEASURED_NOISE: Final = 0.3


@dataclass(frozen=True, eq=False)
class Rows:
    """Measurements as equations: features [m, p], seconds [m], and for each row its network and its weight [m]."""

    features: Floats
    seconds: Floats
    network: NDArray[np.intp]
    weight: Floats

    @property
    def networks(self) -> int:
        """Number of networks measured."""
        return len(np.unique(self.network))


@dataclass(frozen=True, eq=False)
class Fit:
    """Coefficients [p], their covariance [p, p], and the relative standard deviation of what they do not explain.

    `degrees_of_freedom`: degrees of freedom behind `noise`; infinite where it is believed and not estimated.
    """

    coefficients: Floats
    covariance: Floats
    noise: float
    degrees_of_freedom: float = math.inf


def unmeasured(prior: Prior, sheet: SheetError | None = None) -> Fit:
    """The fit to nothing: the prior itself, or `sheet.median` times that where it is known how far sheets are off.

    What is common to all networks of a device is in the covariance, as one factor; the rest is noise.
    """
    if sheet is not None and sheet.devices:
        mean, noise = sheet.median * prior.mean, sheet.relative_within
        common = (sheet.relative**2 - noise**2) * np.outer(mean, mean)
        return Fit(mean, common, noise, sheet.degrees_of_freedom)
    mean = prior.mean
    covariance = _UNMEASURED_COMMON**2 * np.outer(mean, mean) + np.diag((_UNMEASURED_EACH * prior.std) ** 2)
    return Fit(mean, covariance, _UNMEASURED_NOISE)


def fit(rows: Rows, prior: Prior) -> Fit:
    """The coefficients that explain the rows best without leaving the prior needlessly.

    The prior is that of the sheet as it is: how far it is off is what a common factor finds out.
    """
    if not len(rows.seconds):
        return unmeasured(prior)
    ridge, noise = _by_leaving_out(rows, prior)
    scaled = common_factors(rows, prior)
    coefficients = _solve(rows, scaled, ridge)
    left, _ = _equations(rows)
    precision = left.T @ left + np.diag(ridge / scaled.std**2)
    degrees_of_freedom = rows.networks - 1.0 if rows.networks >= _FEWEST_TO_LEAVE_OUT else math.inf
    return Fit(coefficients, noise**2 * _inverse(precision), noise, degrees_of_freedom)


def fit_either(rows: Rows, prior: Prior, other: Prior) -> Fit:
    """The fit with `prior`, unless networks left out of the fit are clearly better predicted with the `other` one."""
    found = fit(rows, prior)
    if rows.networks < _FEWEST_TO_LEAVE_OUT:
        return found
    alternative = fit(rows, other)
    return found if found.noise**2 <= _SLACK * alternative.noise**2 else alternative


def predict(segments: list[Floats], fitted: Fit, unseen: Floats | None = None) -> Prediction:
    """Seconds of networks given their features [exits, p] each, with the joint covariance of their segments.

    The covariance has two parts: the coefficients' own, and the noise, which is taken as common to all segments of a
    network, so that the error up to any exit is as large as the left-out networks showed it to be. A third are the
    seconds of columns that nothing was measured of, with the relative errors `unseen` [p], 0 for all others.
    """
    means = [features @ fitted.coefficients for features in segments]
    covariances = [
        _symmetric(features @ fitted.covariance @ features.T) + fitted.noise**2 * np.outer(mean, mean)
        for features, mean in zip(segments, means, strict=True)
    ]
    if unseen is not None and unseen.any():
        doubtful = [features @ (unseen * fitted.coefficients) for features in segments]
        covariances = [known + np.outer(off, off) for known, off in zip(covariances, doubtful, strict=True)]
    return stack(means, covariances, fitted.degrees_of_freedom)


def _equations(rows: Rows) -> tuple[Floats, Floats]:
    """Both sides divided by the floored seconds and weighted: residuals are relative errors."""
    scale = np.sqrt(rows.weight) / np.maximum(rows.seconds, FLOOR_OF_MEDIAN * np.median(rows.seconds))
    return rows.features * scale[:, None], rows.seconds * scale


def _nonnegative(left: Floats, right: Floats) -> Floats:
    from scipy.optimize import nnls

    # Columns of very different size (counts, seconds) would make the solver's tolerance meaningless.
    size = np.linalg.norm(left, axis=0)
    size[size == 0] = 1.0
    solution: Floats = nnls(left / size, right, maxiter=100 * left.shape[1])[0]
    return np.asarray(solution / size)


def common_factors(rows: Rows, prior: Prior) -> Prior:
    """The prior with each group of coefficients multiplied by the one factor that explains the rows best."""
    groups = np.unique(prior.factor[prior.factor >= 0])
    left, right = _equations(rows)
    columns = np.stack([left @ np.where(prior.factor == group, prior.mean, 0.0) for group in groups], axis=1)
    right = right - left @ np.where(prior.factor < 0, prior.mean, 0.0)
    ridge = np.sqrt(_FACTOR_RIDGE) * np.eye(len(groups))
    factors = _nonnegative(np.vstack([columns, ridge]), np.concatenate([right, ridge.sum(axis=1)]))
    scale = np.ones(len(prior.mean))
    for group, factor in zip(groups, factors, strict=True):
        scale[prior.factor == group] = max(float(factor), FLOOR_OF_PRIOR)
    # The error shrinks less than the mean: a factor near nothing must not pin its coefficients there.
    return Prior(prior.mean * scale, prior.std * np.maximum(scale, LEAST_SHRINK), prior.factor)


def learned(rows: Rows, prior: Prior, noise: float) -> Floats:
    """The share of each coefficient's variance that rows with this relative noise remove [p]: 0 none of it, 1 all."""
    scaled = common_factors(rows, prior)
    left, _ = _equations(rows)
    before = (noise / scaled.std) ** 2
    return np.clip(1.0 - before * np.diag(_inverse(left.T @ left + np.diag(before))), 0.0, 1.0)


def unseen(rows: Rows, prior: Prior, fitted: Fit, sheet: SheetError | None) -> Floats:
    """What each coefficient that the rows say nothing of lacks of the relative error of sheets [p]; 0 for all others.

    Nothing is said of what takes less than LEAST_SEEN of every row's seconds by the prior. What the ridge leaves of
    such a coefficient's error has to do with others. Without rows the fit itself has all errors.
    """
    lacking = np.zeros(len(prior.mean))
    if sheet is None or not len(rows.seconds):
        return lacking
    shares = rows.features * prior.mean
    most = np.max(shares / shares.sum(axis=1, keepdims=True), axis=0)
    (columns,) = np.nonzero((prior.mean > 0) & (most < LEAST_SEEN))
    has = np.diag(fitted.covariance)[columns] / fitted.coefficients[columns] ** 2
    lacking[columns] = np.sqrt(np.maximum(sheet.relative**2 - has, 0.0))
    return lacking


def _solve(rows: Rows, prior: Prior, ridge: float) -> Floats:
    left, right = _equations(rows)
    floor = FLOOR_OF_PRIOR * prior.mean
    pull = np.sqrt(ridge) / prior.std
    left = np.vstack([left, np.diag(pull)])
    right = np.concatenate([right, pull * prior.mean]) - left @ floor
    return _nonnegative(left, right) + floor


def _by_leaving_out(rows: Rows, prior: Prior) -> tuple[float, float]:
    """The ridge with the smallest relative error on networks left out of the fit, and that error (RMS, but robust)."""
    networks = np.unique(rows.network)
    if len(networks) < _FEWEST_TO_LEAVE_OUT:
        return RIDGES[-2], _UNMEASURED_NOISE
    folds = [set(networks[start::_MAX_FOLDS].tolist()) for start in range(min(_MAX_FOLDS, len(networks)))]
    left, right = _equations(rows)
    squared = np.zeros((len(RIDGES), len(rows.seconds)))
    for fold in folds:
        out = np.isin(rows.network, list(fold))
        kept = Rows(rows.features[~out], rows.seconds[~out], rows.network[~out], rows.weight[~out])
        scaled = common_factors(kept, prior)
        for index, ridge in enumerate(RIDGES):
            squared[index, out] = (left[out] @ _solve(kept, scaled, ridge) - right[out]) ** 2
    errors = squared.sum(axis=1)
    best = int(np.flatnonzero(errors <= _SLACK * errors.min())[-1])
    # One broken reading, or the largest network predicted from smaller ones, says little about the others.
    place = np.searchsorted(networks, rows.network)
    weight = np.bincount(place, rows.weight)
    by_network = np.bincount(place, squared[best]) / weight
    common = np.minimum(by_network, _OUTLYING * np.median(by_network))
    return RIDGES[best], float(np.sqrt(np.average(common, weights=weight)))


def _inverse(precision: Floats) -> Floats:
    """Inverse of a symmetric positive definite matrix whose columns differ by many orders of magnitude."""
    size = 1.0 / np.sqrt(np.diag(precision))
    return _symmetric(np.linalg.inv(precision * np.outer(size, size)) * np.outer(size, size))


def _symmetric(matrix: Floats) -> Floats:
    """The matrix without the rounding errors by which its halves differ."""
    return np.asarray((matrix + matrix.T) / 2)
