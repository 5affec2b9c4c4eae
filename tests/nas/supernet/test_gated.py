"""Gates within a slot: where the loss is linear in an option, its gate's derivative is what the option does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from nas.supernet.elastic import Gates, Supernet
from nas.supernet.gates import hard_gates
from search_spaces.ir import Builder
from search_spaces.mobile import conv_bn, linear_exit
from search_spaces.op import Ref
from search_spaces.staged import Stage, StagedSpace
from tests.nas.supernet.test_elastic import random_shared

Block = Callable[[Builder, Ref, int, bool], Ref]


def _conv(b: Builder, name: str, x: Ref, filters: int, kernel: int = 1, groups: int = 1) -> Ref:
    return b("conv", name, x, filters=filters, kernel=kernel, padding=kernel // 2, groups=groups, bias=True)


def channels(b: Builder, x: Ref, n: int, on: bool) -> Ref:
    """Channels that the next convolution adds up, and a sum that may be there."""
    y = _conv(b, "out", _conv(b, "inner", x, 3 + n), 4)
    return b("add", "sum", y, _conv(b, "beside", x, 4)) if on else y


def attention(b: Builder, x: Ref, n: int, on: bool) -> Ref:
    """Features that a matrix product hands on, since it adds up tokens, and a dense layer adds up."""
    tokens = b("transpose", "tokens", b("reshape", "flat", x, shape=(4, 36)), perm=(1, 0))
    keys = b("transpose", "turned", b("dense", "k", tokens, units=3), perm=(1, 0))
    scores = b("softmax", "scores", b("matmul", "products", b("dense", "q", tokens, units=3), keys))
    y = b("dense", "out", b("matmul", "mix", scores, b("dense", "v", tokens, units=2 + n)), units=4)
    y = b("add", "sum", y, tokens) if on else y
    return b("reshape", "picture", b("transpose", "back", y, perm=(1, 0)), shape=(4, 6, 6))


def groups(b: Builder, x: Ref, n: int, on: bool) -> Ref:
    """Groups that come and go with their channels."""
    y = _conv(b, "grouped", _conv(b, "inner", x, 2 + 2 * n), 2 + 2 * n, 3, groups=1 + n)
    return b("add", "sum", _conv(b, "out", y, 4), x) if on else _conv(b, "out", y, 4)


def multiplied(b: Builder, x: Ref, n: int, on: bool) -> Ref:
    """A depthwise convolution with two filters for each channel."""
    y = _conv(b, "depthwise", _conv(b, "inner", x, 2 + n), 4 + 2 * n, 3, groups=2 + n)
    return b("add", "sum", _conv(b, "out", y, 4), x) if on else _conv(b, "out", y, 4)


def branch(b: Builder, x: Ref, n: int, on: bool) -> Ref:
    """A branch that may be there, of elastic size."""
    y = _conv(b, "always", x, 4)
    return b("add", "sum", y, _conv(b, "out", _conv(b, "inner", x, 2 + n), 4)) if on else y


def excited(b: Builder, x: Ref, n: int, on: bool) -> Ref:
    """A factor that may be there, of elastic size."""
    y = _conv(b, "always", x, 4)
    return b("mul", "scale", y, _conv(b, "up", _conv(b, "down", b("global_pool", "pool", x), 2 + n), 4)) if on else y


def kernels(b: Builder, x: Ref, n: int, on: bool) -> Ref:
    """A branch that may be there, of elastic kernel."""
    y = _conv(b, "always", x, 4)
    return b("add", "sum", y, _conv(b, "taps", x, 4, 1 + 2 * n)) if on else y


def nested(b: Builder, x: Ref, n: int, on: bool) -> Ref:
    """A factor within a branch, each of which may be there."""
    y = _conv(b, "always", x, 4)
    if not on:
        return y
    z = _conv(b, "inside", x, 4)
    if n:
        z = b("mul", "scale", z, _conv(b, "up", _conv(b, "down", b("global_pool", "pool", x), 1 + n), 4))
    return b("add", "sum", y, z)


BLOCKS: tuple[Block, ...] = (channels, attention, groups, multiplied, branch, excited, kernels, nested)


def space_of(block: Block) -> StagedSpace:
    """Stem, one block with two genes, and a head; no norm behind the stem, so that all is linear in what is chosen."""
    return StagedSpace(
        "one", (2, 6, 6), 3, (Stage((4,), (1,), 1, {"n": (0, 1, 2), "on": (False, True)}),),
        lambda b, x: conv_bn(b, "stem.conv", x, 4, 3),
        lambda b, name, x, width, stride, activation, options: block(b, x, options["n"], options["on"]),
        linear_exit, lambda b, x, classes: linear_exit(b, "final", x, classes), max_exits=0,
    )  # fmt: skip


@pytest.mark.parametrize("block", BLOCKS)
def test_a_gate_says_what_its_option_does(block: Block) -> None:
    """Counted once, and of what is there or would be: with the size that the other genes have chosen."""
    space = space_of(block)
    supernet = Supernet(space)
    params, _ = random_shared(space)
    rng = np.random.default_rng(1)
    x, weight = (jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in ((4, 2, 6, 6), (4, 3)))

    def loss(gates: Array, combination: Array) -> Array:
        return (supernet.forward(params, {}, x, combination, "train", gates=Gates(gates))[0][-1] * weight).sum()

    slopes = jax.jit(jax.value_and_grad(loss))
    found: dict[tuple[int, int], tuple[float, Any]] = {}
    for genome in np.ndindex(3, 2):
        row = np.array(genome)
        value, gradient = slopes(hard_gates(row, 3), supernet.choices(row[None]).combination[0])
        found[row[0], row[1]] = float(value), np.asarray(gradient)
    for (n, on), (value, gradient) in found.items():
        for other in range(3):
            # Where a factor is not there one size of it is asked for, be there several.
            promised = gradient[0, other] - gradient[0, n]
            if block is not nested or n or other < 2:
                assert promised == pytest.approx(found[other, on][0] - value, rel=1e-3, abs=1e-3), (n, on, other)
        promised = gradient[1, 1 - on] - gradient[1, on]
        assert promised == pytest.approx(found[n, 1 - on][0] - value, rel=1e-3, abs=1e-3), (n, on)
