"""Small networks that tests share, random weights for them, and what they compute, in plain float64 numpy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from search_spaces.ir import Builder, Network
from search_spaces.mobile import conv_bn, linear_exit, squeeze_excite

Array = NDArray[np.float64]


def single_exit() -> Network:
    """A convolution, a residual, a classifier."""
    b = Builder()
    x = conv_bn(b, "stem", b.input("image", (3, 8, 8)), 4, 3, "relu", stride=2)
    y = conv_bn(b, "body", x, 4, 3, "relu")
    return b.network(linear_exit(b, "final", b("add", "residual", y, x), 5))


def three_exits() -> Network:
    """Three answers; a tensor of the stem skips the second segment, and the image itself enters the last."""
    b = Builder()
    image = b.input("image", (3, 8, 8))
    stem = conv_bn(b, "stem", image, 4, 3, "hard_swish")
    first = linear_exit(b, "exit0", stem, 5)
    body = squeeze_excite(b, "body.se", conv_bn(b, "body", stem, 4, 3, "relu6", groups=4), 2)
    second = linear_exit(b, "exit1", body, 5)
    joined = b("concat", "joined", b("add", "residual", body, stem), image)
    x = b("avg_pool", "pool", conv_bn(b, "tail", joined, 6, 1, "silu"), kernel=3, stride=2, padding=1)
    return b.network(first, second, linear_exit(b, "final", x, 5))


def random_weights(network: Network, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Arrays for every operator; variances and scales are positive."""
    rng = np.random.default_rng(seed)
    result = {}
    for key, weight in network.weight_shapes.items():
        positive = weight.role in ("scale", "variance")
        value = rng.uniform(0.5, 2.0, weight.shape) if positive else rng.normal(0, 0.5, weight.shape)
        result[key] = value.astype(np.float32)
    return result


def _windows(x: Array, kernel: int, stride: int, padding: int) -> Array:
    """[channels, out height, out width, kernel, kernel] of an image padded with zeros."""
    padded = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    return np.asarray(sliding_window_view(padded, (kernel, kernel), (1, 2))[:, ::stride, ::stride])


def _conv(x: Array, w: Mapping[str, Array], attrs: Mapping[str, Any]) -> Array:
    windows = _windows(x, attrs["kernel"], attrs["stride"], attrs["padding"])
    groups = attrs["groups"]
    kernels = np.split(w["kernel"], groups)
    y = np.concatenate(
        [np.einsum("chwij,ocij->ohw", part, k) for part, k in zip(np.split(windows, groups), kernels, strict=True)]
    )
    return y + w["bias"][:, None, None] if attrs["bias"] else y


def _norm(x: Array, w: Mapping[str, Array], eps: float) -> Array:
    column = {name: value.reshape(-1, *[1] * (x.ndim - 1)) for name, value in w.items()}
    return (x - column["mean"]) / np.sqrt(column["variance"] + eps) * column["scale"] + column["offset"]


def _apply(kind: str, xs: list[Array], w: Mapping[str, Array], attrs: Mapping[str, Any]) -> Array:
    x = xs[0]
    match kind:
        case "conv":
            return _conv(x, w, attrs)
        case "batch_norm":
            return _norm(x, w, attrs["eps"])
        case "dense":
            return x @ w["kernel"] + w["bias"]
        case "relu" | "relu6":
            return np.clip(x, 0, 6 if kind == "relu6" else np.inf)
        case "hard_sigmoid" | "hard_swish":
            gate = np.clip(x / 6 + 0.5, 0, 1)
            return gate if kind == "hard_sigmoid" else x * gate
        case "silu":
            return np.asarray(x / (1 + np.exp(-x)))
        case "add":
            return x + xs[1]
        case "mul":
            return x * xs[1]
        case "concat":
            return np.concatenate(xs, attrs["axis"])
        case "avg_pool":
            return np.asarray(_windows(x, attrs["kernel"], attrs["stride"], attrs["padding"]).mean((3, 4)))
        case "global_pool":
            return np.asarray(x.mean((1, 2), keepdims=True))
        case "reshape":
            return np.asarray(x.reshape(attrs["shape"]))
    raise NotImplementedError(kind)


def evaluate(network: Network, weights: Mapping[str, NDArray[Any]], inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The outputs of all operators by name, for one sample."""
    result: dict[str, Array] = {}
    for op in network.ops:
        if op.kind == "input":
            result[op.name] = inputs[op.name]
            continue
        arrays = {param: weights[f"{op.name}/{param}"].astype(np.float64) for param in network.weights(op)}
        result[op.name] = _apply(op.kind, [result[network.ops[s].name] for s, _ in op.inputs], arrays, op.attributes)
        assert result[op.name].shape == op.shape, op.name
    return result


def answers(network: Network, weights: Mapping[str, NDArray[Any]], image: Array) -> list[Array]:
    """The outputs of the exits for one image."""
    outputs = evaluate(network, weights, {"image": image})
    return [outputs[network.ops[index].name] for index in network.exits]
