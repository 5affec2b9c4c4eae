"""Training of one network with all its exits: a winner cut out of a supernet, or any network from the beginning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from numpy.typing import NDArray

from nas.nn import backend, interpreter, loop
from nas.nn.batches import Batches, TrainingSet
from nas.nn.loop import Params, Recipe, State
from nas.nn.module import NetworkModule
from nas.nn.weights import Weights, initialise, residual_norms
from nas.process.machine import breathe
from nas.seeds import derive_seed
from nas.tasks.image_classification import losses
from search_spaces.ir import Network

#: Images whose statistics the finished network keeps, and how many are normalised, or answered, together.
_STATISTICS_IMAGES: Final = 4096
_TOGETHER: Final = 256


class NetworkTrainer:
    """Trains one network with one input; a function of (network, first weights, data, recipe, seed) alone.

    `teacher` is another network with its weights (running statistics included): all exits then learn
    `recipe.distillation` parts from its last exit; without one, early exits learn from the network's own last exit.
    Raises InputError for a recipe that does not fit the data.
    """

    def __init__(
        self,
        network: Network,
        data: TrainingSet,
        recipe: Recipe,
        seed: int,
        teacher: tuple[Network, Mapping[str, Any]] | None = None,
    ) -> None:
        backend.prepare()
        self.network, self.recipe, self.seed = network, recipe, seed
        self.batches = Batches(data, recipe.batch_size, derive_seed(seed, "batches"))
        self._classes = network.ops[network.exits[-1]].shape[-1]
        self._teacher = teacher
        self._optimiser = recipe.optimiser()
        self._step = jax.jit(self._one_step, donate_argnums=(0, 1))

    def start(self, weights: Mapping[str, Any] | None = None) -> State:
        """The state before the first step, with given or initial weights; running statistics are not needed."""
        shapes = {name: weight for name, weight in self.network.weight_shapes.items() if weight.trainable}
        if weights is not None:
            return loop.start(self.recipe, {name: weights[name] for name in shapes})
        zero_scale = residual_norms([self.network]) if self.recipe.zero_residual else frozenset()
        return loop.start(self.recipe, initialise(shapes, self.seed, zero_scale))

    @property
    def identity(self) -> dict[str, Any]:
        """What a checkpoint must agree with."""
        return {
            "network": self.network.key,
            "recipe": asdict(self.recipe),
            "seed": self.seed,
            "images": len(self.batches.data),
            "teacher": self._teacher[0].key if self._teacher else None,
        }

    def save(self, state: State) -> bytes:
        """A checkpoint as a safetensors file."""
        return loop.save(state, self.identity)

    def load(self, data: bytes) -> State:
        """The state of a checkpoint; raises InputError if it belongs to another training."""
        return loop.load(data, self.start(), self.identity)

    def run(
        self,
        state: State,
        until: int | None = None,
        *,
        every: int = 0,
        checkpoint: Callable[[State], None] | None = None,
        progress: Callable[[int, float], None] | None = None,
    ) -> State:
        """Train to step `until` (the recipe's last by default); see `loop.run`. The state's arrays are used up."""
        end = self.recipe.steps if until is None else until
        return loop.run(state, end, self.step, every=every, checkpoint=checkpoint, progress=progress)

    def time_steps(self, steps: int = 4) -> list[float]:
        """Seconds of each of the first `steps` steps, compilation excluded; for `loop.steps_within`."""
        return loop.time_steps(self.start(), self.step, steps)

    def step(self, params: Params, optimiser: Any, step: int) -> tuple[Params, Any, Array]:
        """One update; returns the loss. The arrays given are used up."""
        images, labels = self.batches(step)
        params, optimiser, loss = self._step(params, optimiser, jnp.asarray(images), jnp.asarray(labels))
        return params, optimiser, loss

    def finish(self, state: State) -> Weights:
        """The trained weights with running statistics measured on training images without augmentation."""
        name = self.network.inputs[0].name
        images = self.batches.data.sample(_STATISTICS_IMAGES, derive_seed(self.seed, "statistics"))
        size = min(_TOGETHER, len(images))
        measure = jax.jit(lambda params, x: interpreter.apply(self.network, params, {}, {name: x}, "calibrate").stats)
        batches = np.split(images[: len(images) // size * size], len(images) // size)
        found = [jax.tree.map(np.asarray, measure(state.params, jnp.asarray(batch))) for batch in batches]
        trained = {key: np.asarray(value) for key, value in state.params.items()}
        return trained | _pooled(found)

    def module(self, state: State) -> NetworkModule:
        """The trained network as a flax module."""
        return NetworkModule(self.network, self.finish(state))

    def _one_step(self, params: Params, optimiser: Any, x: Array, y: Array) -> tuple[Params, Any, Array]:
        loss, gradient = jax.value_and_grad(self._loss)(params, x, y)
        updates, optimiser = self._optimiser.update(gradient, optimiser, params)
        return optax.apply_updates(params, updates), optimiser, loss

    def _loss(self, params: Params, x: Array, y: Array) -> Array:
        logits = jnp.stack(
            interpreter.apply(self.network, params, {}, {self.network.inputs[0].name: x}, "train").outputs
        )
        targets = losses.smoothed(y, self._classes, self.recipe.label_smoothing)
        taught, teacher = jnp.zeros(()), targets
        if self._teacher is not None:
            other, weights = self._teacher
            answers = interpreter.apply(other, *interpreter.split(other, weights), {other.inputs[0].name: x}).outputs
            taught, teacher = jnp.ones(()), jax.nn.softmax(answers[-1])
        legal = jnp.ones(len(self.network.exits), bool)
        recipe = self.recipe
        known = losses.Teacher(teacher, 1 - taught)
        return losses.exits_loss(logits, legal, targets, known, recipe.distillation, recipe.exit_weight)


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
    images: NDArray[Any],
    prepare: Callable[[NDArray[Any]], NDArray[np.float32]],
) -> NDArray[np.float32]:
    """Logits [n, exits, classes] of a trained network in JAX, for images [n, ...] that `prepare` makes its inputs."""
    params, stats = interpreter.split(network, weights)
    name = network.inputs[0].name

    @jax.jit
    def answer(batch: Array) -> Array:
        return jnp.stack(interpreter.apply(network, params, stats, {name: batch}, "eval").outputs, axis=1)

    parts = []
    for begin in range(0, len(images), _TOGETHER):
        batch = prepare(images[begin : begin + _TOGETHER])
        count = len(batch)
        # Filled up, so that all have one shape and one program.
        batch = np.concatenate([batch, np.zeros((_TOGETHER - count, *batch.shape[1:]), np.float32)])
        parts.append(np.asarray(answer(batch))[:count])
        breathe()
    return np.concatenate(parts)
