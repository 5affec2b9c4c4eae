"""Synthetic multi-exit networks: later exits are better, surer samples are easier, no two exits agree on everything."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

Answers = tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64]]


def answers(n: int, exits: int, seed: int = 0, overthinking: float = 0.0) -> Answers:
    """Confidence and correct [n, K], cumulative_s [K]; `overthinking` is what easy samples lose at the final exit."""
    rng = np.random.default_rng(seed)
    difficulty = rng.normal(size=n)
    ability = np.linspace(-0.2, 1.2, exits) if exits > 1 else np.array([1.2])
    logit = 2 * (ability - difficulty[:, None])
    chance = 1 / (1 + np.exp(-logit))
    chance[:, -1] -= overthinking * (difficulty < -0.5)
    correct = 0.7 * rng.random((n, 1)) + 0.3 * rng.random((n, exits)) < chance
    confidence = 1 / (1 + np.exp(-(logit + 0.8 * rng.normal(size=(n, exits)))))
    return confidence, correct, np.cumsum(np.linspace(1, 1.5, exits)) * 1e-3


@pytest.fixture
def network() -> Callable[..., Answers]:
    return answers
