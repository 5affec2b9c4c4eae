"""Gates: hard ones are the network that they choose, and their gradients are those of the mixture."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
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
from search_spaces.ir import Builder
from search_spaces.mobile import conv_bn, linear_exit, mobile
from search_spaces.nasbench201 import nasbench201
from search_spaces.op import Ref
from search_spaces.slots import ExitSite, Gene, SearchSpace, Slot, sizes
from search_spaces.staged import Stage, StagedSpace
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


class ExitOfTwoHeads(StagedSpace):
    """An early exit whose head is an operator choice, and which depth can take away."""

    @property
    def genes(self) -> tuple[Gene, ...]:
        return (Gene("depth", (1, 2)), Gene("head", ("plain", "mixed", "off"), ordinal=False))

    @property
    def slots(self) -> tuple[Slot, ...]:
        def head(b: Builder, refs: tuple[Ref, ...], values: tuple[int, ...]) -> Ref | None:
            if values[0] == 0 or values[1] == 2:
                return None
            mixed = b("conv", "exit0.conv", refs[0], filters=4, kernel=1, padding=0) if values[1] else refs[0]
            return linear_exit(b, f"exit0.{'mixed' if values[1] else 'plain'}", mixed, 3)

        def block(b: Builder, refs: tuple[Ref, ...], values: tuple[int, ...]) -> Ref | None:
            return conv_bn(b, "block.conv", refs[0], 4, 3) if values[0] else None

        def inside(values: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
            return ((4, 6, 6),)

        stem = super().slots[0]
        return (
            stem,
            Slot("block", "body", (0,), (2,), ("stem",), block, inside),
            Slot("exit0", "exit", (0, 1), (2, 3), ("block",), head, inside, (1,)),
            Slot("final", "final", (), (), ("block",), lambda b, x, _: linear_exit(b, "final", x[0], 3), inside),
        )

    @cached_property
    def exit_sites(self) -> tuple[ExitSite, ...]:
        return (ExitSite(1, 2, (0, 1)), ExitSite(None))

    def canonical(self, genomes: Any) -> Any:
        return np.where((genomes[:, :1] == 0) & (np.arange(2) == 1), 2, genomes)


def test_an_exit_may_be_an_operator_choice_that_other_genes_take_away() -> None:
    space = ExitOfTwoHeads(
        "heads", (2, 6, 6), 3, (Stage((4,), (1,), 1, {}),), lambda b, x: conv_bn(b, "stem.conv", x, 4, 3),
        lambda b, name, x, *_: x, linear_exit, lambda b, x, classes: x,
    )  # fmt: skip
    supernet = Supernet(space)
    params, _ = random_shared(space)
    x = jnp.asarray(np.random.default_rng(1).normal(size=(4, 2, 6, 6)), jnp.float32)
    gated = jax.jit(lambda c, g: supernet.forward(params, {}, x, c, "train", gates=Gates(g))[0])
    masked = jax.jit(lambda c: supernet.forward(params, {}, x, c, "train")[0])
    for genome in ([0, 2], [1, 0], [1, 1], [1, 2]):
        choices = supernet.choices(np.array([genome]))
        found = np.asarray(gated(choices.combination[0], hard_gates(np.array(genome), 3)))[choices.legal[0]]
        expected = np.asarray(masked(choices.combination[0]))[choices.legal[0]]
        assert len(found) == (1 if genome[0] == 0 else 2)
        assert np.abs(found - expected).max() <= MASK_TO_EXTRACTED * np.abs(expected).max(), genome
