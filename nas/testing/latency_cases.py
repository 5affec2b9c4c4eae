"""The states of a latency model that laws are tried in: as it is built, and with ten invented measurements."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hardware_profiles import DeviceProfile, Target
from latency_models.base import LatencyModel
from nas.testing.small import TARGET, networks, profile

Make = Callable[[DeviceProfile, Target], LatencyModel]
#: Networks that are measured; the others are predicted.
FITTED: Final = 10
#: The invented device is so many times slower than the model that nothing was measured for says.
SLOWER: Final = 3.0


def measured(model: LatencyModel, seed: int = 0) -> NDArray[np.float64]:
    """Invented seconds up to each exit of the reference networks: three times what a model says, with 3 % of noise."""
    noise = np.random.default_rng(seed).normal(1.0, 0.03, (len(networks()), 1))
    return np.asarray(SLOWER * model.predict(networks()).cumulative_s() * noise)


def fitted(model: LatencyModel) -> LatencyModel:
    """The model after ten networks were measured."""
    return model.fit(networks()[:FITTED], measured(model)[:FITTED])


def states(make: Make) -> Iterator[tuple[str, LatencyModel]]:
    """A model before and after measurements, with words for it."""
    bare = make(profile(), TARGET)
    yield "as it is built", bare
    yield "after a fit", fitted(bare)
