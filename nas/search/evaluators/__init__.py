"""What judges genomes before any of them is a winner: shared weights, or a short training each."""

from __future__ import annotations

from typing import Final

#: Evaluators by name.
EVALUATORS: Final[dict[str, str]] = {
    "supernet": "nas.search.evaluators.by_weights:SharedWeights",
    "train": "nas.search.evaluators.by_training:Trained",
}
