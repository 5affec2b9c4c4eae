"""What laws are tried on: a device, a target, a space for 32x32 images and two dozen of its networks."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np

from hardware_profiles import DeviceProfile, Target, load
from search_spaces.ir import Network
from search_spaces.mobile import mobile
from search_spaces.slots import SearchSpace, random_genomes

#: The image and the classes that spaces are built for.
IMAGE, CLASSES = (3, 32, 32), 10
TARGET: Final = Target("rpi4b", "onnxruntime", threads=4)
_NETWORKS: Final = 24


def profile() -> DeviceProfile:
    """The profile of TARGET's device, which no test measures."""
    return load(TARGET.device)


@lru_cache(maxsize=1)
def space() -> SearchSpace:
    """A space with elastic depth, widths and kernels, and early exits."""
    return mobile(IMAGE, CLASSES)


@lru_cache(maxsize=1)
def genomes() -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """Genomes of the space, some with early exits."""
    return random_genomes(space(), _NETWORKS, np.random.default_rng(0))


@lru_cache(maxsize=1)
def networks() -> tuple[Network, ...]:
    """The networks of `genomes`."""
    return tuple(space().decode(genome) for genome in genomes())
