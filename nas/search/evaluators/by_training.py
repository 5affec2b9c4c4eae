"""Networks of a run judged by training each of them for a while: slow, and nothing is shared."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from nas.errors import InputError
from nas.exits.scores import Scores, scores
from nas.process.interrupt import stop_if_asked
from nas.process.machine import breathe
from nas.run.context import Context
from nas.run.training import training_set


class Trained:
    """Satisfies `base.Evaluator`: `epochs` from scratch per network."""

    needs_weights: ClassVar[bool] = False

    def __init__(
        self,
        context: Context,
        *,
        epochs: int = 3,
        batch_size: int = 64,
        learning_rate: float = 0.05,
        weight_decay: float = 3e-5,
    ) -> None:
        images = len(context.data.splits.train)
        if epochs < 1 or not 2 <= batch_size <= images:
            raise InputError(
                f"search.evaluator: {epochs} epochs of batches of {batch_size} out of {images} images train nothing"
            )
        if not 0 < learning_rate < 10 or weight_decay < 0:
            raise InputError(
                f"search.evaluator: learning_rate {learning_rate} must lie between 0 and 10, and weight_decay "
                f"{weight_decay} be at least 0"
            )
        self._context = context
        self._settings = (epochs, batch_size, learning_rate, weight_decay)
        self._labels = context.data.labels("val")[context.order("val")]

    def scores(self, genome: NDArray[np.int64], images: int, present: NDArray[np.bool_]) -> Scores:
        """Scores of one network after its training, which the run's seed and the network decide."""
        from nas.nn.loop import Recipe
        from nas.nn.static import finish, network_logits, network_trainer

        context, (epochs, batch_size, learning_rate, weight_decay) = self._context, self._settings
        network = context.space.decode(genome)
        data = training_set(context, context.experiment.supernet.augment)
        steps = epochs * (len(data) // batch_size)
        recipe = Recipe(steps, batch_size, learning_rate, weight_decay=weight_decay)
        seed = context.seed("evaluator", network.key)
        trainer = network_trainer(network, data, recipe, seed)
        weights = finish(network, trainer.run(trainer.start(), progress=_breathe), data, seed)
        validation = context.data.raw_images("val")[context.order("val")[:images]]
        logits = network_logits(network, weights, validation, context.data.preprocessing.apply)
        return scores(context.experiment.policy, logits, self._labels[:images])


def _breathe(step: int, loss: float) -> None:
    stop_if_asked()
    breathe()
