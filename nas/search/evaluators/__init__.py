"""What judges genomes before any of them is a winner: shared weights, a short training each, a table, or a score."""

from __future__ import annotations

from typing import Final

#: Evaluators by name.
EVALUATORS: Final[dict[str, str]] = {
    "supernet": "nas.search.evaluators.by_weights:SharedWeights",
    "table": "nas.search.evaluators.by_table:Tabulated",
    "train": "nas.search.evaluators.by_training:Trained",
    "zero_cost": "nas.search.evaluators.by_zero_cost:ZeroCostScore",
}
