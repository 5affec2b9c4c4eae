"""Networks of a run judged with the weights that all of them share."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from nas.exits.scores import Scores, scores
from nas.run.context import Context
from nas.run.supernet import shared_weights
from nas.run.training import training_set
from nas.search.evaluators.supernet import SupernetEvaluator


class SharedWeights:
    """Satisfies `base.Evaluator` and `base.ScoresEveryExit`: no network is trained.

    Batch-norm statistics are measured for each.
    """

    needs_weights: ClassVar[bool] = True

    def __init__(self, context: Context) -> None:
        self._context = context
        self._labels = context.data.labels("val")[context.order("val")]
        self._evaluators: dict[int, SupernetEvaluator] = {}

    def scores(self, genome: NDArray[np.int64], images: int, present: NDArray[np.bool_]) -> Scores:
        """Scores of one network at its exits; those that differ in their exits alone are computed once."""
        return scores(self._context.experiment.policy, self._logits(genome, images)[:, present], self._labels[:images])

    def every_exit(self, genome: NDArray[np.int64], images: int) -> Scores:
        """Scores wherever the network could have an exit."""
        return scores(self._context.experiment.policy, self._logits(genome, images), self._labels[:images])

    def _logits(self, genome: NDArray[np.int64], images: int) -> NDArray[np.float32]:
        if images not in self._evaluators:
            self._evaluators[images] = self._load(images)
        found: NDArray[np.float32] = self._evaluators[images].logits(genome[None])[0]
        return found

    def _load(self, images: int) -> SupernetEvaluator:
        context = self._context
        data = training_set(context, False)
        chosen = data.sample(context.experiment.search.calibration_images, context.seed("batch-norm"))
        validation = context.data.raw_images("val")[context.order("val")[:images]]
        return SupernetEvaluator(
            context.space, shared_weights(context), data.prepared(chosen), validation, data.preprocessing.apply
        )
