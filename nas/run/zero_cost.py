"""Zero-cost scores of a run's networks: its seed decides the weights, and which training images they look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from nas.run.context import Context
from nas.run.training import training_set

if TYPE_CHECKING:
    from nas.zero_cost.scoring import ZeroCost

#: Images that a score looks at, and draws of weights and images that it is the mean of, where nothing else is said.
IMAGES: Final = 64
REPEATS: Final = 1


def zero_cost(context: Context, scores: Sequence[str], images: int = IMAGES, repeats: int = REPEATS) -> ZeroCost:
    """What gives genomes their `scores`; labels are not looked at. Raises as `ZeroCost` does."""
    from nas.zero_cost.scoring import ZeroCost

    data, seed = training_set(context, False), context.seed("zero-cost")
    batches = [data.prepared(data.sample(images, context.seed("zero-cost", number))) for number in range(repeats)]
    return ZeroCost(context.space, scores, batches, seed)
