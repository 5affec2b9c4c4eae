"""The supernet evaluator against cutting, calibrating and running each network on its own."""

import jax.numpy as jnp
import numpy as np
import pytest

from nas.nn.interpreter import apply
from nas.nn.weights import Weights, cut, initialise, supernet_shapes
from nas.search.evaluators.supernet import SupernetEvaluator
from search_spaces.mobile import mobile
from search_spaces.slots import SearchSpace, exit_positions, random_genomes
from search_spaces.staged import Stage


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    stages = (Stage((6, 8), (1, 2), 2, {"kernel": (3,), "expansion": (1, 2), "se": (False,)}),)
    return mobile((1, 8, 8), 4, "8x8", stages=stages)


@pytest.fixture(scope="module")
def params(space: SearchSpace) -> Weights:
    return initialise({k: v for k, v in supernet_shapes(space).items() if v.trainable}, 0)


def test_logits(space: SearchSpace, params: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.search.evaluators.supernet._CHUNK", 8)
    rng = np.random.default_rng(0)
    calibration, images = rng.normal(size=(2, 21, 1, 8, 8)).astype(np.float32)
    evaluator = SupernetEvaluator(space, params, calibration, images)
    genomes = np.unique(random_genomes(space, 4, rng), axis=0)
    logits = evaluator.logits(genomes)
    assert logits.shape == (len(genomes), 21, len(exit_positions(space)), 4) and logits.dtype == np.float32
    absent = 0
    for genome, answers in zip(genomes, logits, strict=True):
        network = space.decode(genome)
        own = {k: jnp.asarray(cut(params[k], w.shape)) for k, w in network.weight_shapes.items() if w.trainable}
        stats = apply(network, own, {}, {"image": jnp.asarray(calibration)}, "calibrate").stats
        outputs = apply(network, own, stats, {"image": jnp.asarray(images)}).outputs
        assert np.allclose(answers[:, -1], outputs[-1], atol=1e-4)
        if len(outputs) == 2:
            assert np.allclose(answers[:, 0], outputs[0], atol=1e-4)
        gone = np.isnan(answers).all((0, 2))
        assert not np.isnan(answers[:, ~gone]).any() and not gone[-1]
        absent += int(gone[0])
    assert 0 < absent < len(genomes)


def test_exits_of_a_known_backbone_cost_nothing(
    space: SearchSpace, params: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = np.random.default_rng(0).normal(size=(5, 1, 8, 8)).astype(np.float32)
    evaluator = SupernetEvaluator(space, params, images, images, keep_bytes=1)
    evaluated: list[bytes] = []
    logits = evaluator._logits
    monkeypatch.setattr(evaluator, "_logits", lambda c: evaluated.append(c.tobytes()) or logits(c))
    on = np.array([len(gene.options) - 1 for gene in space.genes])
    off = on.copy()
    off[-1] = 0
    assert np.array_equal(evaluator.logits(np.stack([on, off]))[0], evaluator.logits(on[None])[0])
    assert len(evaluated) == 1
    evaluator.logits(np.zeros_like(on)[None])
    evaluator.logits(on[None])
    assert len(evaluated) == 3
