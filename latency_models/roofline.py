"""The roofline with a factor and a launch overhead per op class, layout changes, calls and decisions; to be fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from hardware_profiles import DeviceProfile, Target
from latency_models.additive import Additive, adds_up, compile
from latency_models.base import ErrorBar, Floats, Prediction
from latency_models.calibration import Calibration, correct, features_of, uncalibrated
from latency_models.family import with_family_prior
from latency_models.features import CALLS, DECISIONS, FEATURES, FeatureSet
from latency_models.linear import predict
from search_spaces.ir import Network
from search_spaces.slots import SearchSpace

_CACHED_NETWORKS: Final = 10_000


class LinearModel:
    """Seconds linear in `features`; abstract, a model says its features and no more.

    `profile` may be None where a calibration is given, which holds all the numbers. Raises ValueError for a calibration
    of another target or model.
    """

    features: ClassVar[FeatureSet]

    def __init__(self, profile: DeviceProfile | None, target: Target, calibration: Calibration | None = None) -> None:
        if calibration is None:
            if profile is None:
                raise ValueError(f"latency model {self.name!r} needs a device profile or a calibration")
            calibration = uncalibrated(self.features, profile, target)
        if calibration.target != target:
            raise ValueError(
                f"the calibration is for {calibration.target.key}, not for {target.key}; latencies do not carry over, "
                "calibrate on the target"
            )
        if calibration.model != self.name:
            raise ValueError(f"the calibration is of latency model {calibration.model!r}, not of {self.name!r}")
        self.calibration = calibration
        self._features: dict[str, Floats] = {}

    @property
    def name(self) -> str:
        """The name that stored calibrations bear."""
        return self.features.name

    @property
    def target(self) -> Target:
        """What the seconds hold for."""
        return self.calibration.target

    @property
    def error(self) -> ErrorBar:
        """The error on networks left out of the fit; of an unfitted model, how far sheets are off."""
        known, sheet = self.calibration, self.calibration.sheet
        if known.devices and sheet is not None:
            return ErrorBar(sheet.relative, 0, known.devices)
        return ErrorBar(float(known.fit.noise), known.networks)

    @property
    def family(self) -> tuple[str, ...]:
        """Keys of the targets of same-family devices whose measurements are part of the prior."""
        return self.calibration.same_family

    @property
    def call_s(self) -> float:
        """Seconds of one call to the runtime; every segment is one."""
        return self.calibration.coefficients[CALLS]

    @property
    def decision_s(self) -> float:
        """Seconds of deciding at one early exit; 0 where the model has no such term."""
        return self.calibration.coefficients.get(DECISIONS, 0.0)

    def predict(self, networks: Sequence[Network]) -> Prediction:
        """Seconds of each network, segment by segment; raises UnpricedOperator."""
        return predict([self._of(network) for network in networks], self.calibration.fit, self.calibration.unseen)

    def body_s(self, networks: Sequence[Network]) -> Floats:
        """Seconds of the operators alone, without calls and decisions [n]; raises UnpricedOperator."""
        columns = self.features.columns
        coefficients = self.calibration.fit.coefficients.copy()
        coefficients[[i for i, column in enumerate(columns) if column in (CALLS, DECISIONS)]] = 0.0
        totals = [self._of(network).sum(axis=0) for network in networks]
        return np.asarray(np.array(totals).reshape(len(totals), len(columns)) @ coefficients)

    def fit(
        self,
        networks: Sequence[Network],
        cumulative_s: NDArray[np.floating] | Sequence[Sequence[float]],
        weight: float = 1.0,
    ) -> Self:
        """The model after these measurements besides those it already has; see `calibration.correct`."""
        return type(self)(None, self.target, correct(self.calibration, networks, cumulative_s, weight))

    def additive(self, space: SearchSpace) -> Additive | None:
        """Tables over a space; None for one whose exits do not read everything before them."""
        return compile(space, self) if adds_up(space) else None

    def with_family(self, same_family: Sequence[Self]) -> Self:
        """The model with the prior of same-family devices; see `family.with_family_prior`."""
        return type(self)(
            None, self.target, with_family_prior(self.calibration, [model.calibration for model in same_family])
        )

    def moved_to(self, target: Target, least_error: float = 0.0) -> Self:
        """The same fit for another target, with a relative error of at least `least_error`."""
        fit = replace(self.calibration.fit, noise=max(self.calibration.fit.noise, least_error))
        return type(self)(None, target, replace(self.calibration, target=target, fit=fit))

    def save(self, file: str | Path | BinaryIO) -> None:
        """Write the calibration, from which `load` builds an equal model."""
        self.calibration.save(file)

    @classmethod
    def load(cls, file: str | Path | BinaryIO) -> Self:
        """The model that `save` wrote; raises ValueError for another model's file."""
        calibration = Calibration.load(file, cls.features)
        return cls(None, calibration.target, calibration)

    def _of(self, network: Network) -> Floats:
        found = self._features.get(network.key)
        if found is None:
            if len(self._features) >= _CACHED_NETWORKS:
                self._features.clear()
            found = self._features[network.key] = features_of(self.calibration, network)
        return found


class Roofline(LinearModel):
    """Per kernel the longer of arithmetic and traffic, times its class's factor, plus overheads."""

    features = FEATURES["roofline"]
