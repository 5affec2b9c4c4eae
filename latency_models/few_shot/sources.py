"""What the source devices say of any network: what they agree on, and the directions in which a device may differ."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from latency_models.base import Floats
from latency_models.few_shot import additive
from latency_models.few_shot.encoding import Encoding
from latency_models.few_shot.irregular import Irregular, irregular

#: Sources no farther apart than about this are alike, and farther from what all agree on than this they are odd.
ALIKE: Final = 0.35
_ROUNDS: Final = 5
_LEAST_SPREAD: Final = 1e-12
#: With one source nothing shows which of its irregularities other devices share.
_SHARED_OF_ONE: Final = 0.5
#: No column's cost counts as less than this share of the median, so that a new device may find it dear.
_LEAST_COST: Final = 0.002

#: Prior standard deviations, each a share of the expected latency if a device differs in it alone.
#: How much a new device differs as a whole, and by what single sources do irregularly.
SCALE_STD: Final = 0.15
IRREGULAR_STD: Final = 0.12
#: In its constant; the factor of each operator; seconds per operator; along the differences between sources.
CONSTANT_STD: Final = 0.15
OPERATOR_STD: Final = 0.25
COUNT_STD: Final = 0.15
SOURCE_STD: Final = 0.35
#: In the factor of each position, and of each column.
POSITION_STD: Final = 0.03
COLUMN_STD: Final = 0.03


@dataclass(frozen=True, eq=False)
class Sources:
    """`cost` [sources, columns + 1] and irregularities of each source, seconds over its median.

    `weight` [sources] is what each counts for, 1 in all; `shared` is the share of their mean irregularity that a new
    device is expected to have.
    """

    encoding: Encoding
    cost: Floats
    irregular: Irregular
    weight: Floats
    shared: float


@dataclass(frozen=True, eq=False)
class Candidates:
    """n networks as a new device's fit sees them, computed once.

    `expected` [n]: what the sources agree on, in medians of a device. `blocks` [n, ...] each: features of the relative
    difference of a new device, scaled to unit prior variance. They are its scale; its operators; its likeness to single
    sources; its positions and columns. How large each block is, the fit decides.
    """

    expected: Floats
    blocks: tuple[Floats, Floats, Floats, Floats]

    @cached_property
    def own(self) -> tuple[Floats, ...]:
        """Prior variance by each of the blocks [n]."""
        return tuple((block**2).sum(axis=1) for block in self.blocks)

    def __len__(self) -> int:
        return len(self.expected)

    def rows(self, index: NDArray[np.intp]) -> Candidates:
        """Some of the candidates, repeated if the index repeats."""
        scale, operators, likeness, fine = self.blocks
        return Candidates(self.expected[index], (scale[index], operators[index], likeness[index], fine[index]))


def describe(encoding: Encoding, columns: Floats, relative_s: Floats) -> Sources:
    """Fit to columns [pool, columns] and seconds over each source's median [pool, sources], NaN = not measured."""
    cost = np.stack([additive.costs(encoding, columns, seconds) for seconds in relative_s.T])
    rows = additive.thin(np.arange(len(columns)), additive.MOST_ROWS)
    regular = additive.total(columns[rows], cost)
    found = irregular(encoding, columns[rows], relative_s[rows] / regular - 1.0)
    weight = _weights(regular)
    return Sources(encoding, cost, found, weight, _shared(found(columns[rows]), weight))


def candidates(sources: Sources, columns: Floats, among: NDArray[np.intp] | None = None) -> Candidates:
    """Networks with these columns [n, columns], as seen from all sources or from those `among` them."""
    which = np.arange(len(sources.weight)) if among is None else among
    encoding = sources.encoding
    cost = sources.cost[which]
    weight = sources.weight[which] / sources.weight[which].sum()
    each = additive.total(columns, cost)
    expected = each @ weight
    shares = sources.irregular(columns)[:, which]
    mean = weight @ cost
    over = 1.0 / expected[:, None]
    share = columns * np.maximum(mean[:-1], _LEAST_COST) * over
    counts = encoding.counts(columns)
    size = max(float(encoding.width if encoding.kind == "ops" else counts.shape[1]), 1.0)
    root = np.sqrt(weight)
    return Candidates(
        expected=expected * np.maximum(1.0 + sources.shared * (shares @ weight), additive.LEAST),
        blocks=(
            np.full((len(columns), 1), SCALE_STD),
            np.hstack(
                [CONSTANT_STD * over, OPERATOR_STD * encoding.counts(share), COUNT_STD * counts / size * over],
            ),
            np.hstack([SOURCE_STD * root * (each * over - 1.0), IRREGULAR_STD * root * shares]),
            np.hstack([POSITION_STD * (share @ encoding.place), COLUMN_STD * share]),
        ),
    )


def distance(regular: Floats) -> Floats:
    """How far sources are apart [S, S], by their additive seconds [n, S]: 0 if proportional, about 1.4 if unrelated.

    Spread of the logarithm of the ratio over that of the logarithm itself.
    """
    logs = np.log(regular)
    logs = logs - logs.mean(axis=0)
    apart = ((logs[:, :, None] - logs[:, None, :]) ** 2).mean(axis=0)
    return np.asarray(np.sqrt(apart / max(float((logs**2).mean()), _LEAST_SPREAD)))


def _weights(regular: Floats) -> Floats:
    """Sources that are alike share the weight of one, and odd ones weigh less."""
    near = np.exp(-0.5 * (distance(regular) / ALIKE) ** 2).sum(axis=1)
    spread = max(float(np.log(regular).var(axis=0).mean()), _LEAST_SPREAD)
    weight = 1.0 / near / (1.0 / near).sum()
    for _ in range(_ROUNDS):
        away = np.log(regular) - np.log(regular @ weight)[:, None]
        weight = 1.0 / near / (1.0 + away.var(axis=0) / spread / ALIKE**2)
        weight /= weight.sum()
    return np.asarray(weight)


def _shared(shares: Floats, weight: Floats) -> float:
    """How much of the others' mean irregularity a source has, by regression over all sources in turn."""
    if len(weight) == 1:
        return _SHARED_OF_ONE
    product = square = 0.0
    for source in range(len(weight)):
        rest = np.delete(np.arange(len(weight)), source)
        others = shares[:, rest] @ weight[rest] / weight[rest].sum()
        product += weight[source] * float(others @ shares[:, source])
        square += weight[source] * float(others @ others)
    return float(np.clip(product / square, 0, 1)) if square > 0 else 0.0
