"""Training: it learns, and a resumed training is the same training."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray

from nas.errors import InputError
from nas.nn.batches import Batches, TrainingSet
from nas.nn.interpreter import apply, split
from nas.nn.loop import Params, Recipe, State, load, run, save, start, steps_within
from nas.nn.module import NetworkModule
from nas.nn.static import finish, network_trainer
from nas.nn.trainer import Trainable, Trainer
from nas.nn.weights import cut
from nas.supernet.sampling import largest, smallest
from nas.supernet.training import SharedNetworks, shared_weights, supernet_trainer
from nas.tasks.image_classification import losses
from nas.tasks.image_classification.dataset import Augmentation
from search_spaces.slots import SearchSpace, random_genomes, with_exits

RECIPE = Recipe(20, batch_size=16, learning_rate=0.05)


@pytest.fixture(scope="module")
def trained(tiny: SearchSpace, pictures: TrainingSet) -> tuple[Trainer, State, list[float], dict[int, bytes]]:
    """A finished supernet training with its losses, and its checkpoints by step."""
    trainer = supernet_trainer(tiny, pictures, RECIPE, seed=1, random_subnets=1)
    losses: list[float] = []
    kept: dict[int, bytes] = {}
    state = trainer.run(
        trainer.start(), every=8, checkpoint=lambda s: kept.__setitem__(s.step, trainer.save(s)),
        progress=lambda step, loss: losses.append(loss),
    )  # fmt: skip
    return trainer, state, losses, kept


def same(a: State, b: State) -> bool:
    leaves = zip(jax.tree.leaves((a.params, a.optimiser)), jax.tree.leaves((b.params, b.optimiser)), strict=True)
    return a.step == b.step and all(np.array_equal(x, y) and x.shape == y.shape for x, y in leaves)


def test_the_loss_falls(trained: tuple[Trainer, State, list[float], dict[int, bytes]]) -> None:
    _, state, losses, kept = trained
    assert state.step == len(losses) == 20 and sorted(kept) == [8, 16, 20]
    assert np.mean(losses[-4:]) < 0.8 * losses[0]


def test_a_resumed_training_gives_identical_weights(
    tiny: SearchSpace,
    pictures: TrainingSet,
    trained: tuple[Trainer, State, list[float], dict[int, bytes]],
) -> None:
    _, finished, _, kept = trained
    again = supernet_trainer(tiny, pictures, RECIPE, seed=1, random_subnets=1)
    resumed = again.load(kept[8])
    assert resumed.step == 8
    assert same(again.run(resumed), finished)
    assert again.save(again.load(kept[20])) == kept[20]


def test_a_checkpoint_of_another_training_is_refused(
    tiny: SearchSpace,
    pictures: TrainingSet,
    trained: tuple[Trainer, State, list[float], dict[int, bytes]],
) -> None:
    kept = trained[3]
    for trainer, what in (
        (supernet_trainer(tiny, pictures, RECIPE, seed=2, random_subnets=1), "seed"),
        (supernet_trainer(tiny, pictures, replace(RECIPE, steps=21), seed=1, random_subnets=1), "recipe"),
    ):
        with pytest.raises(InputError, match=f"another training: {what}"):
            trainer.load(kept[8])


def test_a_checkpoint_of_other_weights_is_refused() -> None:
    state = start(RECIPE, {"a/kernel": np.zeros((2, 3), np.float32)})
    kept = save(state, {})
    for other, what in (({"a/kernel": (2, 4)}, r"has shape \(2, 3\)"), ({"b/kernel": (2, 3)}, "b/kernel is missing")):
        template = start(RECIPE, {name: np.zeros(shape, np.float32) for name, shape in other.items()})
        with pytest.raises(InputError, match=what):
            load(kept, template, {})
    assert same(load(kept, state, {}), state)


def test_steps_draw_from_the_seed_not_from_what_was_drawn_before(pictures: TrainingSet) -> None:
    data = replace(pictures, augmentation=Augmentation(shift=1))
    one, other = Batches(data, 16, seed=5), Batches(data, 16, seed=5)
    expected = [one(step) for step in range(8)]
    for step in reversed(range(8)):
        images, labels = other(step)
        assert np.array_equal(images, expected[step][0]) and np.array_equal(labels, expected[step][1])
        assert one.rng(step).integers(2**40) == other.rng(step).integers(2**40)
    assert one.per_epoch == 6 and not np.array_equal(expected[0][1], expected[6][1])
    assert not np.array_equal(Batches(data, 16, seed=6)(0)[0], expected[0][0])


def test_a_batch_larger_than_the_data_is_refused(pictures: TrainingSet) -> None:
    with pytest.raises(InputError, match="batch size 97 with 96"):
        Batches(pictures, 97, 0)


def test_divergence_is_reported_with_its_step() -> None:
    def step(params: Params, optimiser: Any, number: int) -> tuple[Params, Any, jax.Array]:
        return params, optimiser, jnp.asarray(np.nan if number == 2 else 1.0)

    reported: list[int] = []
    with pytest.raises(InputError, match=r"step 3 is nan; lower the learning rate"):
        run(start(RECIPE, {}), 20, step, progress=lambda number, loss: reported.append(number))
    assert reported == [1, 2]


def test_one_network_is_finetuned_resumably_and_gets_statistics(
    tiny: SearchSpace,
    pictures: TrainingSet,
    trained: tuple[Trainer, State, list[float], dict[int, bytes]],
) -> None:
    network = tiny.decode(with_exits(tiny, smallest(tiny), range(2)))
    shapes = network.weight_shapes
    shared = shared_weights(trained[1])
    first = {name: cut(shared[name], weight.shape) for name, weight in shapes.items() if weight.trainable}
    recipe = replace(RECIPE, steps=30)
    trainer = network_trainer(network, pictures, recipe, seed=2)
    losses: list[float] = []
    kept: dict[int, bytes] = {}
    state = trainer.run(
        trainer.start(first), every=20, checkpoint=lambda s: kept.__setitem__(s.step, trainer.save(s)),
        progress=lambda step, loss: losses.append(loss),
    )  # fmt: skip
    assert same(trainer.run(trainer.load(kept[20])), state)
    weights = finish(network, state, pictures, 2)
    assert weights.keys() == shapes.keys()
    x = pictures.prepared(np.arange(96))
    params, stats = split(network, weights)
    calibrated = apply(network, params, {}, {"image": x}, "calibrate")
    for name, value in stats.items():
        assert np.allclose(value, calibrated.stats[name], rtol=1e-3, atol=1e-4), name
    answers = NetworkModule(network, weights)(x)
    assert len(answers) == len(network.exits) > 1
    assert (np.asarray(answers[-1]).argmax(1) == pictures.labels).mean() > 0.9
    assert losses[-1] < losses[0]


def test_a_teacher_changes_what_is_learnt(tiny: SearchSpace, pictures: TrainingSet) -> None:
    network = tiny.decode([0] * len(tiny.genes))
    alone = network_trainer(network, pictures, replace(RECIPE, steps=2), seed=0)
    weights = finish(network, alone.start(), pictures, 0)
    taught = network_trainer(network, pictures, replace(RECIPE, steps=2), seed=0, teacher=(network, weights))
    a, b = alone.run(alone.start()), taught.run(taught.start())
    assert any(not np.array_equal(a.params[name], b.params[name]) for name in a.params)
    with pytest.raises(InputError, match="teacher"):
        taught.load(alone.save(a))


def test_steps_within() -> None:
    assert steps_within(10, [0.5, 0.4, 9.0], 100) == 20
    assert steps_within(10, [0.001], 100) == 100
    assert steps_within(1, [20.0], 100) == 1


def test_timing_leaves_nothing_behind(tiny: SearchSpace, pictures: TrainingSet) -> None:
    network = tiny.decode([0] * len(tiny.genes))
    trainer = network_trainer(network, pictures, replace(RECIPE, steps=3), seed=0)
    seconds = trainer.time_steps(2)
    assert len(seconds) == 2 and min(seconds) > 0
    fresh = network_trainer(network, pictures, replace(RECIPE, steps=3), seed=0)
    assert same(trainer.run(trainer.start()), fresh.run(fresh.start()))


def test_weight_decay_acts_on_kernels_alone() -> None:
    params = {name: jnp.ones(2) for name in ("a/kernel", "a/bias", "a.bn/scale")}
    optimiser = replace(RECIPE, weight_decay=0.1).optimiser()
    updates, _ = optimiser.update(jax.tree.map(jnp.zeros_like, params), optimiser.init(params), params)
    assert {name for name, update in updates.items() if np.any(update)} == {"a/kernel"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": -1}, {"warmup": 1.0}, {"distillation": 1.5}, {"exit_weight": -1}, {"final_rate": 1.5},
        {"averaging": -0.1},
    ],
)  # fmt: skip
def test_impossible_recipes_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError):
        replace(RECIPE, **wrong)


@pytest.fixture
def doubles() -> Iterator[None]:
    """Arithmetic in float64, so that what is equal is seen to be."""
    with jax.enable_x64(True):
        yield


class _Given:
    """Satisfies `trainer.Sampler` with networks that are fixed or drawn."""

    def __init__(self, fixed: NDArray[np.int64], drawn: NDArray[np.int64], teaches: bool = True) -> None:
        self.fixed, self._drawn, self.teaches = fixed, drawn, teaches
        self.identity: dict[str, Any] = {}

    def draw(self, rng: np.random.Generator, step: int) -> NDArray[np.int64]:
        return self._drawn


class _Doubles:
    """Networks whose images are float64, as their weights then are."""

    def __init__(self, networks: Trainable) -> None:
        self._networks = networks

    def __getattr__(self, name: str) -> Any:
        return getattr(self._networks, name)

    def logits(self, params: Params, images: jax.Array, *rest: Any) -> jax.Array:
        return self._networks.logits(params, images.astype(jnp.float64), *rest)


def after_a_step(trainer: Trainer) -> Params:
    """The weights after the first step, in float64."""
    trainer.networks = _Doubles(trainer.networks)
    start = trainer.start()
    first = jax.tree.map(lambda value: jnp.asarray(value, jnp.float64), start.params)
    return trainer.step(first, trainer.recipe.optimiser().init(first), 0)[0]


@pytest.mark.usefixtures("doubles")
def test_what_is_known_beforehand_is_trained_as_what_is_drawn(tiny: SearchSpace, pictures: TrainingSet) -> None:
    genomes = np.stack([largest(tiny), smallest(tiny), *random_genomes(tiny, 2, np.random.default_rng(0))])
    updated = [
        after_a_step(Trainer(SharedNetworks(tiny), _Given(genomes[:n], genomes[n:]), pictures, RECIPE, 3))
        for n in (0, 2, 4)
    ]
    for name, value in updated[0].items():
        for other in updated[1:]:
            np.testing.assert_allclose(value, other[name], rtol=0, atol=1e-10, err_msg=name)


@pytest.mark.usefixtures("doubles")
def test_a_network_alone_is_trained_as_one_of_a_space_is(tiny: SearchSpace, pictures: TrainingSet) -> None:
    """The largest network has all the weights there are: one step of either kind of training changes them alike."""
    genome = with_exits(tiny, largest(tiny), range(2))
    alone = network_trainer(tiny.decode(genome), pictures, RECIPE, 3)
    shared = Trainer(SharedNetworks(tiny), _Given(genome[None], genome[None][:0]), pictures, RECIPE, 3)
    one, other = after_a_step(alone), after_a_step(shared)
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_allclose(value, other[name], rtol=0, atol=1e-10, err_msg=name)


@pytest.mark.usefixtures("doubles")
def test_gradients_of_a_step_are_added_up(tiny: SearchSpace, pictures: TrainingSet) -> None:
    """A step of one network, and the same through sums, which is how several are trained."""
    genome = largest(tiny)[None]
    trainer = Trainer(SharedNetworks(tiny), _Given(genome, genome[:0]), pictures, RECIPE, 3)
    alone = after_a_step(trainer)
    params = jax.tree.map(lambda value: jnp.asarray(value, jnp.float64), trainer.start().params)
    images, labels = trainer.batches(0)
    teacher = losses.Teacher(jnp.zeros((len(images), tiny.classes)), jnp.asarray(True))
    [choice] = trainer.networks.choices(genome)
    sums = jax.tree.map(jnp.zeros_like, params)
    sums, _, _ = trainer._gradient(params, sums, jnp.asarray(images), jnp.asarray(labels), choice, teacher)
    updated, _, left = trainer._update(params, trainer.recipe.optimiser().init(params), sums)
    for name, value in alone.items():
        np.testing.assert_allclose(value, updated[name], rtol=0, atol=1e-10, err_msg=name)
        assert not np.any(left[name])


@pytest.mark.usefixtures("doubles")
def test_where_none_teaches_every_network_learns_as_it_would_alone(tiny: SearchSpace, pictures: TrainingSet) -> None:
    genomes = np.stack([smallest(tiny), largest(tiny)])
    trainer = Trainer(SharedNetworks(tiny), _Given(genomes[:0], genomes, teaches=False), pictures, RECIPE, 3)
    together = after_a_step(trainer)
    params = jax.tree.map(lambda value: jnp.asarray(value, jnp.float64), trainer.start().params)
    (images, labels), sums = trainer.batches(0), jax.tree.map(jnp.zeros_like, params)
    teacher = losses.Teacher(jnp.zeros((len(images), tiny.classes)), jnp.asarray(True))
    for choice in trainer.networks.choices(genomes):
        sums, _, _ = trainer._gradient(params, sums, jnp.asarray(images), jnp.asarray(labels), choice, teacher)
    alone, _, _ = trainer._update(params, trainer.recipe.optimiser().init(params), sums)
    taught = after_a_step(Trainer(SharedNetworks(tiny), _Given(genomes[:0], genomes), pictures, RECIPE, 3))
    for name, value in alone.items():
        np.testing.assert_allclose(value, together[name], rtol=0, atol=1e-10, err_msg=name)
    assert any(not np.allclose(alone[name], taught[name], rtol=0, atol=1e-6) for name in alone)


def test_equilibrium_of_a_single_network_is_refused(tiny: SearchSpace, pictures: TrainingSet) -> None:
    with pytest.raises(InputError, match="trains without"):
        network_trainer(tiny.decode(smallest(tiny)), pictures, replace(RECIPE, equilibrium=True), 0)
