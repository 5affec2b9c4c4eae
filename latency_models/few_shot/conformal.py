"""Leave-one-source-out conformal calibration: each source plays the new device; how wrong the fit then is, and which of
its settings come up.

The spread of errors over stated errors on devices that the fit has not seen turns the latter into intervals that hold
(split conformal prediction, Vovk, Gammerman and Shafer, 2005, over devices instead of samples).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from latency_models.base import Floats
from latency_models.few_shot import additive
from latency_models.few_shot.posterior import farther
from latency_models.few_shot.readings import LEAST
from latency_models.few_shot.regression import SETTINGS, Fitted, fit
from latency_models.few_shot.sources import ALIKE, Candidates, Sources, candidates, distance

#: Numbers of networks measured of a source held out, repeats of each, and networks tested on.
MEASURED: Final = (5, 10, 20)
_REPEATS: Final = 4
_TESTED: Final = 600
#: Probability outside on either side for which the factors are found, a little less than the 0.05 that is promised,
#: since a new device is seldom as like the sources as they are among themselves; and the factors tried.
TAIL: Final = 0.045
_FACTORS: Final = np.geomspace(0.3, 3.0, 16)
_GRID: Final = 60
#: Factors on stated errors below and above when no source can be held out, and how many sources that belief is worth.
_BELOW: Final = 0.8
_ABOVE: Final = 0.8
_WORTH: Final = 2.0
#: Ten readings may agree by luck: settings are believed beforehand in proportion to this power of their noise.
TILT: Final = 0.5


@dataclass(frozen=True, eq=False)
class ConformalFactors:
    """`below` and `above` [MEASURED]: factors on stated errors. `log_prior` [SETTINGS]: which settings to expect."""

    below: Floats
    above: Floats
    log_prior: Floats

    def factors(self, measured: int) -> tuple[float, float]:
        """Factors on the stated errors below and above after so many networks were measured."""
        at = np.log(measured)
        return float(np.interp(at, np.log(MEASURED), self.below)), float(np.interp(at, np.log(MEASURED), self.above))


def leave_one_source_out(sources: Sources, columns: Floats, relative_s: Floats, seed: int) -> ConformalFactors:
    """Let each source be the new device, with all those left out that are like it."""
    rows = additive.thin(np.arange(len(columns)), _TESTED)
    columns, relative_s = columns[rows], relative_s[rows]
    apart = distance(additive.total(columns, sources.cost))
    log_prior = TILT * np.log([noise for noise, _, _ in SETTINGS])
    log_prior -= np.log(np.exp(log_prior).sum())
    rng = np.random.default_rng(seed)
    played = []
    for target in range(len(sources.weight)):
        rest = np.flatnonzero(apart[target] > ALIKE)
        there = np.flatnonzero(np.isfinite(relative_s[:, target]))
        if len(rest) and len(there) >= 2 * MEASURED[0]:
            seconds = np.maximum(relative_s[:, target], LEAST)
            played.append(
                _HeldOutSource(candidates(sources, columns, rest), seconds, there, float(sources.weight[target]))
            )
    errors = [
        [
            _held_out_errors(source, measured, log_prior, rng)
            for source in played
            for _ in range(_REPEATS)
            if source.allows(measured)
        ]
        for measured in MEASURED
    ]
    worth = len(played) / (len(played) + _WORTH)
    below = [_factor([(-e.logs, e.scale, e.broken, e.weight) for e in found], _BELOW, worth) for found in errors]
    above = [_factor([(e.logs, e.scale, e.broken, e.weight) for e in found], _ABOVE, worth) for found in errors]
    return ConformalFactors(np.array(below), np.array(above), log_prior)


@dataclass(frozen=True, eq=False)
class _Errors:
    """Logarithms of measured over predicted seconds [m], their stated scales, and what the source counts for."""

    logs: Floats
    scale: Floats
    broken: float
    weight: float


@dataclass(frozen=True, eq=False)
class _HeldOutSource:
    """A source as the new device: the pool as the others see it, its seconds, where it was measured, its weight."""

    seen: Candidates
    seconds: Floats
    there: NDArray[np.intp]
    weight: float

    def allows(self, measured: int) -> bool:
        return len(self.there) >= 2 * measured

    def fit(self, chosen: NDArray[np.intp], log_prior: Floats) -> Fitted:
        return fit(self.seen, self.seen.rows(chosen), self.seconds[chosen], np.zeros(len(chosen)), log_prior)


def _held_out_errors(source: _HeldOutSource, measured: int, log_prior: Floats, rng: np.random.Generator) -> _Errors:
    """The errors on a source held out, with so many networks measured."""
    chosen = rng.choice(source.there, measured, replace=False)
    fitted = source.fit(chosen, log_prior)
    others = np.setdiff1d(source.there, chosen)
    logs = np.log(source.seconds[others] / fitted.seconds[others])
    return _Errors(logs, fitted.std[others], fitted.broken, source.weight)


def _factor(errors: list[tuple[Floats, Floats, float, float]], default: float, worth: float) -> float:
    """The factor on stated scales with which a share TAIL lies beyond the quantile, drawn towards the default."""
    if not errors:
        return default
    weight = np.array([w for *_, w in errors])
    missed = np.zeros(len(_FACTORS))
    for away, scale, broken, share in errors:
        # The quantile is a smooth function of the scale: found once on a grid, then read off for each factor.
        grid = np.geomspace(_FACTORS[0] * scale.min(), _FACTORS[-1] * scale.max(), _GRID)
        reach = farther(grid, broken, TAIL)
        for i, factor in enumerate(_FACTORS):
            missed[i] += share * np.mean(away > np.interp(np.log(factor * scale), np.log(grid), reach))
    missed /= weight.sum()
    found = np.interp(-TAIL, -missed, np.log(_FACTORS))
    return float(np.exp(worth * found + (1 - worth) * np.log(default)))
