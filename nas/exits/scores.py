"""How a network's exits score and how right they are: what thresholds are solved on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas.errors import InputError
from nas.exits.base import ExitPolicy


@dataclass(frozen=True)
class Scores:
    """How a network's exits score by the exit policy, and how right they are, on the same images: [images, exits].

    `confidence` is the policy's score, whatever the policy. `weights` [images] say what each image counts where
    thresholds are solved; None where all count the same.
    """

    confidence: NDArray[np.float64]
    correct: NDArray[np.bool_]
    weights: NDArray[np.float64] | None = None


def scores(policy: ExitPolicy, logits: NDArray[np.float32], labels: NDArray[np.int32]) -> Scores:
    """Scores from logits [images, exits, classes] and labels [images]."""
    found = np.asarray(policy.scores({"logits": logits}), np.float64)
    if found.shape != logits.shape[:2]:
        raise InputError(
            f"exit_policy: {type(policy).__name__} scores logits {logits.shape} as {found.shape}; it has to return "
            "[n, K]: see `nas check` on it"
        )
    return Scores(found, logits.argmax(-1) == labels[:, None])
