"""What calibrations of other devices of the same family say of a device before it is measured.

A hierarchical prior, by its moments: the factors and overheads of the same-family devices, each divided by what it has
in common with its own profile, have a centre and a spread, and the new device is believed to be one more of them
(Gelman et al., "Bayesian Data Analysis", 3rd edition, chapter 5). Both are robust, since a device may have been
measured badly; and what no device's networks have told anything of stays as uncertain as in the model's own prior.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from latency_models.base import Floats
from latency_models.calibration import Calibration, fitted
from latency_models.features import Machine, Prior
from latency_models.linear import LEAST_SHRINK, common_factors, fit, learned

#: Least relative error of a coefficient that is carried over: two devices that agree say little of a third device.
FLOOR: Final = 0.3
#: From the median absolute deviation to the standard deviation of a normal distribution.
_MAD: Final = 1.4826


def with_family_prior(calibration: Calibration, same_family: Sequence[Calibration]) -> Calibration:
    """The calibration with the family prior of same-family devices beside the model's own, fitted again to the rows it
    has.

    From three networks on, the model's own prior is used where it predicts networks left out of the fit clearly
    better. Devices without measurements say nothing; without any other it is the calibration itself. Raises
    ValueError for one of another latency model.
    """
    for device in same_family:
        if device.model != calibration.model:
            raise ValueError(
                f"the calibration of {device.target.key} is of latency model {device.model!r}, not of "
                f"{calibration.model!r}; their coefficients have nothing in common, leave it out"
            )
    measured = [device for device in same_family if device.networks]
    if not measured:
        return calibration
    prior = family_prior(measured, calibration.machine)
    names = tuple(device.target.key for device in measured)
    return fitted(replace(calibration, prior=prior, same_family=names), calibration.rows)


def family_prior(same_family: Sequence[Calibration], on: Machine) -> Prior:
    """What one or more measured same-family devices, of one latency model, say of the coefficients on a machine.

    Devices count by their own measurements alone, not by what they were told by theirs.
    """
    own = same_family[0].features.prior(on)
    views = [_from_own_profile(device) for device in same_family]
    common = np.exp(np.median([np.log(one.common) for one in views], axis=0))
    rest = np.array([one.rest for one in views])
    # What a device's networks never ran it has no opinion of.
    weight = np.array([one.learned for one in views])
    centre = _median(rest, weight)
    spread = np.maximum(_MAD * _median(np.abs(rest - centre), weight), FLOOR)
    wide = np.maximum(common, LEAST_SHRINK) * own.std
    mean = np.where(own.mean > 0, common * own.mean * np.exp(np.where(own.mean > 0, centre, 0.0)), wide * centre)
    # What starts at nothing has its spread in units of the model's own error, but no less than FLOOR of its mean.
    narrow = np.where(own.mean > 0, spread * mean, np.maximum(spread * wide, FLOOR * mean))
    share = weight.max(axis=0)
    return Prior(mean, np.sqrt(share * narrow**2 + (1.0 - share) * wide**2), own.factor)


def _median(values: Floats, weight: Floats) -> Floats:
    """The weighted median of each column of [n, p], halfway between two values of equal weight; [p]."""
    order = np.argsort(values, axis=0, kind="stable")
    ordered, shares = np.take_along_axis(values, order, 0), np.take_along_axis(weight, order, 0) + 1e-12
    below = np.cumsum(shares, axis=0) / shares.sum(axis=0)
    low, high = (below < 0.5 - 1e-6).sum(axis=0), (below < 0.5 + 1e-6).sum(axis=0)
    columns = np.arange(values.shape[1])
    return np.asarray((ordered[low, columns] + ordered[np.minimum(high, len(values) - 1), columns]) / 2)


@dataclass(frozen=True, eq=False)
class _FromOwnProfile:
    """A device seen from its own profile: common factors, what they leave of the coefficients, and what is learned [p].

    `rest` is a logarithm where the model's own prior is above nothing, else in units of that prior's error.
    """

    common: Floats
    rest: Floats
    learned: Floats


def _from_own_profile(device: Calibration) -> _FromOwnProfile:
    own = device.features.prior(device.machine)
    found = fit(device.rows, own)
    scaled = common_factors(device.rows, own)
    common, above = np.ones(len(own.mean)), own.mean > 0
    for group in np.unique(own.factor[above & (own.factor >= 0)]):
        one = np.flatnonzero(above & (own.factor == group))[0]
        common[own.factor == group] = scaled.mean[one] / own.mean[one]
    ratio = found.coefficients / np.where(above, scaled.mean, scaled.std)
    return _FromOwnProfile(
        common, np.where(above, np.log(np.where(above, ratio, 1.0)), ratio), learned(device.rows, own, found.noise)
    )
