"""What stands beside the supernet in `supernet_rank.py`: scores of untrained networks, and plain DARTS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from numpy.typing import NDArray
from supernet_rank_runs import Control

from nas.nn.batches import Batches
from nas.nn.programs import Program
from nas.nn.weights import initialise, supernet_shapes
from nas.process.files import atomic_write_json, read_json
from nas.seeds import derive_seed
from nas.supernet.elastic import Gates, Supernet
from nas.zero_cost.scoring import ZeroCost
from search_spaces.nasbench201 import OPERATORS, CellSpace

Floats = NDArray[np.float64]
Params = dict[str, Array]

#: Images that a score without training compares.
IMAGES: Final = 64
#: A pass of all operators costs what a step of the supernet does, and an update of DARTS takes two of them: a third of
#: the supernet's epochs keeps its row from costing more than all others.
SHARE_OF_EPOCHS: Final = 3
BATCH: Final = 64


def without_training(control: Control, score: str) -> tuple[Floats, float]:
    """The score of the networks drawn, of all of the table [n] with NaN elsewhere, and its CPU seconds."""
    path = control.folder / f"{score}.json"
    if not path.exists():
        data = control.training_set("train", False)
        images = data.prepared(data.sample(IMAGES, derive_seed(control.seed, "images", score)))
        control.clock.start()
        scores = ZeroCost(control.space, (score,), [images], control.seed)(control.genomes[control.chosen])
        control.clock.book(score)
        atomic_write_json(path, {"scores": scores[:, 0].tolist()})
    found = np.full(len(control.genomes), np.nan)
    found[control.chosen] = read_json(path, "remove it")["scores"]
    return found, control.clock.spent_s(score)


class Darts:
    """First-order DARTS (Liu et al. 2019, arXiv 1806.09055) with its published settings, by whole mixtures.

    Every edge gives the sum of its operators weighed by a softmax; weights learn from `train` by SGD (0.025 by a cosine
    to 0.001, momentum 0.9, weight decay 3e-4, gradients of length 5 at most) and the logits of the operators from
    `arch` by Adam (3e-4, betas 0.5 and 0.999, weight decay 1e-3), in turns, a batch each.
    """

    def __init__(self, space: CellSpace, steps: int) -> None:
        self.supernet, self.steps = Supernet(space), steps
        self._combination = self.supernet.choices(np.zeros((1, len(space.genes)), np.int64)).combination[0]
        self._weights = optax.chain(
            optax.clip_by_global_norm(5.0),
            optax.add_decayed_weights(3e-4),
            optax.sgd(optax.cosine_decay_schedule(0.025, steps, 0.04), 0.9),
        )
        self._logits = optax.chain(optax.add_decayed_weights(1e-3), optax.adam(3e-4, 0.5, 0.999))
        self._train = Program(self._train_weights, donated=(0, 1))
        self._learn = Program(self._learn_logits, donated=(1, 2))

    def _loss(self, params: Params, logits: Array, images: Array, labels: Array) -> Array:
        gates = Gates(jax.nn.softmax(logits), mixture=True)
        answers, _ = self.supernet.forward(params, {}, images, self._combination, "train", gates=gates)
        loss: Array = optax.softmax_cross_entropy_with_integer_labels(answers[-1], labels).mean()
        return loss

    def _train_weights(self, params: Params, state: Any, logits: Array, *batch: Array) -> tuple[Params, Any]:
        gradient = jax.grad(self._loss)(params, logits, *batch)
        updates, state = self._weights.update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    def _learn_logits(self, params: Params, state: Any, logits: Array, *batch: Array) -> tuple[Any, Array]:
        gradient = jax.grad(self._loss, argnums=1)(params, logits, *batch)
        updates, state = self._logits.update(gradient, state, logits)
        return state, optax.apply_updates(logits, updates)

    def search(self, weights: Mapping[str, NDArray[np.float32]], train: Batches, arch: Batches, seed: int) -> Floats:
        """The logarithm of the probability of each operator [genes, operators] after all steps."""
        params = {name: jnp.array(value) for name, value in weights.items()}
        shape = (len(self.supernet.space.genes), len(OPERATORS))
        logits = jnp.asarray(1e-3 * np.random.default_rng(seed).standard_normal(shape), jnp.float32)
        state, of_logits = self._weights.init(params), self._logits.init(logits)
        for step in range(self.steps):
            of_logits, logits = self._learn(params, of_logits, logits, *arch(step))
            params, state = self._train(params, state, logits, *train(step))
        return np.asarray(jax.nn.log_softmax(logits), np.float64)


def darts(control: Control) -> tuple[Floats, float, NDArray[np.int64]]:
    """The logarithm of the probability of each network of the table [n], CPU seconds, and what DARTS derives.

    That is the likeliest operator of each edge but `none`, as published; a canonical genome.
    """
    control.clock.start()
    space, seed = control.space, derive_seed(control.seed, "darts")
    train, arch = (
        Batches(control.training_set(part, True), BATCH, derive_seed(seed, part)) for part in ("train", "arch")
    )
    steps = max(1, control.settings.epochs // SHARE_OF_EPOCHS) * train.per_epoch
    weights = initialise({name: each for name, each in supernet_shapes(space).items() if each.trainable}, seed)
    found = Darts(space, steps).search(weights, train, arch, seed)
    control.clock.book("darts")
    scores = np.take_along_axis(found, control.genomes.T, axis=1).sum(axis=0)
    kept = np.where(np.array(OPERATORS) == "none", -np.inf, found)
    derived = space.canonical(kept.argmax(axis=1)[None].astype(np.int64))[0]
    return np.asarray(scores, np.float64), control.clock.spent_s("darts"), derived
