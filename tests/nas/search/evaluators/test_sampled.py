"""Losses of single networks against running each network on its own and against cascades by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from nas.errors import InputError
from nas.nn.batches import TrainingSet
from nas.nn.interpreter import apply
from nas.nn.weights import cut, initialise, supernet_shapes
from nas.optimisers.sampled import SampledLoss, SampledNetworks, cascade_loss
from nas.tasks.image_classification.preprocessing import Preprocessing
from search_spaces.mobile import mobile
from search_spaces.slots import exit_positions, random_genomes
from search_spaces.staged import Stage

STAGES = (Stage((6, 8), (1, 2), 2, {"kernel": (3,), "expansion": (1, 2), "se": (False,)}),)
SPACE = mobile((1, 8, 8), 4, "8x8", stages=STAGES)
PARAMS = initialise({k: v for k, v in supernet_shapes(SPACE).items() if v.trainable}, 0)


def training_set(n: int) -> TrainingSet:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (n, 1, 8, 8)).astype(np.uint8)
    preprocessing = Preprocessing((8, 8), 1, (0.5,), (0.25,), 1 / 255, tuple("abcd"))
    return TrainingSet(images, rng.integers(0, 4, n).astype(np.int32), preprocessing)


def test_a_path_is_the_network_itself_with_the_batch_s_statistics() -> None:
    networks = SampledNetworks(SPACE, PARAMS, training_set(20), 16, 1)
    for step, genome in enumerate(SPACE.canonical(random_genomes(SPACE, 4, np.random.default_rng(0)))):
        logs, labels = networks(genome, step)
        images, expected = networks.batches(step)
        assert np.array_equal(labels, expected) and logs.shape == (len(exit_positions(SPACE)), 16, 4)
        network = SPACE.decode(genome)
        own = {k: jnp.asarray(cut(PARAMS[k], w.shape)) for k, w in network.weight_shapes.items() if w.trainable}
        outputs = np.asarray(apply(network, own, {}, {"image": jnp.asarray(images)}, "train").outputs[-1], np.float64)
        alone = outputs - np.log(np.exp(outputs).sum(-1, keepdims=True))
        np.testing.assert_allclose(logs[-1], alone, atol=1e-4)
        loss = SampledLoss(networks, lambda _: np.ones(1, np.bool_))(genome, step)
        assert loss.gradient is None
        assert loss.loss == pytest.approx(-alone[np.arange(16), labels].mean(), abs=1e-4)


def test_the_same_step_gives_the_same_and_another_step_another_batch() -> None:
    networks, again = (SampledNetworks(SPACE, PARAMS, training_set(20), 16, 1) for _ in range(2))
    genome = SPACE.canonical(random_genomes(SPACE, 1, np.random.default_rng(0)))[0]
    assert np.array_equal(networks(genome, 3)[0], again(genome, 3)[0])
    assert not np.array_equal(networks(genome, 3)[0], networks(genome, 4)[0])


def test_too_few_images_for_a_batch_are_refused() -> None:
    with pytest.raises(InputError, match="batch size 16"):
        SampledNetworks(SPACE, PARAMS, training_set(8), 16, 1)


def test_the_surest_leave_and_answer_where_they_leave() -> None:
    early = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.55, 0.45]])
    last = np.array([[0.5, 0.5], [0.3, 0.7], [0.5, 0.5], [0.8, 0.2]])
    logs, labels = np.log(np.stack([early, last])), np.array([0, 1, 1, 0])
    both = np.array([True, True])
    expected = -np.log([0.9, 0.7, 0.8, 0.8]).mean()
    assert cascade_loss(logs, labels, both, (0.5,)) == pytest.approx(expected)
    only_last = -np.log([0.5, 0.7, 0.5, 0.8]).mean()
    assert cascade_loss(logs, labels, both, (0.0,)) == pytest.approx(only_last)
    assert cascade_loss(logs, labels, np.array([False, True]), (0.5,)) == pytest.approx(only_last)


def test_a_sample_counts_what_its_class_does() -> None:
    early = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.55, 0.45]])
    last = np.array([[0.5, 0.5], [0.3, 0.7], [0.5, 0.5], [0.8, 0.2]])
    logs, labels = np.log(np.stack([early, last])), np.array([0, 1, 1, 0])
    found = cascade_loss(logs, labels, np.ones(2, np.bool_), (0.5,), np.array([0.5, 1.5]))
    assert found == pytest.approx(-(np.array([0.5, 1.5, 1.5, 0.5]) * np.log([0.9, 0.7, 0.8, 0.8])).mean())


def test_an_exit_sends_away_a_share_of_those_that_arrive() -> None:
    rng = np.random.default_rng(0)
    logs = np.log(rng.dirichlet(np.ones(3), size=(3, 100)))
    labels = rng.integers(0, 3, 100)
    counted = []
    for position in range(2):
        nothing = logs.copy()
        nothing[position] = 0.0  # a probability of 1 for everything: who leaves here costs nothing
        counted.append(cascade_loss(nothing, labels, np.ones(3, np.bool_), (0.4, 0.5)))
    # 40 leave at the first exit, 30 of the 60 others at the second.
    first, second = logs.copy(), logs.copy()
    first[1:] = 0.0
    second[[0, 2]] = 0.0
    leaving = [cascade_loss(x, labels, np.ones(3, np.bool_), (0.4, 0.5)) * 100 for x in (first, second)]
    assert all(value > 0 for value in leaving) and counted[0] != counted[1]
    last = logs.copy()
    last[:2] = 0.0
    assert cascade_loss(last, labels, np.ones(3, np.bool_), (1.0, 0.0)) == 0.0
