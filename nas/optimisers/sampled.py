"""The loss of single networks with shared weights, on images kept for architecture: what an optimiser learns from.

One forward pass of one network on one batch, batch norm with the statistics of the batch; nothing is calibrated. The
loss of a network with exits under a mean budget is that of the cascade: of the samples that arrive at an exit, a fixed
share leaves, the most confident ones, and answers there (the same shares by which `optimisers.exits_cost` counts
seconds).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from nas.nn import backend
from nas.nn.batches import Batches, TrainingSet
from nas.nn.programs import Program
from nas.optimisers.base import Bools, Feedback, Floats, Ints
from nas.seeds import derive_seed
from nas.supernet.elastic import Supernet
from search_spaces.slots import SearchSpace


class SampledNetworks:
    """Logits of single networks of a space on batches of `data`, by shared weights `params` by weight name.

    Batches are a function of (data, batch_size, seed, step). Where losses are `balanced` every class counts the same,
    as `counted` [classes] says, else None. Raises InputError where the data are less than a batch.
    """

    def __init__(
        self,
        space: SearchSpace,
        params: Mapping[str, NDArray[np.float32]],
        data: TrainingSet,
        batch_size: int,
        seed: int,
        balanced: bool = False,
    ) -> None:
        backend.prepare()
        self.space, self.supernet = space, Supernet(space)
        self.params = {name: jnp.asarray(value) for name, value in params.items()}
        self.batches = Batches(data, batch_size, derive_seed(seed, "batches"))
        self.counted = _class_weights(data.labels, space.classes) if balanced else None
        self._forward = Program(self._answers)

    def _answers(self, params: dict[str, Array], images: Array, combination: Array) -> Array:
        return jax.nn.log_softmax(self.supernet.forward(params, {}, images, combination, "train")[0])

    def __call__(self, genome: Ints, step: int) -> tuple[Floats, NDArray[np.int32]]:
        """Log-probabilities [positions, n, classes] of a genome [genes] and labels [n] of the step's batch.

        Positions are those of `slots.exit_positions`, whether on or off; where an exit is not legal they mean nothing.
        """
        images, labels = self.batches(step)
        combination = self.supernet.choices(genome[None]).combination[0]
        return np.asarray(self._forward(self.params, images, combination), np.float64), labels


@dataclass(frozen=True, eq=False)
class SampledLoss:
    """Satisfies `optimisers.base.Loss`: the cross-entropy of the answers that a network gives.

    `present` says which exits [positions] a canonical genome [genes] has; `exit_rates` are the shares [positions - 1]
    of the arriving samples that leave at each early exit, None for the answers of the last exit alone.
    """

    networks: SampledNetworks
    present: Callable[[Ints], Bools]
    exit_rates: tuple[float, ...] | None = None

    def __call__(self, genome: Ints, step: int) -> Feedback:
        """Evaluate the genome on the step's batch."""
        logs, labels = self.networks(genome, step)
        if self.exit_rates is None:
            return Feedback(cascade_loss(logs[-1:], labels, np.ones(1, np.bool_), (), self.networks.counted))
        return Feedback(cascade_loss(logs, labels, self.present(genome), self.exit_rates, self.networks.counted))


def _class_weights(labels: NDArray[np.int32], classes: int) -> Floats:
    """What an image of each class counts [classes], 1 in the mean, if each class that there is counts the same."""
    counts = np.bincount(labels, minlength=classes)
    return np.where(counts > 0, len(labels) / ((counts > 0).sum() * np.maximum(counts, 1)), 0.0)


def cascade_loss(
    logs: Floats,
    labels: NDArray[Any],
    present: Bools,
    exit_rates: Sequence[float],
    counted: Floats | None = None,
) -> float:
    """Mean cross-entropy of log-probabilities [positions, n, classes] where the most confident leave at exits that are
    on.

    Of the samples that arrive at an exit with `present` [positions], the share `exit_rates` [positions - 1], rounded to
    whole samples, stays with its answer; the last exit answers for the rest. A sample counts what `counted` [classes]
    says of its class, or 1.
    """
    counts = np.ones(len(labels)) if counted is None else counted[labels]
    arriving, total = np.arange(len(labels)), 0.0
    for position, share in enumerate(exit_rates):
        if not present[position] or not len(arriving):
            continue
        here = logs[position, arriving]
        most_confident = np.argsort(-here.max(axis=-1), kind="stable")
        go = most_confident[: round(share * len(arriving))]
        total -= float((counts[arriving[go]] * here[go, labels[arriving[go]]]).sum())
        arriving = np.delete(arriving, go)
    total -= float((counts[arriving] * logs[-1, arriving, labels[arriving]]).sum())
    return total / len(labels)
