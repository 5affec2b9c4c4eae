"""Networks of a run ranked by a zero-cost score: no weight is trained, and what they are worth is no accuracy."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from nas.errors import InputError
from nas.run.context import Context
from nas.run.zero_cost import IMAGES, REPEATS, zero_cost
from nas.supernet.elastic import Supernet
from search_spaces.slots import Genomes

if TYPE_CHECKING:
    from nas.zero_cost.scoring import ZeroCost


class ZeroCostScore:
    """Satisfies `base.Ranking`: one score of untrained networks, the mean over `repeats` draws of weights and images.

    It is that of the path to the last exit: early exits change nothing. Raises InputError for numbers out of range, and
    SpaceError for a space whose networks cannot share weights.
    """

    needs_weights: ClassVar[bool] = False

    def __init__(
        self,
        context: Context,
        *,
        score: Literal["naswot", "synflow", "jacob_cov"] = "naswot",
        images: int = IMAGES,
        repeats: int = REPEATS,
    ) -> None:
        there = len(context.data.splits.train)
        if not 2 <= images <= there or repeats < 1:
            raise InputError(
                f"search.evaluator: {score} of {images} images in {repeats} repeats says nothing; give 2 to {there} "
                "images, which are those to train on, and at least 1 repeat"
            )
        Supernet(context.space)
        self._context, self._settings = context, ((score,), images, repeats)

    def score(self, genomes: Genomes) -> NDArray[np.float64]:
        """The score of each of some genomes [n, genes], which the run's seed decides [n]."""
        return self._scores(genomes)[:, 0]

    @cached_property
    def _scores(self) -> ZeroCost:
        return zero_cost(self._context, *self._settings)
