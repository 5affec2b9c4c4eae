"""An exit policy of one's own: leave once so many exits in a row agree on the class (after Zhou et al. 2020, PABEE)."""

from __future__ import annotations

from typing import Any

import numpy as np


class Patience:
    """Scores an exit by how many exits up to it have agreed without a break, and by its margin where that is equal.

    `margin` is how much the margin counts at most: below 1, it never outweighs an exit that agrees.
    """

    needs = ("logits",)
    has_history = True

    def __init__(self, margin: float = 0.5) -> None:
        if not 0 <= margin < 1:
            raise ValueError(f"margin must be at least 0 and below 1, got {margin}")
        self.margin = margin

    def scores(self, outputs: Any) -> Any:
        """Scores [n, K] of logits [n, K, classes]."""
        logits = outputs["logits"].astype(np.float64)
        classes = logits.argmax(-1)
        agreed = np.ones(classes.shape)
        for k in range(1, classes.shape[1]):
            agreed[:, k] += np.where(classes[:, k] == classes[:, k - 1], agreed[:, k - 1], 0)
        return agreed + self._margin(logits)

    def start(self) -> Any:
        """No class yet, on which no exit agrees."""
        return -1, 0

    def step(self, state: Any, outputs: Any) -> Any:
        """The next exit of a sample."""
        logits = outputs["logits"].reshape(-1).astype(np.float64)
        best = int(logits.argmax())
        agreed = state[1] + 1 if best == state[0] else 1
        return (best, agreed), float(agreed + self._margin(logits))

    def _margin(self, logits: Any) -> Any:
        second, first = np.moveaxis(np.partition(logits, -2, axis=-1)[..., -2:], -1, 0)
        return self.margin * np.tanh(first - second)
