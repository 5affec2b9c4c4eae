"""What an exit policy is; `policies` has those of ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

#: What exits give by name: `logits`.
Outputs = Mapping[str, NDArray[Any]]


class ExitPolicy(Protocol):
    """Scores exits; a sample leaves at the first early exit whose score reaches its threshold.

    Its class stands in a file that needs Python 3.8 and numpy alone, since the file is copied into bundles; there it is
    made anew with the arguments that the experiment gave. `needs` names the outputs that it looks at. `has_history`
    says whether the score of an exit depends on the exits before it: then scores are of the exits that a network has,
    in order, and exits are not placed by enumeration. Scores are finite, and the same offline and online.
    """

    needs: tuple[str, ...]
    has_history: bool

    def scores(self, outputs: Outputs) -> NDArray[np.float64]:
        """Scores [n, K] of n samples at K exits, larger means leave; `logits` are [n, K, classes]."""

    def start(self) -> Any:
        """What is known of a sample before its first exit."""

    def step(self, state: Any, outputs: Outputs) -> tuple[Any, float]:
        """The score of the next exit of one sample, whose `logits` are [1, classes], and what is known afterwards."""
