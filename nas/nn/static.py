"""One network with all its exits, trained alone: a winner cut out of a supernet, or any network from the beginning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from nas.errors import InputError
from nas.nn import interpreter
from nas.nn.batches import TrainingSet
from nas.nn.loop import Params, Recipe, State
from nas.nn.programs import Program
from nas.nn.trainer import Choice, Teacher, Trainer
from nas.nn.weights import Weights, initialise, residual_norms
from nas.process.machine import breathe
from nas.seeds import derive_seed
from nas.tasks.image_classification.source import Source
from search_spaces.ir import Network
from search_spaces.operators import Weight

#: Images whose statistics the finished network keeps, and how many are normalised, or answered, together.
_STATISTICS_IMAGES: Final = 4096
_TOGETHER: Final = 256


class OneNetwork:
    """Satisfies `trainer.Trainable`: a network with one input, the same whatever the genome."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.classes = network.ops[network.exits[-1]].shape[-1]
        self.identity: Mapping[str, Any] = {"network": network.key}

    @property
    def shapes(self) -> dict[str, Weight]:
        """The trainable weights by name."""
        return {name: weight for name, weight in self.network.weight_shapes.items() if weight.trainable}

    def initial(self, seed: int, zero_residual: bool) -> Weights:
        """Initial values of the trainable weights; running statistics are not needed."""
        return initialise(self.shapes, seed, residual_norms([self.network]) if zero_residual else frozenset())

    def choices(self, genomes: NDArray[np.int64]) -> list[Choice]:
        """This network, with all its exits, for each genome."""
        return [Choice(np.zeros(0, np.int32), np.ones(len(self.network.exits), np.bool_)) for _ in genomes]

    def logits(
        self, params: Params, images: Array, combination: Array, scales: tuple[Array, Array] | None = None
    ) -> Array:
        """Logits [exits, n, classes] with the batch's statistics; raises ValueError for `scales`."""
        if scales is not None:
            raise ValueError("gradients between the exits of a single network are not scaled")
        inputs = {self.network.inputs[0].name: images}
        return jnp.stack(interpreter.apply(self.network, params, {}, inputs, "train").outputs)

    def own_size(self, genome: NDArray[np.int64]) -> None:
        """None: there is one network, and `logits` is of its size."""


class Alone:
    """Satisfies `trainer.Sampler`: one network in each step."""

    teaches: ClassVar[bool] = False
    fixed: NDArray[np.int64] = np.zeros((1, 0), np.int64)
    identity: ClassVar[Mapping[str, Any]] = {}

    def draw(self, rng: np.random.Generator, step: int) -> NDArray[np.int64]:
        """None besides."""
        return np.zeros((0, 0), np.int64)


def network_trainer(
    network: Network,
    data: TrainingSet,
    recipe: Recipe,
    seed: int,
    teacher: tuple[Network, Mapping[str, Any]] | None = None,
) -> Trainer:
    """The training of one network.

    `teacher` is another network with its weights (running statistics included): all exits then learn
    `recipe.distillation` parts from its last exit; without one, early exits learn from the network's own last exit.
    Raises InputError for a recipe that does not fit.
    """
    if recipe.equilibrium:
        raise InputError("equilibrium of gradients is for networks that share weights; a single one trains without")
    return Trainer(OneNetwork(network), Alone(), data, recipe, seed, None if teacher is None else _taught_by(*teacher))


def _taught_by(network: Network, weights: Mapping[str, Any]) -> Teacher:
    params, stats = interpreter.split(network, weights)

    def answers(images: Array) -> Array:
        outputs = interpreter.apply(network, params, stats, {network.inputs[0].name: images}).outputs
        return jax.nn.softmax(outputs[-1])

    return Teacher(answers, network.key)


def finish(network: Network, state: State, data: TrainingSet, seed: int) -> Weights:
    """The trained weights with running statistics measured on training images without augmentation."""
    name = network.inputs[0].name
    chosen = data.sample(_STATISTICS_IMAGES, derive_seed(seed, "statistics"))
    size = min(_TOGETHER, len(chosen))
    measure = Program(lambda params, x: interpreter.apply(network, params, {}, {name: x}, "calibrate").stats)
    found = []
    for batch in np.split(chosen[: len(chosen) // size * size], len(chosen) // size):
        found.append(jax.tree.map(np.asarray, measure(state.trained, jnp.asarray(data.prepared(batch)))))
        breathe()
    trained = {key: np.asarray(value) for key, value in state.trained.items()}
    return trained | _pooled(found)


def _pooled(found: list[dict[str, NDArray[np.float32]]]) -> Weights:
    """Statistics of several equal batches as those of all images together, by the law of total variance."""
    pooled: Weights = {}
    for name in found[0]:
        norm, _, param = name.rpartition("/")
        means = np.stack([stats[f"{norm}/mean"] for stats in found]).astype(np.float64)
        if param == "mean":
            pooled[name] = means.mean(0).astype(np.float32)
        else:
            variances = np.stack([stats[name] for stats in found]).astype(np.float64)
            pooled[name] = (variances.mean(0) + means.var(0)).astype(np.float32)
    return pooled


def network_logits(
    network: Network,
    weights: Mapping[str, Any],
    images: Source,
    prepare: Callable[[NDArray[Any]], NDArray[np.float32]],
) -> NDArray[np.float32]:
    """Logits [n, exits, classes] of a trained network in JAX, for images [n, ...] that `prepare` makes its inputs."""
    params, stats = interpreter.split(network, weights)
    name = network.inputs[0].name
    answer = Program(
        lambda batch: jnp.stack(interpreter.apply(network, params, stats, {name: batch}, "eval").outputs, axis=1)
    )
    parts = []
    for begin in range(0, len(images), _TOGETHER):
        batch = prepare(images[begin : begin + _TOGETHER])
        count = len(batch)
        # Filled up, so that all have one shape and one program.
        batch = np.concatenate([batch, np.zeros((_TOGETHER - count, *batch.shape[1:]), np.float32)])
        parts.append(np.asarray(answer(batch))[:count])
        breathe()
    return np.concatenate(parts)
