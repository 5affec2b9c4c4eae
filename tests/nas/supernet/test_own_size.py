"""A network at its own size is trained as it is through the program of all networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray

from nas.nn.batches import TrainingSet
from nas.nn.loop import Recipe, State
from nas.nn.own_size import pays
from nas.nn.trainer import Trainer
from nas.supernet.elastic import Supernet
from nas.supernet.own_size import own_parts, own_size
from nas.supernet.sampling import largest, smallest
from nas.supernet.training import SharedNetworks, supernet_trainer
from nas.tasks.image_classification import losses
from search_spaces import lightnas
from search_spaces.slots import SearchSpace
from search_spaces.toy import toy
from tests.nas.small_spaces import CLASSES
from tests.nas.supernet.test_elastic import random_shared

#: As in other tests, which then have compiled the programs that are the same.
BATCH = 16
#: Long enough for every program to pay.
LONG = Recipe(10**9, batch_size=BATCH, warmup=0.0)


class Fixed:
    """Satisfies `trainer.Sampler`: networks that are known beforehand, and none besides."""

    def __init__(self, genomes: NDArray[np.int64]) -> None:
        self.fixed = genomes
        self.identity: dict[str, Any] = {}

    def draw(self, rng: np.random.Generator, step: int) -> NDArray[np.int64]:
        return self.fixed[:0]


Made = tuple[SearchSpace, NDArray[np.int64]]


def ends_of(space: SearchSpace) -> Made:
    return space, np.stack([largest(space), smallest(space)])


def mobile_with_exits(tiny: SearchSpace, patch: pytest.MonkeyPatch) -> Made:
    return ends_of(tiny)


def choices_with_exits(tiny: SearchSpace, patch: pytest.MonkeyPatch) -> Made:
    return ends_of(toy((1, 8, 8), CLASSES))


def lightnas_like(tiny: SearchSpace, patch: pytest.MonkeyPatch) -> Made:
    """Two layers and three operators of it: the second is left out."""
    patch.setattr(lightnas, "OPERATORS", ("k3e3", "k5e3", "skip"))
    patch.setattr(lightnas, "_STEM_FILTERS", 4)
    return lightnas.lightnas((3, 32, 32), CLASSES, plan=(lightnas.Row(6, 2, 2),), head=(10, 7)), np.array([[1, 2]])


@pytest.mark.parametrize(
    ("made", "equilibrium"), [(mobile_with_exits, False), (choices_with_exits, True), (lightnas_like, False)]
)
def test_loss_answers_and_gradients_are_those_of_the_program_for_all(
    tiny: SearchSpace,
    pictures: TrainingSet,
    monkeypatch: pytest.MonkeyPatch,
    made: Callable[[SearchSpace, pytest.MonkeyPatch], Made],
    equilibrium: bool,
) -> None:
    monkeypatch.setattr("nas.nn.trainer.pays", lambda own, recipe: True)
    space, genomes = made(tiny, monkeypatch)
    recipe = replace(LONG, equilibrium=equilibrium)
    trainer = Trainer(SharedNetworks(space), Fixed(genomes), pictures, recipe, 0)
    params, rng = random_shared(space)[0], np.random.default_rng(1)
    x, y = (
        rng.normal(size=(BATCH, *space.input_shape)).astype(np.float32),
        rng.integers(0, CLASSES, BATCH).astype(np.int32),
    )
    answers = rng.dirichlet(np.ones(CLASSES), BATCH).astype(np.float32)
    for own, choice in zip(trainer._fixed_gradients, trainer._fixed, strict=True):
        assert own is not trainer._gradient
        for itself in (True, False):
            teacher = losses.Teacher(answers, np.asarray(itself))
            (sums, loss, said), (wanted, wanted_loss, wanted_said) = (
                jax.tree.map(np.asarray, gradient(params, jax.tree.map(np.ones_like, params), x, y, choice, teacher))
                for gradient in (own, trainer._gradient)
            )
            scale = max(np.abs(value - 1).max() for value in wanted.values())
            for name, value in wanted.items():
                np.testing.assert_allclose(sums[name], value, rtol=0, atol=1e-5 * scale, err_msg=name)
            np.testing.assert_allclose(loss, wanted_loss, rtol=1e-6)
            np.testing.assert_allclose(said, wanted_said, rtol=0, atol=1e-6)


def test_positions_without_an_exit_give_zeros(tiny: SearchSpace) -> None:
    networks, genome = SharedNetworks(tiny), smallest(tiny)
    [choice] = networks.choices(genome[None])
    images = jnp.ones((2, *tiny.input_shape))
    logits = jax.jit(own_size(networks.supernet, genome).logits)(random_shared(tiny)[0], images, None)
    assert logits.shape == (len(choice.legal), 2, CLASSES)
    assert np.array_equal(np.any(logits, axis=(1, 2)), choice.legal) and not choice.legal.all()


def test_the_limit_on_exits_does_not_count() -> None:
    """One is the most that a network of this space may have; weights are trained for wherever it can be."""
    space = toy((1, 8, 8), CLASSES)
    supernet, genome = Supernet(space), largest(space)
    parts = own_parts(supernet, genome)
    heads = [part for part, plan in zip(parts, supernet.plans, strict=True) if plan.slot.role == "exit"]
    assert len([part for part in heads if part is not None]) == 3 > space.max_exits


def test_only_a_network_smaller_than_what_the_program_for_all_does_for_it_is_worth_its_own(tiny: SearchSpace) -> None:
    """For the smallest network that program leaves out slots, and runs the others at their largest."""
    big, small = (own_size(Supernet(tiny), end(tiny)) for end in (largest, smallest))
    assert small.macs < small.shared_macs < big.shared_macs == big.macs
    assert small.operators < big.operators
    assert pays(small, LONG) and not pays(big, LONG)


def same(one: State, other: State) -> bool:
    leaves = zip(
        jax.tree.leaves((one.params, one.optimiser)), jax.tree.leaves((other.params, other.optimiser)), strict=True
    )
    return one.step == other.step and all(np.array_equal(a, b) for a, b in leaves)


def test_a_training_with_a_program_of_its_own_is_resumed_to_the_same_weights(
    tiny: SearchSpace, pictures: TrainingSet
) -> None:
    kept: dict[int, bytes] = {}

    def trainer() -> Trainer:
        made = supernet_trainer(tiny, pictures, LONG, seed=1, random_subnets=0)
        assert [gradient is made._gradient for gradient in made._fixed_gradients] == [True, False]
        return made

    one = trainer()
    finished = one.run(one.start(), 4, every=2, checkpoint=lambda s: kept.__setitem__(s.step, one.save(s)))
    again = trainer()
    assert same(again.run(again.load(kept[2]), 4), finished)


def test_a_checkpoint_of_before_there_were_such_programs_is_loaded(tiny: SearchSpace, pictures: TrainingSet) -> None:
    from nas.nn import loop

    trainer = supernet_trainer(tiny, pictures, LONG, seed=1, random_subnets=1)
    recipe = {
        "steps": 10**9, "batch_size": 16, "learning_rate": 0.1, "warmup": 0.0, "momentum": 0.9, "weight_decay": 3e-5,
        "label_smoothing": 0.1, "distillation": 0.5, "exit_weight": 1.0, "equilibrium": False, "clip": 10.0,
        "zero_residual": False,
    }  # fmt: skip
    told = {
        "space": tiny.name, "random_subnets": 1, "recipe": recipe, "seed": 1, "images": len(pictures), "teacher": None,
    }  # fmt: skip
    assert same(trainer.load(loop.save(trainer.start(), told)), trainer.start())


def test_where_operators_are_chosen_nothing_is_known_beforehand(pictures: TrainingSet) -> None:
    trainer = supernet_trainer(toy((1, 8, 8), CLASSES), pictures, LONG, seed=1)
    assert trainer._fixed_gradients == ()
