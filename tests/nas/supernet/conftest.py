"""Spaces small enough to compile in seconds, and a folder of compiled programs that ends with the tests."""

from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import pytest

from nas.nn.batches import TrainingSet
from nas.tasks.image_classification.preprocessing import Preprocessing
from search_spaces.mobile import mobile
from search_spaces.slots import SearchSpace
from search_spaces.staged import Stage

CLASSES = 4


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Programs compiled by several tests are compiled once; nothing is left in the user's folder."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module", autouse=True)
def quick_compilation(cache: Path) -> Iterator[None]:
    """Compile in a hurry: most programs here run once."""
    jax.config.update("jax_disable_most_optimizations", True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(cache))
        yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="session")
def tiny() -> SearchSpace:
    """A block in which all that can be is elastic, one always there, one that may be absent; two early exits."""
    stages = (
        Stage((6, 8), (1,), 1, {"kernel": (3, 5), "expansion": (1, 2), "se": (False, True)}),
        Stage((8, 12), (1, 2), 2, {"kernel": (3,), "expansion": (1, 2), "se": (False,)}),
    )
    return mobile((1, 8, 8), CLASSES, "8x8", stages=stages, max_exits=2)


@pytest.fixture(scope="session")
def pictures() -> TrainingSet:
    """96 noisy pictures 8x8 whose class is the bright quadrant, as 8-bit pixels."""
    rng = np.random.default_rng(3)
    labels = rng.integers(0, CLASSES, 96).astype(np.int32)
    images = rng.integers(0, 60, (96, 1, 8, 8)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        row, column = divmod(int(label), 2)
        image[0, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 120
    names = tuple(f"quadrant {number}" for number in range(CLASSES))
    return TrainingSet(images, labels, Preprocessing((8, 8), 1, (0.25,), (0.25,), 1 / 255, names))
