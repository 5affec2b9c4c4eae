"""The fast forms against what they replace, in double precision: numbers and gradients."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from nas.nn import layers, normalisation


@pytest.fixture(autouse=True)
def double_precision() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def random(*shape: int, seed: int = 0) -> Array:
    return jnp.asarray(np.random.default_rng([seed, *shape]).standard_normal(shape))


def assert_same(fast: Callable[..., Array], plain: Callable[..., Array], *args: Array) -> None:
    """Equal values, and equal gradients with respect to all of `args`, relative to the norm of each."""
    cotangent = random(*jax.eval_shape(plain, *args).shape, seed=9)

    def both(f: Callable[..., Array]) -> tuple[Any, ...]:
        value, pull = jax.vjp(f, *args)
        return (value, *pull(cotangent))

    for got, expected in zip(jax.jit(lambda: both(fast))(), jax.jit(lambda: both(plain))(), strict=True):
        assert jnp.linalg.norm(got - expected) <= 1e-12 * jnp.linalg.norm(expected)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "size"),
    [(3, 1, 1, (7, 6)), (3, 2, 1, (7, 6)), (5, 1, 2, (4, 9)), (5, 2, 2, (8, 5)), (3, 1, 0, (5, 5)),
     (2, 2, 0, (5, 6)), (3, 2, 2, (5, 5)), (1, 2, 0, (5, 5))],
)  # fmt: skip
def test_depthwise(kernel: int, stride: int, padding: int, size: tuple[int, int]) -> None:
    x, w = random(3, *size, 5), random(kernel, kernel, 5)
    assert_same(
        lambda x, w: layers.depthwise(x, w, stride, padding),
        lambda x, w: layers.grouped(x, w[:, :, None], stride, padding, 5),
        x,
        w,
    )


@pytest.mark.parametrize(("choice", "stride"), [(0, 1), (1, 2), (2, 1), (2, 2)])
def test_elastic_depthwise_uses_the_centre_of_the_kernel(choice: int, stride: int) -> None:
    x, w, sizes = random(2, 5, 6, 3), random(5, 5, 3), (1, 3, 5)
    kernels = layers.Kernels(sizes, jnp.asarray(choice, jnp.int32))
    mask = np.zeros((5, 5, 1))
    edge = (5 - sizes[choice]) // 2
    mask[edge : 5 - edge, edge : 5 - edge] = 1
    assert_same(
        lambda x, w: layers.depthwise(x, w, stride, kernels=kernels),
        lambda x, w: layers.grouped(x, (w * mask)[:, :, None], stride, 2, 3),
        x,
        w,
    )
    found = layers.centre_mask(5, kernels)
    assert (np.asarray(found)[:, :, None] == mask).all()


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "groups"), [(1, 1, 0, 1), (1, 2, 0, 1), (3, 2, 1, 2), (1, 1, 0, 4)]
)
def test_convolution_dispatch(kernel: int, stride: int, padding: int, groups: int) -> None:
    x, w = random(2, 6, 5, 4), random(kernel, kernel, 4 // groups, 8)
    assert_same(
        lambda x, w: layers.convolution(x, w, stride, padding, groups),
        lambda x, w: layers.grouped(x, w, stride, padding, groups),
        x,
        w,
    )


@pytest.mark.parametrize("activation", ["", "relu", "hard_swish", "gelu"])
@pytest.mark.parametrize("shape", [(4, 3, 5, 6), (8, 6)])
def test_batch_norm(shape: tuple[int, ...], activation: str) -> None:
    def plain(x: Array, scale: Array, offset: Array) -> Array:
        axes = tuple(range(x.ndim - 1))
        y = (x - x.mean(axes)) / jnp.sqrt(x.var(axes) + 1e-5) * scale + offset
        return layers.ACTIVATIONS[activation](y)

    x = random(*shape) * 3 + 2
    assert_same(
        lambda *args: normalisation.batch_norm(*args, 1e-5, activation),
        plain,
        x,
        random(shape[-1]),
        random(shape[-1], seed=1),
    )


def test_batch_norm_survives_a_large_mean() -> None:
    """The mean of squares minus the squared mean would leave nothing here in single precision."""
    x = (random(64, 4, 4, 2) + 1e4).astype(jnp.float32)
    _, variance = normalisation.batch_statistics(x)
    assert np.allclose(variance, np.var(np.asarray(x, np.float64), axis=(0, 1, 2)), rtol=1e-3)


@pytest.mark.parametrize("active", [3, 6])
def test_layer_norm_counts_active_features(active: int) -> None:
    """Whatever the others are."""
    x, scale, offset = random(2, 5, 6), random(6), random(6, seed=1)
    mask = jnp.asarray(jnp.arange(6) < active, x.dtype)
    y = normalisation.layer_norm(x, scale * mask, offset * mask, 1e-5, mask)
    part = normalisation.layer_norm(x[..., :active], scale[:active], offset[:active], 1e-5)
    assert np.allclose(y[..., :active], part) and not np.asarray(y[..., active:]).any()


def test_scale_gradient() -> None:
    x = random(3)
    assert (normalisation.scale_gradient(x, jnp.asarray(0.25)) == x).all()
    assert np.allclose(jax.grad(lambda x: (normalisation.scale_gradient(x, jnp.asarray(0.25)) ** 2).sum())(x), x / 2)
