"""A supernet in training: all networks of a space with the weights they share, trained by the sandwich rule.

BigNAS (Yu et al. 2020, arXiv 2003.11142): each step trains the largest, the smallest and some random networks; the
largest learns from labels, the others from it as well. Where operators are chosen none is the largest, and all learn
from labels alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jax import Array
from numpy.typing import NDArray

from nas.nn.batches import TrainingSet
from nas.nn.loop import Params, Recipe, State
from nas.nn.own_size import OwnSize
from nas.nn.trainer import Choice, Trainer
from nas.nn.weights import Weights, initialise, residual_norms, slot_networks, supernet_shapes
from nas.supernet.elastic import Supernet
from nas.supernet.own_size import own_size
from nas.supernet.sampling import Sandwich, Wish
from search_spaces.slots import SearchSpace


class SharedNetworks:
    """Satisfies `trainer.Trainable`: the networks of a space; raises SpaceError for one that cannot share weights."""

    def __init__(self, space: SearchSpace) -> None:
        self.space, self.supernet = space, Supernet(space)
        self.classes = space.classes
        self.identity: Mapping[str, Any] = {"space": space.name}

    def initial(self, seed: int, zero_residual: bool) -> Weights:
        """Initial values of the shared weights."""
        shapes = {name: weight for name, weight in supernet_shapes(self.space).items() if weight.trainable}
        zero_scale = residual_norms(slot_networks(self.space)) if zero_residual else frozenset()
        return initialise(shapes, seed, zero_scale)

    def choices(self, genomes: NDArray[np.int64]) -> list[Choice]:
        """The networks of genomes [n, genes], each with every exit that it could have."""
        if not len(genomes):
            return []
        found = self.supernet.choices(genomes)
        return [Choice(*row) for row in zip(found.combination, found.legal, strict=True)]

    def logits(
        self, params: Params, images: Array, combination: Array, scales: tuple[Array, Array] | None = None
    ) -> Array:
        """Logits [positions, n, classes] with the batch's statistics."""
        return self.supernet.forward(params, {}, images, combination, "train", scales)[0]

    def own_size(self, genome: NDArray[np.int64]) -> OwnSize | None:
        """The network of a genome, with every exit that it could have, at its own size."""
        return own_size(self.supernet, genome)


def supernet_trainer(
    space: SearchSpace,
    data: TrainingSet,
    recipe: Recipe,
    seed: int,
    random_subnets: int = 2,
    wish: Wish | None = None,
) -> Trainer:
    """The training of a space's shared weights by the sandwich rule, `random_subnets` drawn in each step.

    A `wish` names a network in place of one of these.
    """
    return Trainer(SharedNetworks(space), Sandwich(space, random_subnets, wish), data, recipe, seed)


def shared_weights(state: State) -> Mapping[str, NDArray[np.float32]]:
    """The trained parameters by weight name, as numpy arrays."""
    return {name: np.asarray(value) for name, value in state.trained.items()}
