"""Exit policies: whether an early exit answers, by a score of its outputs that is held against a threshold.

This file is also copied into every bundle, so that what thresholds were solved for is what decides there. Therefore it
needs Python 3.8 and numpy, and nothing else; so does the file of a policy of one's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    Array = np.ndarray[Any, np.dtype[Any]]

_max, _add, _exp = np.maximum.reduce, np.add.reduce, np.exp
#: Numbers in float64 at a time: 1,000 classes are 8 kB a row.
_CHUNK = 1 << 20


class MaxProbability:
    """The largest softmax probability of an exit's logits, in (0, 1].

    Computed in float64: in float32 the probabilities of all very sure samples are 1, and equal scores cannot be parted
    by a threshold.
    """

    needs: tuple[str, ...] = ("logits",)
    has_history = False

    def scores(self, outputs: Mapping[str, Array]) -> Array:
        """Scores [n, K] of logits [n, K, classes]."""
        logits = outputs["logits"]
        if logits.shape[-1] < 2:
            raise ValueError(
                f"logits {logits.shape} have fewer than two classes on the last axis: nothing to be unsure of"
            )
        rows = logits.reshape(-1, logits.shape[-1])
        step = max(1, _CHUNK // rows.shape[1])
        found = np.empty(len(rows))
        for start in range(0, len(rows), step):
            some = rows[start : start + step].astype(np.float64)
            found[start : start + step] = 1 / np.exp(some - some.max(axis=1, keepdims=True)).sum(axis=1)
        return found.reshape(logits.shape[:-1])

    def start(self) -> None:
        """What is known of a sample before its first exit: nothing."""
        return

    def step(self, state: Any, outputs: Mapping[str, Array]) -> tuple[Any, float]:
        """The score of the next exit, from logits [1, classes] (or [classes]), and what is known afterwards."""
        # 1 / sum(exp(x - max)) is the softmax at the largest logit; np.max and friends take twice as long to start.
        row = outputs["logits"].reshape(-1).astype(np.float64)
        return state, 1.0 / float(_add(_exp(row - _max(row))))
