"""How sure and how right a network is at each of its exits: what thresholds are solved on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas.exits.confidence import max_probability


@dataclass(frozen=True)
class Scores:
    """How sure and how right a network is at each of its exits, on the same images: both [images, exits]."""

    confidence: NDArray[np.float64]
    correct: NDArray[np.bool_]


def scores(logits: NDArray[np.float32], labels: NDArray[np.int32]) -> Scores:
    """Scores from logits [images, exits, classes] and labels [images]."""
    return Scores(max_probability(logits), logits.argmax(-1) == labels[:, None])
