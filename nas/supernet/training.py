"""Training of a supernet: the sandwich rule with in-place distillation, through one compiled program.

BigNAS (Yu et al. 2020, arXiv 2003.11142): each step trains the largest, the smallest and some random networks on one
batch; the largest learns from labels, the others from it as well. Their gradients are added up, not averaged, for one
update. Batch norm uses the batch's statistics; whoever evaluates a network measures its statistics first
(`evaluators.supernet`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from numpy.typing import NDArray

from nas.nn import backend, loop
from nas.nn.batches import Batches, TrainingSet
from nas.nn.loop import Params, Recipe, State
from nas.nn.weights import initialise, residual_norms, slot_networks, supernet_shapes
from nas.seeds import derive_seed
from nas.supernet import sampling
from nas.supernet.elastic import Supernet
from nas.tasks.image_classification import losses
from search_spaces.slots import SearchSpace


class SupernetTrainer:
    """Trains the shared weights of a space; a function of (space, data, recipe, random_subnets, seed) alone.

    Raises InputError for a recipe that does not fit the data, SpaceError for a space that cannot share weights.
    """

    def __init__(
        self, space: SearchSpace, data: TrainingSet, recipe: Recipe, seed: int, random_subnets: int = 2
    ) -> None:
        backend.prepare()
        self.space, self.recipe, self.random_subnets, self.seed = space, recipe, random_subnets, seed
        self.supernet = Supernet(space)
        self.batches = Batches(data, recipe.batch_size, derive_seed(seed, "batches"))
        self._optimiser = recipe.optimiser()
        self._gradient = jax.jit(self._add_gradient, donate_argnums=1)
        self._update = jax.jit(self._apply_update, donate_argnums=(0, 1, 2))
        self._sums: Params | None = None

    def start(self) -> State:
        """The state before the first step."""
        shapes = {name: weight for name, weight in supernet_shapes(self.space).items() if weight.trainable}
        zero_scale = residual_norms(slot_networks(self.space)) if self.recipe.zero_residual else frozenset()
        return loop.start(self.recipe, initialise(shapes, self.seed, zero_scale))

    @property
    def identity(self) -> dict[str, Any]:
        """What a checkpoint must agree with."""
        return {
            "space": self.space.name,
            "recipe": asdict(self.recipe),
            "random_subnets": self.random_subnets,
            "seed": self.seed,
            "images": len(self.batches.data),
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

    def genomes(self, step: int) -> NDArray[np.int64]:
        """The networks [n, genes] that a step trains, the teacher first."""
        return sampling.sandwich(self.space, self.random_subnets, self.batches.rng(step))

    def step(self, params: Params, optimiser: Any, step: int) -> tuple[Params, Any, Array]:
        """One update; returns the largest network's loss. The arrays given are used up."""
        choices = self.supernet.choices(self.genomes(step))
        images, labels = self.batches(step)
        x, y = jnp.asarray(images), jnp.asarray(labels)
        sums = self._sums if self._sums is not None else jax.tree.map(jnp.zeros_like, params)
        self._sums = None
        teacher = jnp.zeros((len(images), self.space.classes))
        first: Array | None = None
        for number, (combination, legal) in enumerate(zip(choices.combination, choices.legal, strict=True)):
            sums, loss, answers = self._gradient(params, sums, x, y, combination, legal, teacher, number == 0)
            if first is None:
                first, teacher = loss, answers
        assert first is not None
        params, optimiser, self._sums = self._update(params, optimiser, sums)
        return params, optimiser, first

    def _loss(
        self, params: Params, x: Array, y: Array, combination: Array, legal: Array, teacher: Array, is_teacher: Array
    ) -> tuple[Array, Array]:
        recipe = self.recipe
        scales = losses.equilibrium(legal) if recipe.equilibrium else None
        logits, _ = self.supernet.forward(params, {}, x, combination, "train", scales)
        targets = losses.smoothed(y, self.space.classes, recipe.label_smoothing)
        loss = losses.exits_loss(logits, legal, targets, teacher, is_teacher, recipe.distillation, recipe.exit_weight)
        return loss, jax.nn.softmax(logits[-1])

    def _add_gradient(self, params: Params, sums: Params, *rest: Array) -> tuple[Params, Array, Array]:
        (loss, answers), gradient = jax.value_and_grad(self._loss, has_aux=True)(params, *rest)
        return jax.tree.map(jnp.add, sums, gradient), loss, answers

    def _apply_update(self, params: Params, optimiser: Any, sums: Params) -> tuple[Params, Any, Params]:
        updates, optimiser = self._optimiser.update(sums, optimiser, params)
        return optax.apply_updates(params, updates), optimiser, jax.tree.map(jnp.zeros_like, sums)


def shared_weights(state: State) -> Mapping[str, NDArray[np.float32]]:
    """The trained parameters by weight name, as numpy arrays."""
    return {name: np.asarray(value) for name, value in state.params.items()}
