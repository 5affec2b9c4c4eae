"""Small networks to be built, opened and answered, for the laws of runners and devices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hardware_profiles import HOST, DeviceProfile, Target, load
from nas.deploy.parity import compare_exits
from nas.testing.laws import BrokenLaw
from search_spaces.ir import Network
from search_spaces.slots import with_exits
from search_spaces.toy import toy

#: What is run: images, classes, and calls of one sample or of several.
IMAGE, CLASSES = (2, 8, 8), 5
BATCHES: Final = (1, 3)
SAMPLES: Final = 6

Array = NDArray[Any]


def here(batch: int = 1) -> Target:
    """A target of this machine; which runner it names does not matter to the runner."""
    return Target(HOST, "onnxruntime", threads=1, batch=batch)


@lru_cache(maxsize=2)
def profile(device: str = HOST) -> DeviceProfile:
    """The profile of a device that is built for; this machine unless named."""
    return load(device)


@lru_cache(maxsize=1)
def networks() -> Mapping[str, Network]:
    """A network with one exit and one with two, by name."""
    space = toy(IMAGE, CLASSES, width=4, max_exits=1)
    largest = np.array([len(gene.options) - 1 for gene in space.genes])
    one, two = (space.decode(with_exits(space, largest, on)) for on in ((), (0,)))
    return {"one exit": one, "two exits": two}


def weights_of(network: Network) -> dict[str, NDArray[np.float32]]:
    """Ordinary weights, always the same."""
    from nas.devices.networks import random_weights

    return random_weights(network, 0)


@lru_cache(maxsize=1)
def samples() -> NDArray[np.float32]:
    """Inputs [SAMPLES, channels, height, width]."""
    return np.random.default_rng(1).standard_normal((SAMPLES, *IMAGE)).astype(np.float32)


@lru_cache(maxsize=2)
def answers(name: str) -> NDArray[np.float32]:
    """What a network answers to the samples, [SAMPLES, exits, classes], by the interpreter that trains it."""
    from nas.nn.static import network_logits

    network = networks()[name]
    found: NDArray[np.float32] = network_logits(network, weights_of(network), samples(), lambda images: images)
    return found


def require_same(seen: Sequence[Array], name: str, rows: slice, what: str) -> None:
    """Raise BrokenLaw unless these are the answers of a network's exits, each [batch, classes], to these samples."""
    wanted = answers(name)[rows]
    exits = range(wanted.shape[1])
    if len(seen) != len(exits) or any(np.shape(logits) != wanted[:, 0].shape for logits in seen):
        raise BrokenLaw(f"{what} gave {[np.shape(logits) for logits in seen]}; give one [batch, classes] per exit")
    pairs = {"a": [wanted[:, k] for k in exits], "b": [np.asarray(seen[k]) for k in exits]}
    for k, compared in enumerate(compare_exits(pairs)["b"]):
        if not compared.same:
            raise BrokenLaw(
                f"{what} answers otherwise than the network at exit {k}: logits differ by {compared.relative:.1e} of "
                "the largest; compute in float32, in the order of inputs and outputs that the segment has"
            )
