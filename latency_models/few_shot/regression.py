"""How a new device differs from what its sources agree on: Bayesian linear regression, averaged over its settings.

Readings over expectation, r = 1 + features . weights + noise. Readings may be broken, each with a small probability,
and then have a wide noise. Sums over which readings are broken, over the size of the noise and over how freely the
device may differ are taken exactly, each term weighted by its evidence: all terms share the features, so that the mean
and the variance of every candidate are a linear and a quadratic form (Bishop, "Pattern Recognition and Machine
Learning", 3.3-3.5; Box and Tiao, "A Bayesian approach to some outlier problems", Biometrika 1968).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, product
from typing import Final

import numpy as np

from latency_models.base import Floats
from latency_models.few_shot.posterior import BROKEN_STD
from latency_models.few_shot.sources import Candidates

#: Settings: relative noise, and factors on the standard deviations of operators and of likeness to single sources.
NOISES: Final = (0.003, 0.006, 0.012, 0.025, 0.05, 0.08, 0.12, 0.18, 0.27)
OPERATORS: Final = (0.06, 0.25, 0.5, 1.0, 2.0, 4.0)
LIKENESSES: Final = (0.5, 1.0, 2.0, 4.0)
SETTINGS: Final = tuple(product(NOISES, OPERATORS, LIKENESSES))
#: Standard deviations of positions and columns hold for this noise and follow it.
_FINE_AT: Final = 0.05
#: Few readings may agree by luck; stated errors include this much besides.
LEAST_NOISE: Final = 0.012
#: Probability that a reading is broken, and the noise it then has.
BROKEN: Final = 0.1
#: So many readings that belief in BROKEN is worth when the share of broken networks is told.
_BROKEN_WORTH: Final = 2.0
#: At most that many of at most so many suspects are broken together.
_TOGETHER: Final = 2
_SUSPECTS: Final = 12
#: Ratios of readings to expectation, after scaling to a median of 1, count as at most this.
_MOST: Final = 5.0
#: Predictions stay above this share of the expectation.
_LEAST: Final = 0.02
_NEGLIGIBLE: Final = 1e-5
_NOISE: Final = np.array([noise for noise, _, _ in SETTINGS])
#: Variances of the blocks of features in each setting.
_SIZES: Final = np.array([(1.0, o**2, like**2, (noise / _FINE_AT) ** 2) for noise, o, like in SETTINGS])


@dataclass(frozen=True, eq=False)
class Fitted:
    """Central seconds of n candidates and the std of the logarithm of a reading around them [n].

    `broken` is the probability that a network is far off; `evidence` [SETTINGS] the log evidence of each setting.
    """

    seconds: Floats
    std: Floats
    broken: float
    evidence: Floats


def fit(candidates: Candidates, rows: Candidates, seconds: Floats, std: Floats, log_prior: Floats) -> Fitted:
    """Seconds of candidates from readings of `rows` [k] with relative std [k] of their own.

    `log_prior` [SETTINGS] is what is believed of the settings beforehand.
    """
    ratio = seconds / rows.expected
    scale = float(np.median(ratio))
    z = np.minimum(ratio / scale, _MOST) - 1.0
    k = len(z)
    gram = np.einsum("cg,gij->cij", _SIZES, np.stack([block @ block.T for block in rows.blocks]))
    gram[:, np.arange(k), np.arange(k)] += _NOISE[:, None] ** 2 + std**2
    inverse = np.linalg.inv(gram)
    broken = _broken(inverse, z)
    evidence = broken.evidence - 0.5 * np.linalg.slogdet(gram)[1]
    logs = log_prior + evidence
    weight = np.exp(logs - logs.max())
    weight /= weight.sum()
    # Only what counts is added up.
    some = np.flatnonzero(weight > _NEGLIGIBLE)
    inverse, share, size = inverse[some], weight[some], _SIZES[some]
    dual = np.einsum("cij,cj->ci", inverse, z - broken.shift[some])
    inner = inverse - inverse @ (broken.removed[some] + broken.moment[some]) @ inverse
    mean = np.einsum("c,cg,ci->gi", share, size, dual).ravel()
    second = np.einsum("c,cg,ch,cij->gihj", share, size, size, inner)
    second = second.reshape(len(mean), len(mean)) + np.outer(mean, mean)
    cross = np.hstack([block @ other.T for block, other in zip(candidates.blocks, rows.blocks, strict=True)])
    center = cross @ mean
    prior = sum(own * part for own, part in zip(share @ size, candidates.own, strict=True))
    spread = np.maximum(prior - ((cross @ second) * cross).sum(axis=1), 0.0)
    factor = np.maximum(1.0 + center, _LEAST)
    return Fitted(
        seconds=factor * scale * candidates.expected,
        std=np.sqrt(np.log1p((spread + share @ _NOISE[some] ** 2 + LEAST_NOISE**2) / factor**2)),
        broken=float((share @ broken.count[some] + _BROKEN_WORTH * BROKEN) / (k + _BROKEN_WORTH)),
        evidence=evidence,
    )


@dataclass(frozen=True, eq=False)
class _Broken:
    """Sums over which readings are broken, for each setting: see `_broken`."""

    evidence: Floats
    count: Floats
    shift: Floats
    moment: Floats
    removed: Floats


def _broken(inverse: Floats, z: Floats) -> _Broken:
    """Means over which readings are broken, given the inverses [settings, k, k] of their covariance if none is.

    A broken reading adds BROKEN_STD^2 to its variance. With C = (1 / BROKEN_STD^2 + inverse[s, s])^-1 on the broken
    ones s, the inverse becomes inverse - inverse C inverse, and what it is applied to z - q, q = C (inverse z)[s].
    `count` is the mean number of broken ones, `shift` the mean of q, `moment` that of (z - q)(z - q)', `removed` that
    of C; `evidence` is logarithmic and lacks the determinant of the covariance.
    """
    settings, k = inverse.shape[:2]
    weights = inverse @ z
    # The same suspects in all settings: what stands out in the middle of them.
    diagonal = inverse[:, np.arange(k), np.arange(k)]
    suspects = np.sort(np.argsort(-np.median(np.abs(weights) / np.sqrt(diagonal), axis=0))[:_SUSPECTS])
    together = range(min(_TOGETHER, k - 1) + 1)
    chosen = [list(combinations(suspects.tolist(), size)) for size in together]
    groups = [np.array(found, np.intp).reshape(len(found), size) for size, found in zip(together, chosen, strict=True)]
    logs, solved, shrunk = [], [], []
    for group in groups:
        size = group.shape[1]
        middle = np.eye(size) + BROKEN_STD**2 * inverse[:, group[:, :, None], group[:, None, :]]
        c = BROKEN_STD**2 * np.linalg.inv(middle)
        q = np.einsum("cgij,cgj->cgi", c, weights[:, group])
        gain = np.einsum("cgi,cgi->cg", q, weights[:, group]) - np.linalg.slogdet(middle)[1]
        logs.append(size * (np.log(BROKEN) - np.log1p(-BROKEN)) + 0.5 * gain)
        solved.append(q)
        shrunk.append(c)
    every = np.concatenate(logs, axis=1)
    top = every.max(axis=1)
    total = np.exp(every - top[:, None]).sum(axis=1)
    count = np.zeros(settings)
    shift, square, removed = np.zeros((k, settings)), np.zeros((k * k, settings)), np.zeros((k * k, settings))
    for group, log, q, c in zip(groups, logs, solved, shrunk, strict=True):
        weight = np.exp(log - top[:, None]) / total[:, None]
        count += group.shape[1] * weight.sum(axis=1)
        for i in range(group.shape[1]):
            np.add.at(shift, group[:, i], (weight * q[:, :, i]).T)
            for j in range(group.shape[1]):
                at = k * group[:, i] + group[:, j]
                np.add.at(square, at, (weight * q[:, :, i] * q[:, :, j]).T)
                np.add.at(removed, at, (weight * c[:, :, i, j]).T)
    crossed = z[:, None] * shift.T[:, None, :]
    moment = np.outer(z, z) - crossed - np.swapaxes(crossed, 1, 2) + square.T.reshape(settings, k, k)
    evidence = k * np.log1p(-BROKEN) - 0.5 * weights @ z + top + np.log(total)
    return _Broken(evidence, count, shift.T, moment, removed.T.reshape(settings, k, k))
