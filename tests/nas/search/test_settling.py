"""What a verification promises on validation images is not judged where thresholds were chosen."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from nas.exits.scores import Scores
from nas.search.settling import val_accuracy_of


def test_useless_exits_promise_nothing() -> None:
    rng = np.random.default_rng(0)
    winner: Any = SimpleNamespace(budget=SimpleNamespace(needs_thresholds=True))
    found = []
    for _ in range(80):
        base, other = rng.random((300, 1)) < 0.9, rng.random((300, 4)) < 0.9
        correct = np.where(rng.random((300, 4)) < 0.2, other, base)
        scores = Scores(rng.random((300, 4)), correct)
        promised = val_accuracy_of(winner, scores, np.array([1.0, 2.0, 3.0, 4.0]), 3.9)
        found.append(promised - correct.mean())
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(len(found))
