"""Layers in the forms that XLA runs fast: arrays are [batch, height, width, channels].

On a CPU, XLA's grouped convolution is 20 to 100 times slower than shifted multiply-adds, its gradient slower still, and
a 1x1 convolution loses to a matrix product by up to three times; a C++ kernel (`native`) is faster yet. On accelerators
the vendor's grouped convolution wins. The forms are chosen by `jax.default_backend()` when a program is traced.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar, cast

import jax
import jax.numpy as jnp
from jax import Array, lax

from nas.nn import native

_NHWC = ("NHWC", "HWIO", "NHWC")

T = TypeVar("T")

#: Beyond this many groups, one convolution per group is a program too large to compile.
_MOST_SPLIT_GROUPS = 16
#: Whether what is traced is a branch of `switch`.
_IN_BRANCH: Final[ContextVar[bool]] = ContextVar("in_branch", default=False)


def materialise(x: T) -> T:
    """x, stored: stops XLA from computing its producer again for each of many readers."""
    return cast(T, lax.optimization_barrier(x))


def _window(size: int, kernel: int, stride: int, padding: int) -> int:
    return (size + 2 * padding - kernel) // stride + 1


def _pad(x: Array, before: int, after: tuple[int, int], stride: int = 1) -> Array:
    """Put `before` zeros at the low end, `after` at the high ends and stride - 1 between elements; may be negative."""
    edges = ((0, 0, 0), (before, after[0], stride - 1), (before, after[1], stride - 1), (0, 0, 0))
    return lax.pad(x, jnp.zeros((), x.dtype), edges)


def _taps(x: Array, out: tuple[int, int], kernel: int, stride: int, axis: int = 1) -> list[Array]:
    """The k*k strided views of a padded image (its height on `axis`) that meet each element of the kernel."""
    rows, columns = ((size - 1) * stride + 1 for size in out)
    before = (slice(None),) * axis
    return [
        x[(*before, slice(i, i + rows, stride), slice(j, j + columns, stride))]
        for i in range(kernel)
        for j in range(kernel)
    ]


def _correlate(padded: Array, w: Array, out: tuple[int, int], stride: int) -> Array:
    """Sum of the k*k shifted images, each times its kernel element: depthwise convolution of a padded image."""
    kernel = w.shape[0]
    taps = _taps(materialise(padded), out, kernel, stride)
    y = taps[0] * w[0, 0]
    for t in range(1, kernel * kernel):
        y = y + taps[t] * w[t // kernel, t % kernel]
    return materialise(y)


def _shift_forward(x: Array, w: Array, stride: int, padding: int) -> Array:
    kernel = w.shape[0]
    out = (_window(x.shape[1], kernel, stride, padding), _window(x.shape[2], kernel, stride, padding))
    return _correlate(_pad(x, padding, (padding, padding)), w, out, stride)


def _shift_backward(x: Array, w: Array, g: Array, stride: int, padding: int) -> tuple[Array, Array]:
    """Gradients of input and kernel. The kernel's is a scan over images with one accumulator per kernel element."""
    x, g = materialise((x, g))
    kernel, (height, width, channels), out = w.shape[0], x.shape[1:], (g.shape[1], g.shape[2])
    spread = [(size - 1) * stride + 1 for size in out]
    after = (height + padding - spread[0], width + padding - spread[1])
    dx = _correlate(_pad(g, kernel - 1 - padding, after, stride), w[::-1, ::-1], (height, width), 1)

    def image(sums: list[Array], pair: tuple[Array, Array]) -> tuple[list[Array], None]:
        taps = _taps(pair[0], out, kernel, stride, axis=0)
        return [total + tap * pair[1] for total, tap in zip(sums, taps, strict=True)], None

    zeros = [jnp.zeros((*out, channels), x.dtype) for _ in range(kernel * kernel)]
    sums, _ = lax.scan(image, zeros, (_pad(x, padding, (padding, padding)), g))
    dw = jnp.stack([total.reshape(-1, channels).sum(0) for total in sums])
    return dx, dw.reshape(kernel, kernel, channels)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _shift(x: Array, w: Array, stride: int, padding: int) -> Array:
    return _shift_forward(x, w, stride, padding)


def _shift_fwd(x: Array, w: Array, stride: int, padding: int) -> tuple[Array, tuple[Array, Array]]:
    return _shift_forward(x, w, stride, padding), (x, w)


def _shift_bwd(stride: int, padding: int, kept: tuple[Array, Array], g: Array) -> tuple[Array, Array]:
    return _shift_backward(*kept, g, stride, padding)


_shift.defvjp(_shift_fwd, _shift_bwd)


def grouped(x: Array, w: Array, stride: int, padding: int, groups: int) -> Array:
    """Convolution as the backend's library does it; w is [k, k, channels / groups, filters]."""
    edges = [(padding, padding)] * 2
    return lax.conv_general_dilated(x, w, (stride, stride), edges, dimension_numbers=_NHWC, feature_group_count=groups)


def switch(index: Array, branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    """`lax.switch`, in whose branches convolutions have a form of their own.

    A CPU's library is not called from within a branch: XLA writes loops instead, 15 to 80 times slower than a matrix
    product of windows, which elsewhere takes up to twice as long as the library.
    """

    def marked(branch: Callable[..., Any]) -> Callable[..., Any]:
        def run(*operands: Any) -> Any:
            before = _IN_BRANCH.set(True)
            try:
                return branch(*operands)
            finally:
                _IN_BRANCH.reset(before)

        return run

    return lax.switch(index, [marked(branch) for branch in branches], *operands)


def _windows(padded: Array, kernel: int, out: tuple[int, int], stride: int) -> Array:
    """The windows of a padded image as rows [n * height * width, k * k * channels]."""
    windows = jnp.concatenate(_taps(padded, out, kernel, stride), axis=-1)
    return windows.reshape(-1, windows.shape[-1])


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _product(x: Array, w: Array, stride: int, padding: int) -> Array:
    """Convolution of x [n, h, w, c] with w [k, k, c, filters] as a matrix product of windows."""
    kernel = w.shape[0]
    out = (_window(x.shape[1], kernel, stride, padding), _window(x.shape[2], kernel, stride, padding))
    rows = _windows(_pad(x, padding, (padding, padding)), kernel, out, stride)
    return jnp.dot(rows, w.reshape(-1, w.shape[-1])).reshape(len(x), *out, w.shape[-1])


def _product_fwd(x: Array, w: Array, stride: int, padding: int) -> tuple[Array, tuple[Array, Array]]:
    return _product(x, w, stride, padding), (x, w)


def _product_bwd(stride: int, padding: int, kept: tuple[Array, Array], g: Array) -> tuple[Array, Array]:
    (x, w), g = kept, materialise(g)
    kernel, (height, width), out = w.shape[0], x.shape[1:3], (g.shape[1], g.shape[2])
    rows = materialise(_windows(_pad(x, padding, (padding, padding)), kernel, out, stride))
    dw = jnp.dot(rows.T, g.reshape(-1, g.shape[-1])).reshape(w.shape)
    spread = [(size - 1) * stride + 1 for size in out]
    after = (height + padding - spread[0], width + padding - spread[1])
    turned = jnp.swapaxes(w[::-1, ::-1], 2, 3).reshape(-1, x.shape[-1])
    dx = jnp.dot(_windows(_pad(g, kernel - 1 - padding, after, stride), kernel, (height, width), 1), turned)
    return dx.reshape(x.shape), dw


_product.defvjp(_product_fwd, _product_bwd)


def crop(w: Array, size: int) -> Array:
    """The centre of a kernel [k, k, ...]."""
    edge = (w.shape[0] - size) // 2
    return w[edge : edge + size, edge : edge + size]


@partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def _shift_of(x: Array, w: Array, choice: Array, sizes: tuple[int, ...], stride: int, padding: int) -> Array:
    return _shift_of_fwd(x, w, choice, sizes, stride, padding)[0]


def _shift_of_fwd(
    x: Array, w: Array, choice: Array, sizes: tuple[int, ...], stride: int, padding: int
) -> tuple[Array, tuple[Array, Array, Array]]:
    def branch(size: int) -> Callable[[Array, Array], Array]:
        less = (w.shape[0] - size) // 2
        return lambda x, w: _shift_forward(x, crop(w, size), stride, padding - less)

    return lax.switch(choice, [branch(size) for size in sizes], x, w), (x, w, choice)


def _shift_of_bwd(
    sizes: tuple[int, ...], stride: int, padding: int, kept: tuple[Array, Array, Array], g: Array
) -> tuple[Array, Array, None]:
    x, w, choice = kept

    def branch(size: int) -> Callable[[Array, Array, Array], tuple[Array, Array]]:
        less = (w.shape[0] - size) // 2

        def run(x: Array, w: Array, g: Array) -> tuple[Array, Array]:
            dx, dw = _shift_backward(x, crop(w, size), g, stride, padding - less)
            return dx, jnp.pad(dw, ((less, less), (less, less), (0, 0)))

        return run

    dx, dw = lax.switch(choice, [branch(size) for size in sizes], x, w, g)
    return dx, dw, None


_shift_of.defvjp(_shift_of_fwd, _shift_of_bwd)


@dataclass(frozen=True, slots=True)
class Kernels:
    """An elastic kernel: the sizes there are, and which one is active, an int32 known at run time."""

    sizes: tuple[int, ...]
    choice: Array


def depthwise(
    x: Array,
    w: Array,
    stride: int = 1,
    padding: int | None = None,
    kernels: Kernels | None = None,
    active: Array | None = None,
) -> Array:
    """Depthwise convolution of x [n, h, w, c] with w [k, k, c], or with the centre of w that `kernels` chooses.

    `padding` is that of the full kernel, by default k // 2. Where an int32 `active` is given, channels of x from there
    on must be zero; on a CPU they and the taps that were not chosen cost little or nothing.
    """
    size, channels = w.shape[0], x.shape[-1]
    padding = size // 2 if padding is None else padding
    if jax.default_backend() == "cpu":
        if x.dtype == w.dtype == jnp.float32 and native.available():
            side = jnp.asarray(size if kernels is None else jnp.asarray(kernels.sizes)[kernels.choice], jnp.int32)
            count = jnp.asarray(channels if active is None else active, jnp.int32)
            return native.depthwise(x, w, side, count, stride, padding)
        if kernels is None:
            return _shift(x, w, stride, padding)
        return _shift_of(x, w, kernels.choice, kernels.sizes, stride, padding)
    if kernels is not None:
        w = w * centre_mask(size, kernels)[:, :, None].astype(w.dtype)
    return grouped(x, w[:, :, None], stride, padding, channels)


def centre_mask(kernel: int, kernels: Kernels) -> Array:
    """Bool [kernel, kernel]: the centred square of the chosen size."""
    distance = jnp.abs(jnp.arange(kernel) - (kernel - 1) / 2)
    inside = distance <= jnp.asarray(kernels.sizes)[kernels.choice] / 2 - 0.5
    return inside[:, None] & inside[None, :]


def convolution(x: Array, w: Array, stride: int = 1, padding: int = 0, groups: int = 1) -> Array:
    """Any convolution but a depthwise one of x [n, h, w, c] with w [k, k, c / groups, filters]."""
    kernel, filters = w.shape[0], w.shape[-1]
    if kernel == 1 and padding == 0 and groups == 1:
        if stride > 1:
            x = x[:, ::stride, ::stride]
        return jnp.dot(x.reshape(-1, x.shape[-1]), w[0, 0]).reshape(*x.shape[:-1], filters)
    if jax.default_backend() == "cpu" and groups == 1 and _IN_BRANCH.get():
        return _product(x, w, stride, padding)
    if jax.default_backend() == "cpu" and 1 < groups <= _MOST_SPLIT_GROUPS:
        parts = zip(jnp.split(x, groups, -1), jnp.split(w, groups, -1), strict=True)
        return jnp.concatenate([grouped(part, kernel_of, stride, padding, 1) for part, kernel_of in parts], -1)
    return grouped(x, w, stride, padding, groups)


def average_pool(x: Array, kernel: int, stride: int, padding: int) -> Array:
    """Means of windows; zeros of the padding count."""
    window, edges = (1, kernel, kernel, 1), ((0, 0), (padding, padding), (padding, padding), (0, 0))
    total = lax.reduce_window(x, 0.0, lax.add, window, (1, stride, stride, 1), edges)
    return cast(Array, total / (kernel * kernel))


def max_pool(x: Array, kernel: int, stride: int, padding: int) -> Array:
    """Maxima of windows; the padding never wins."""
    window, edges = (1, kernel, kernel, 1), ((0, 0), (padding, padding), (padding, padding), (0, 0))
    return cast(Array, lax.reduce_window(x, -jnp.inf, lax.max, window, (1, stride, stride, 1), edges))


def _identity(x: Array) -> Array:
    return x


#: ONNX's HardSigmoid with alpha 1/6 and beta 1/2, GELU with the error function.
ACTIVATIONS: Final[Mapping[str, Callable[[Array], Array]]] = {
    "": _identity,
    "relu": jax.nn.relu,
    "relu6": jax.nn.relu6,
    "hard_sigmoid": jax.nn.hard_sigmoid,
    "hard_swish": jax.nn.hard_swish,
    "silu": jax.nn.silu,
    "gelu": partial(jax.nn.gelu, approximate=False),
}
