"""Gates: hard ones are the network that they choose, and their gradients are those of the mixture."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from nas.optimisers.gated import exits_present, soft_cascade
from nas.supernet.elastic import Gates, Supernet
from nas.supernet.gates import gated_options, hard_gates
from nas.tolerances import MASK_TO_EXTRACTED
from search_spaces.mobile import mobile
from search_spaces.nasbench201 import nasbench201
from search_spaces.slots import SearchSpace, sizes
from search_spaces.staged import Stage
from search_spaces.toy import toy
from tests.nas.supernet.test_elastic import (
    biased,
    exits_of,
    narrowing,
    one_block,
    random_shared,
    sequence,
    some,
    unnormalised,
)


def every_kind() -> SearchSpace:
    """Elastic width, depth, kernel, expansion and squeeze-excite, and exits."""
    options = {"kernel": (3, 5), "expansion": (1, 2), "se": (False, True)}
    return mobile((1, 6, 6), 3, "8x8", (Stage((8, 16), (1, 2), 2, options, "hard_swish"),), max_exits=1)


SPACES: dict[str, Callable[[], SearchSpace]] = {
    "mobile": every_kind,
    "choices": partial(toy, (2, 6, 6), 3, 4),
    "cells": partial(nasbench201, (1, 4, 4), 3, 4, 1),
    **{block.__name__: partial(one_block, block, 4) for block in (biased, sequence, narrowing, unnormalised)},
}


#: Three cells of six edges take long to compile.
EACH = [pytest.param(name, marks=[pytest.mark.slow] if name == "cells" else []) for name in SPACES]


def options_of(space: SearchSpace) -> int:
    return int(sizes(space).max())


@pytest.mark.parametrize("name", EACH)
def test_hard_gates_are_the_network_that_they_choose(name: str) -> None:
    """The masked network, that is, which `test_elastic` compares with the one that is cut out."""
    space = SPACES[name]()
    supernet = Supernet(space)
    params, _ = random_shared(space)
    x = jnp.asarray(np.random.default_rng(1).normal(size=(6, *space.input_shape)), jnp.float32)
    gated = jax.jit(lambda p, x, c, g: supernet.forward(p, {}, x, c, "train", gates=Gates(g))[0])
    masked = jax.jit(lambda p, x, c: supernet.forward(p, {}, x, c, "train")[0])
    genomes = np.unique(space.canonical(some(space, 6)), axis=0)
    choices = supernet.choices(genomes)
    for genome, combination in zip(genomes, choices.combination, strict=True):
        exits = exits_of(supernet, genome)
        expected = np.asarray(masked(params, x, combination))[exits]
        logits = np.asarray(gated(params, x, combination, hard_gates(genome, options_of(space))))[exits]
        assert np.abs(logits - expected).max() <= MASK_TO_EXTRACTED * np.abs(expected).max(), genome


def soft_gates(space: SearchSpace, seed: int) -> Any:
    """A distribution over the options of every gene [genes, options]."""
    legal = np.arange(options_of(space)) < sizes(space)[:, None]
    drawn = np.where(legal, np.random.default_rng(seed).uniform(0.2, 1, legal.shape), 0)
    return drawn / drawn.sum(axis=1, keepdims=True), legal


@pytest.mark.parametrize("name", EACH)
def test_gradients_are_those_of_finite_differences_for_every_option_of_every_gene(name: str) -> None:
    space = SPACES[name]()
    with jax.enable_x64(True):
        supernet = Supernet(space)
        params = {key: jnp.asarray(value, jnp.float64) for key, value in random_shared(space)[0].items()}
        rng = np.random.default_rng(1)
        x, weight = rng.normal(size=(4, *space.input_shape)), rng.normal(size=(len(supernet.positions), 4, 3))
        combination = supernet.choices(some(space, 0)[:1]).combination[0]
        legal = jnp.ones(len(supernet.positions))
        thresholds, softness = jnp.full(len(legal) - 1, -1.0), jnp.full(len(legal) - 1, 0.2)

        @jax.jit
        def loss(gates: Array) -> Array:
            logits, _ = supernet.forward(params, {}, x, combination, "train", gates=Gates(gates, mixture=True))
            logs = jax.nn.log_softmax(logits)
            present = exits_present(space.exit_sites, gates, legal)
            own = soft_cascade(-logs[..., 0], logs.max(axis=-1), present, thresholds, softness)
            return (jnp.tanh(logits) * weight).sum() + own

        gates, options = soft_gates(space, 2)
        gradient = np.asarray(jax.jit(jax.grad(loss))(jnp.asarray(gates)))
        for gene, gene_options in enumerate(options):
            found, expected = gradient[gene, gene_options], []
            for option in np.flatnonzero(gene_options):
                step = np.zeros_like(gates)
                step[gene, option] = 1e-5
                expected.append(float(loss(jnp.asarray(gates + step)) - loss(jnp.asarray(gates - step))) / 2e-5)
            error = np.linalg.norm(found - expected)
            assert error <= 1e-3 * np.linalg.norm(expected), space.genes[gene].name
            assert np.ptp(found) > 1e-6, f"no option of {space.genes[gene].name} matters"


@pytest.mark.parametrize("name", EACH[1:3])
def test_the_chosen_operators_alone_run_and_say_what_they_would_say_in_the_mixture(name: str) -> None:
    """With hard gates the pass of single operators has the gradient of the pass of all, wherever it sees one."""
    space = SPACES[name]()
    supernet = Supernet(space)
    params, _ = random_shared(space)
    x = jnp.asarray(np.random.default_rng(1).normal(size=(4, *space.input_shape)), jnp.float32)

    def loss(gates: Array, combination: Array, mixture: bool) -> Array:
        logits, _ = supernet.forward(params, {}, x, combination, "train", gates=Gates(gates, mixture))
        return jnp.square(logits[-1]).sum()

    one, all_ = (jax.jit(partial(jax.grad(loss), mixture=mixture)) for mixture in (False, True))
    whole = gated_options(space, supernet.plans, supernet.gates)
    assert whole.any() == (name != "cells")
    for genome in some(space, 3):
        gates = hard_gates(genome, options_of(space))
        combination = supernet.choices(genome[None]).combination[0]
        alone, mixed = np.asarray(one(gates, combination)), np.asarray(all_(gates, combination))
        seen = whole[:, None] | (gates > 0)
        assert np.abs(alone - mixed)[seen].max() <= 1e-3 * np.abs(mixed).max()


def test_a_gate_says_what_the_option_does_where_the_loss_is_linear_in_it() -> None:
    """The last block enters a mean and a dense layer: what it does is what its gate's derivative says."""
    space = SPACES["choices"]()
    supernet = Supernet(space)
    params, _ = random_shared(space)
    x = jnp.asarray(np.random.default_rng(1).normal(size=(4, *space.input_shape)), jnp.float32)
    weight = jnp.asarray(np.random.default_rng(2).normal(size=(4, 3)), jnp.float32)
    depth = [gene.name for gene in space.genes].index("stage1.depth")

    def loss(gates: Array, combination: Array) -> Array:
        return (supernet.forward(params, {}, x, combination, "train", gates=Gates(gates))[0][-1] * weight).sum()

    slope = jax.jit(jax.value_and_grad(loss))
    for genome in some(space, 4, seed=3):
        values = []
        for blocks in (0, 1):
            genome[depth] = blocks
            gates = hard_gates(genome, options_of(space))
            value, gradient = slope(gates, supernet.choices(genome[None]).combination[0])
            values.append(float(value))
        assert float(gradient[depth, 1]) == pytest.approx(values[1] - values[0], rel=1e-3, abs=1e-4)
