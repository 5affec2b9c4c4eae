"""Training of networks that share weights, be they a space's or a single one: which ones, is a sampler's to say.

Each step trains some networks on one batch. The first learns from labels, or from a teacher from outside; the others
learn from it as well where it teaches (in-place distillation, BigNAS, Yu et al. 2020, arXiv 2003.11142). Their
gradients are added up, not averaged, for one update. Batch norm uses the batch's statistics; whoever evaluates a
network measures its statistics first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from numpy.typing import NDArray

from nas.nn import backend, loop
from nas.nn.batches import Batches, TrainingSet
from nas.nn.loop import Params, Recipe, State
from nas.nn.own_size import OwnSize, pays
from nas.nn.programs import Program
from nas.nn.weights import Weights
from nas.seeds import derive_seed
from nas.tasks.image_classification import losses


class Choice(NamedTuple):
    """One network of those that share weights, as arrays of a compiled program.

    `combination` is what they make of it; `legal` [positions] says where it has, or could have, an exit.
    """

    combination: NDArray[np.int32]
    legal: NDArray[np.bool_]


class Trainable(Protocol):
    """Networks that share weights.

    `classes` is how many numbers each exit gives; `identity` is what a checkpoint must agree with.
    """

    @property
    def classes(self) -> int: ...

    @property
    def identity(self) -> Mapping[str, Any]: ...

    def initial(self, seed: int, zero_residual: bool) -> Weights:
        """The trainable weights by name before the first step; `zero_residual` is that of `Recipe`."""

    def choices(self, genomes: NDArray[np.int64]) -> list[Choice]:
        """The networks of genomes [n, genes]."""

    def logits(
        self, params: Params, images: Array, combination: Array, scales: tuple[Array, Array] | None = None
    ) -> Array:
        """Logits [positions, n, classes] of images [n, channels, height, width] with the batch's statistics.

        `scales` [positions] twice are `losses.equilibrium`'s; raises ValueError where they cannot be heeded.
        """

    def own_size(self, genome: NDArray[np.int64]) -> OwnSize | None:
        """The network of one genome [genes] as a function of its own size; None where `logits` is one already."""


class Sampler(Protocol):
    """Says which networks a step trains, and whether the first of them `teaches` the others.

    `fixed` [n, genes] are those that every step trains, before the others; they are known before the first step.
    """

    @property
    def teaches(self) -> bool: ...

    @property
    def fixed(self) -> NDArray[np.int64]: ...

    @property
    def identity(self) -> Mapping[str, Any]: ...

    def draw(self, rng: np.random.Generator, step: int) -> NDArray[np.int64]:
        """The others of a step [n, genes], a function of the step and its generator."""


class Teacher(NamedTuple):
    """A network from outside that all exits learn from: `answers` turns images into probabilities [n, classes]."""

    answers: Callable[[Array], Array]
    name: str


class Trainer:
    """Trains networks that share weights; a function of (networks, sampler, data, recipe, seed, teacher) alone.

    Raises InputError for a recipe that does not fit the data.
    """

    def __init__(
        self,
        networks: Trainable,
        sampler: Sampler,
        data: TrainingSet,
        recipe: Recipe,
        seed: int,
        teacher: Teacher | None = None,
    ) -> None:
        backend.prepare()
        self.networks, self.sampler, self.recipe, self.seed = networks, sampler, recipe, seed
        self.batches = Batches(data, recipe.batch_size, derive_seed(seed, "batches"))
        self._fixed = tuple(networks.choices(sampler.fixed))
        self._optimiser = recipe.optimiser()
        self._teacher = teacher
        self._ask = None if teacher is None else Program(teacher.answers)
        self._only = Program(self._one_network, donated=(0, 1))
        self._gradient = Program(partial(self._add_gradient, None), donated=(1,))
        self._fixed_gradients = tuple(map(self._gradient_of_fixed, sampler.fixed))
        self._update = Program(self._apply_update, donated=(0, 1, 2))
        self._sums: Params | None = None

    def start(self, weights: Mapping[str, Any] | None = None) -> State:
        """The state before the first step, with initial weights or these, of which there may be more than needed."""
        initial = self.networks.initial(self.seed, self.recipe.zero_residual)
        return loop.start(self.recipe, initial if weights is None else {name: weights[name] for name in initial})

    @property
    def identity(self) -> dict[str, Any]:
        """What a checkpoint must agree with."""
        return {
            **self.networks.identity,
            **self.sampler.identity,
            "recipe": self.recipe.identity,
            "seed": self.seed,
            "images": len(self.batches.data),
            "teacher": self._teacher.name if self._teacher else None,
        }

    def save(self, state: State, beside: Mapping[str, NDArray[np.float64]] | None = None) -> bytes:
        """A checkpoint as a safetensors file; for `beside` see `loop.save`."""
        return loop.save(state, self.identity, beside)

    def load(self, data: bytes) -> State:
        """The state of a checkpoint; raises InputError if it belongs to another training.

        Of one that is over, as an older release left it, what that knew nothing of is not asked.
        """
        return loop.load(data, self.start(), self.identity, over=self.recipe.steps)

    def run(
        self,
        state: State,
        until: int | None = None,
        *,
        every: int = 0,
        checkpoint: Callable[[State], None] | None = None,
        progress: Callable[[int, float], None] | None = None,
        after: Callable[[Params, int], None] | None = None,
    ) -> State:
        """Train to step `until` (the recipe's last by default); see `loop.run`. The state's arrays are used up.

        `after` sees the weights after each step, and must not keep them.
        """
        end = self.recipe.steps if until is None else until

        def step(params: Params, optimiser: Any, number: int) -> tuple[Params, Any, Array]:
            params, optimiser, loss = self.step(params, optimiser, number)
            if after is not None:
                after(params, number)
            return params, optimiser, loss

        return loop.run(state, end, step, every=every, checkpoint=checkpoint, progress=progress)

    def time_steps(self, steps: int = 4) -> list[float]:
        """Seconds of each of the first `steps` steps, compilation excluded; for `loop.steps_within`."""
        return loop.time_steps(self.start(), self.step, steps)

    def step(self, params: Params, optimiser: Any, step: int) -> tuple[Params, Any, Array]:
        """One update; returns the first network's loss. The arrays given are used up."""
        images, labels = self.batches(step)
        x, y = jnp.asarray(images), jnp.asarray(labels)
        chosen = [*self._fixed, *self.networks.choices(self.sampler.draw(self.batches.rng(step), step))]
        outside = self._ask is not None
        answers = self._ask(x) if self._ask is not None else jnp.zeros((len(x), self.networks.classes))
        teacher = losses.Teacher(answers, jnp.asarray(not outside))
        if len(chosen) == 1:
            params, optimiser, loss = self._only(params, optimiser, x, y, chosen[0], teacher)
            return params, optimiser, loss
        sums = self._sums if self._sums is not None else jax.tree.map(jnp.zeros_like, params)
        self._sums = None
        first: Array | None = None
        drawn = len(chosen) - len(self._fixed)
        for choice, gradient in zip(chosen, [*self._fixed_gradients, *[self._gradient] * drawn], strict=True):
            sums, loss, answers = gradient(params, sums, x, y, choice, teacher)
            if first is None:
                first = loss
                if not outside and self.sampler.teaches:
                    teacher = losses.Teacher(answers, jnp.asarray(False))
        assert first is not None
        params, optimiser, self._sums = self._update(params, optimiser, sums)
        return params, optimiser, first

    def _gradient_of_fixed(self, genome: NDArray[np.int64]) -> Program:
        """What adds up the gradients of a network that every step trains: the program for all, or one of its own."""
        own = self.networks.own_size(genome)
        if own is None or not pays(own, self.recipe):
            return self._gradient
        return Program(partial(self._add_gradient, own), donated=(1,))

    def _loss(
        self, own: OwnSize | None, params: Params, x: Array, y: Array, choice: Choice, teacher: losses.Teacher
    ) -> tuple[Array, Array]:
        recipe, legal = self.recipe, jnp.asarray(choice.legal)
        scales = losses.equilibrium(legal) if recipe.equilibrium else None
        if own is None:
            logits = self.networks.logits(params, x, jnp.asarray(choice.combination), scales)
        else:
            logits = own.logits(params, x, scales)
        targets = losses.smoothed(y, self.networks.classes, recipe.label_smoothing)
        loss = losses.exits_loss(logits, legal, targets, teacher, recipe.distillation, recipe.exit_weight)
        return loss, jax.nn.softmax(logits[-1])

    def _add_gradient(
        self, own: OwnSize | None, params: Params, sums: Params, *rest: Any
    ) -> tuple[Params, Array, Array]:
        (loss, answers), gradient = jax.value_and_grad(partial(self._loss, own), has_aux=True)(params, *rest)
        return jax.tree.map(jnp.add, sums, gradient), loss, answers

    def _apply_update(self, params: Params, optimiser: Any, sums: Params) -> tuple[Params, Any, Params]:
        updates, optimiser = self._optimiser.update(sums, optimiser, params)
        return optax.apply_updates(params, updates), optimiser, jax.tree.map(jnp.zeros_like, sums)

    def _one_network(self, params: Params, optimiser: Any, *rest: Any) -> tuple[Params, Any, Array]:
        (loss, _), gradient = jax.value_and_grad(partial(self._loss, None), has_aux=True)(params, *rest)
        updates, optimiser = self._optimiser.update(gradient, optimiser, params)
        return optax.apply_updates(params, updates), optimiser, loss
