"""Scores of the one program for all networks, against each network alone, of every kind of space."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas.errors import InputError
from nas.nn.interpreter import FORMS, Call, apply, split, to_private
from nas.nn.weights import extract, initialise, supernet_shapes
from nas.seeds import derive_seed
from nas.supernet.sampling import largest, smallest
from nas.zero_cost import measures
from nas.zero_cost.passes import Passes
from nas.zero_cost.scoring import SCORES, ZeroCost
from search_spaces.ir import Network
from search_spaces.lightnas import OPERATORS, lightnas
from search_spaces.nasbench201 import nasbench201
from search_spaces.operators import ACTIVATIONS
from search_spaces.slots import SearchSpace, exit_positions, random_genomes, with_exits
from search_spaces.staged import Stage
from search_spaces.toy import toy

IMAGES, SEED = 6, 5
#: A single path: stem, one convolution per cell, reductions, classifier.
CHAIN = np.array([0, 0, 0, 3, 0, 0])


@cache
def space_of(kind: str) -> SearchSpace:
    if kind == "lightnas":
        # A layer of the published operators between its own stem and head.
        stages = (Stage((8,), (1,), 2, {"operator": OPERATORS}, "relu6"),)
        return replace(lightnas((1, 32, 32), 3), stages=stages, name="small")
    if kind == "whole toy":
        return toy((2, 6, 6), 3, width=4)
    if kind == "toy":
        # One block of those of its operators that compile in a moment.
        whole = toy((2, 6, 6), 3, width=4)
        stage = replace(whole.stages[0], depths=(1,), options={"operator": ("conv3", "pool", "skip")})
        return replace(whole, stages=(stage,))
    return nasbench201((2, 8, 8), 3, channels=4, cells=1)


def images(space: SearchSpace, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(IMAGES, *space.input_shape)).astype(np.float32)


def alone(space: SearchSpace, genome: np.ndarray) -> tuple[Network, dict[str, Any]]:
    """The network without early exits, and its part of the weights that the seed draws."""
    network = space.decode(with_exits(space, genome, ()))
    return network, extract(network, initialise(supernet_shapes(space), derive_seed(SEED, "weights", 0)))


def naswot(network: Network, weights: dict[str, Any], x: np.ndarray) -> float:
    """By the sign of the input of every activation, operator by operator."""

    def codes(weights: dict[str, Any], x: Any) -> list[Any]:
        tensors: list[Any] = []
        found = []
        for op in network.ops:
            sources = tuple(tensors[source] for source, _ in op.inputs)
            if op.kind in ACTIVATIONS:
                found.append((sources[0] > 0).reshape(len(x), -1))
            own = {param: weights[f"{op.name}/{param}"] for param in network.weights(op)}
            call = Call(op, sources, own, "train")
            tensors.append(to_private(x) if op.kind == "input" else FORMS[op.kind](call))
        return found

    code = np.concatenate(jax.jit(codes)(weights, jnp.asarray(x)), axis=1).astype(float)
    return float(np.linalg.slogdet(code @ code.T + (1 - code) @ (1 - code).T + 1e-6 * np.eye(len(x)))[1])


def jacob_cov(network: Network, weights: dict[str, Any], x: np.ndarray) -> float:
    params = split(network, weights)[0]
    stats = jax.jit(lambda x: apply(network, params, {}, {"image": x}, "calibrate").stats)(jnp.asarray(x))

    def total(x: Any) -> Any:
        return apply(network, params, stats, {"image": x}).outputs[-1].sum()

    slopes = np.asarray(jax.jit(jax.grad(total))(jnp.asarray(x)), np.float64)
    v = np.linalg.eigvalsh(np.corrcoef(slopes.reshape(len(x), -1))) + 1e-5
    return float(-(np.log(v) + 1 / v).sum())


def synflow(network: Network, weights: dict[str, Any], x: np.ndarray, scale: float) -> float:
    with jax.enable_x64(True):
        positive = {name: jnp.abs(jnp.asarray(value, jnp.float64)) for name, value in weights.items()}
        for op in network.ops:
            if op.kind == "batch_norm":
                positive[f"{op.name}/variance"] = jnp.full(op.shape[0], 1 - op.attr("eps"), jnp.float64)
        params, stats = split(network, positive)
        one = jnp.full((1, *x.shape[1:]), scale, jnp.float64)

        def answer(params: Any) -> Any:
            return apply(network, params, stats, {"image": one}).outputs[-1].sum()

        slopes = jax.jit(jax.grad(answer))(params)
        kernels = [name for name in params if name.endswith("/kernel")]
        return float(np.log(sum(float(jnp.abs(params[name] * slopes[name]).sum()) for name in kernels)) - np.log(scale))


@pytest.fixture(
    params=[
        "toy",
        *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("whole toy", "mobile", "lightnas", "nasbench201")),
    ]
)
def space(request: pytest.FixtureRequest, tiny: SearchSpace) -> SearchSpace:
    return tiny if request.param == "mobile" else space_of(request.param)


def test_a_network_scores_as_it_would_alone(space: SearchSpace) -> None:
    x = images(space)
    genomes = np.concatenate([[largest(space)], random_genomes(space, 4, np.random.default_rng(3))])
    if space.name == "toy":
        genomes = genomes[:2]
    found = ZeroCost(space, tuple(SCORES), [x], SEED)(genomes)
    # Where nothing but ReLU stands between layers, ones are as good as an input that nothing clips.
    scale = 1.0 if space.name in ("toy", "nasbench201") else 1e-150
    for genome, (wot, flow, cov) in zip(genomes, found, strict=True):
        network, weights = alone(space, genome)
        assert wot == pytest.approx(naswot(network, weights, x), rel=1e-6), genome
        assert cov == pytest.approx(jacob_cov(network, weights, x), rel=1e-4), genome
        assert flow == pytest.approx(synflow(network, weights, x, scale), rel=1e-9), genome


@pytest.mark.slow
def test_what_a_network_does_not_have_never_agrees(tiny: SearchSpace) -> None:
    """Masked channels, absent blocks and squeeze-excite that is off are alike in all images."""
    x = images(tiny)
    genomes = np.stack([smallest(tiny), largest(tiny)])
    found = ZeroCost(tiny, ("naswot",), [x], SEED)(genomes)[:, 0]
    for genome, score in zip(genomes, found, strict=True):
        assert score == pytest.approx(naswot(*alone(tiny, genome), x), rel=1e-6), genome


def test_early_exits_change_nothing(tiny: SearchSpace) -> None:
    score = ZeroCost(tiny, ("naswot",), [images(tiny)], SEED)
    (drawn,) = random_genomes(tiny, 1, np.random.default_rng(0))
    positions = range(len(exit_positions(tiny)))
    with_and_without = np.stack([with_exits(tiny, drawn, positions), with_exits(tiny, drawn, ())])
    assert len(np.unique(with_and_without, axis=0)) == 2
    one, other = score(with_and_without)[:, 0]
    assert one == other


def test_what_flows_through_every_layer_of_a_chain_is_the_same() -> None:
    """Synaptic saliency is conserved from layer to layer where none has a bias (Tanaka et al. 2020, theorem 1)."""
    space = space_of("toy")
    passes = Passes(space)
    (genome,) = passes.space.canonical(np.zeros((1, len(space.genes)), np.int64))
    flow = passes.flow(passes.start(SEED, images(space)), passes.supernet.choices(genome[None]).combination[0])
    own = {name for name in passes.space.decode(genome).weight_shapes if name.endswith("/kernel")}
    assert len(own) == 3 and own < set(flow)
    assert [flow[name] for name in own] == pytest.approx([flow["stem.conv/kernel"]] * 3, rel=1e-9)
    assert flow["stem.conv/kernel"] > 0 and not any(flow[name] for name in set(flow) - own)


@pytest.mark.slow
def test_what_flows_through_every_layer_of_a_cell_is_the_same() -> None:
    """What goes two ways through a reduction adds up."""
    space = space_of("nasbench201")
    passes = Passes(space)
    start = passes.start(SEED, images(space))
    flow = passes.flow(start, passes.supernet.choices(CHAIN[None]).combination[0])
    whole = flow["stem.conv/kernel"]
    assert whole > 0 and flow["final.dense/kernel"] == pytest.approx(whole, rel=1e-9)
    for stage in range(3):
        assert flow[f"stage{stage}.cell0.edge03.nor_conv_3x3/kernel"] == pytest.approx(whole, rel=1e-9)
    for number in (1, 2):
        first, second, side = (flow[f"reduction{number}.{name}/kernel"] for name in ("conv_a", "conv_b", "downsample"))
        assert first == pytest.approx(second, rel=1e-9) and first + side == pytest.approx(whole, rel=1e-9)
    # What the network does not have gets nothing.
    assert flow["stage0.cell0.edge01.nor_conv_3x3/kernel"] == 0


def test_an_image_that_is_there_twice_is_seen_to_be() -> None:
    space = space_of("toy")
    x = images(space)
    x[1] = x[0]
    passes = Passes(space)
    kernel = passes.agreement(passes.start(SEED, x), passes.supernet.choices(largest(space)[None]).combination[0])
    assert np.array_equal(kernel[0], kernel[1]) and np.linalg.matrix_rank(kernel.astype(np.float64)) == IMAGES - 1
    assert measures.naswot(kernel) < ZeroCost(space, ("naswot",), [images(space)], SEED)(largest(space)[None])[0, 0] - 5


def test_the_seed_draws_and_repeats_are_averaged() -> None:
    space = space_of("toy")
    genomes = random_genomes(space, 4, np.random.default_rng(1))
    batches = [images(space, seed) for seed in (1, 2)]
    together = ZeroCost(space, ("naswot",), batches, SEED)(genomes)[:, 0]
    passes = Passes(space)
    starts = [passes.start(derive_seed(SEED, "weights", repeat), batch) for repeat, batch in enumerate(batches)]
    networks = passes.supernet.choices(genomes).combination
    single = np.array([[SCORES["naswot"](passes, start, network) for network in networks] for start in starts])
    assert (single[0] != single[1]).all() and np.array_equal(together, single.mean(axis=0))
    again, other = (ZeroCost(space, ("naswot",), batches[:1], seed)(genomes)[:, 0] for seed in (SEED, SEED + 1))
    assert np.array_equal(again, single[0]) and (again != other).any()


def test_a_network_is_scored_once(monkeypatch: pytest.MonkeyPatch) -> None:
    space, asked = space_of("toy"), []
    monkeypatch.setitem(SCORES, "naswot", lambda passes, start, network: asked.append(network) or len(asked))
    score = ZeroCost(space, ("naswot",), [images(space)], SEED)
    genomes = random_genomes(space, 5, np.random.default_rng(1))
    first = score(np.concatenate([genomes, genomes[::-1]]))
    assert np.array_equal(first, score(np.concatenate([genomes, genomes[::-1]])))
    assert len(asked) == len(np.unique(score(genomes))) <= 5
    assert score(genomes[:0]).shape == (0, 1)


@pytest.mark.parametrize("batches", [[], [np.zeros((1, 2, 6, 6), np.float32)]])
def test_scores_compare_images(batches: list[np.ndarray]) -> None:
    with pytest.raises(InputError, match="so give at least 2"):
        ZeroCost(space_of("toy"), ("naswot",), batches, SEED)
