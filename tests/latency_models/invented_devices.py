"""Devices whose latencies are known because they were made up, and a prior learned on three of them."""

from functools import cache

import numpy as np

from latency_models.base import Floats
from latency_models.few_shot import Candidates, DevicePrior, learn

POOL, POSITIONS, OPERATORS = 300, 6, 4
OPS = np.random.default_rng(0).integers(0, OPERATORS, (900, POSITIONS))
COUNTS = np.stack([(o == OPS).sum(axis=1) for o in range(OPERATORS)], axis=1)


def device(cost: list[float], noise: float = 0.0, seed: int = 0) -> Floats:
    """Seconds of all networks on a device where operators cost so many milliseconds, and 1 ms is constant."""
    relative = np.exp(noise * np.random.default_rng(seed).standard_normal(len(OPS)))
    return np.asarray((COUNTS @ np.array(cost) + 1.0) * 1e-3 * relative)


SOURCES = np.stack(
    [device([0.1, 0.5, 1, 3], 0.02, 1), device([0.3, 0.4, 2, 3], 0.03, 2), device([1, 4, 9, 20], 0.01, 3)], axis=1
)
TARGET = device([0.3, 0.4, 1.0, 5.0])


@cache
def prior() -> DevicePrior:
    return learn(OPS[:POOL], SOURCES[:POOL])


@cache
def candidates() -> Candidates:
    return prior().candidates(OPS)


def chosen(count: int = 10, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).choice(POOL, count, replace=False)
