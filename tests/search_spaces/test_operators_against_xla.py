"""Arithmetic per operator against XLA's own cost analysis, an independent count of the same convention.

XLA counts two per multiply-add, as we do, and leaves out taps that fall on padding; no runtime in use skips them, so
ours are counted. On inputs that were padded beforehand the two must agree exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from search_spaces.ir import Builder
from search_spaces.operators import Shape


def xla_flops(function: Callable[..., jax.Array], *shapes: Shape) -> float:
    arrays = [jnp.zeros(shape, jnp.float32) for shape in shapes]
    cost: Any = jax.jit(function).lower(*arrays).cost_analysis()
    return float(cost["flops"])


def our_flops(kind: str, *shapes: Shape, **attrs: Any) -> tuple[int, int]:
    """MACs and FLOPs of one operator."""
    b = Builder()
    inputs = [b.input(f"input{i}", shape) for i, shape in enumerate(shapes)]
    network = b.network(b(kind, "op", *inputs, **attrs))
    return network.macs, network.flops


@pytest.mark.parametrize(
    ("channels", "size", "filters", "kernel", "stride", "padding", "groups"),
    [
        (8, (10, 10), 16, 3, 1, 0, 1),
        (8, (10, 10), 16, 3, 1, 1, 1),
        (8, (11, 7), 16, 3, 2, 1, 1),
        (8, (8, 8), 16, 1, 1, 0, 1),
        (8, (9, 9), 16, 1, 2, 0, 1),
        (12, (12, 9), 8, 5, 1, 2, 4),
        (8, (11, 11), 8, 3, 1, 1, 8),
        (8, (11, 11), 8, 5, 2, 2, 8),
        (8, (11, 11), 16, 3, 2, 1, 8),
        (3, (32, 32), 16, 7, 4, 3, 1),
        (8, (1, 1), 24, 1, 1, 0, 1),
    ],
)
def test_convolution(
    channels: int, size: tuple[int, int], filters: int, kernel: int, stride: int, padding: int, groups: int
) -> None:
    padded = (1, channels, size[0] + 2 * padding, size[1] + 2 * padding)

    def convolve(x: jax.Array, w: jax.Array) -> jax.Array:
        return jax.lax.conv_general_dilated(
            x, w, (stride, stride), "VALID", feature_group_count=groups, dimension_numbers=("NCHW", "OIHW", "NCHW")
        )

    attrs = {"filters": filters, "kernel": kernel, "stride": stride, "padding": padding, "groups": groups}
    macs, flops = our_flops("conv", (channels, *size), **attrs)
    assert flops == 2 * macs == xla_flops(convolve, padded, (filters, channels // groups, kernel, kernel))


def test_taps_on_padding_are_counted() -> None:
    def convolve(x: jax.Array, w: jax.Array) -> jax.Array:
        return jax.lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NCHW", "OIHW", "NCHW"))

    macs, _ = our_flops("conv", (1, 3, 3), filters=1, kernel=3)
    assert macs == 9 * 9
    # Of a 3x3 image the centre has 9 taps inside, each of 4 edges 6, each of 4 corners 4.
    assert xla_flops(convolve, (1, 1, 3, 3), (1, 1, 3, 3)) == 2 * (9 + 4 * 6 + 4 * 4)


@pytest.mark.parametrize(("shape", "units"), [((64,), 100), ((7, 64), 10), ((3, 5, 8), 6)])
@pytest.mark.parametrize("bias", [False, True])
def test_dense(shape: Shape, units: int, bias: bool) -> None:
    def dense(x: jax.Array, w: jax.Array, offset: jax.Array) -> jax.Array:
        return x @ w + offset if bias else x @ w

    _, flops = our_flops("dense", shape, units=units, bias=bias)
    assert flops == xla_flops(dense, (1, *shape), (shape[-1], units), (units,))


@pytest.mark.parametrize(("a", "b"), [((7, 64), (64, 10)), ((4, 7, 16), (4, 16, 9))])
def test_matrix_product(a: Shape, b: Shape) -> None:
    macs, flops = our_flops("matmul", a, b)
    assert flops == 2 * macs == xla_flops(jnp.matmul, a, b)


@pytest.mark.parametrize("kind", ["add", "mul"])
def test_elementwise_of_two(kind: str) -> None:
    function = {"add": jnp.add, "mul": jnp.multiply}[kind]
    macs, flops = our_flops(kind, (8, 5, 5), (8, 1, 1))
    assert macs == 0
    assert flops == xla_flops(function, (8, 5, 5), (8, 1, 1))
