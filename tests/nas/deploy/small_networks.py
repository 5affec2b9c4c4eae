"""Small networks with random weights, and what they compute, written a second time in plain numpy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.special import erf, expit, softmax

from search_spaces.ir import Builder, Network
from search_spaces.op import Ref
from search_spaces.operators import conv_padding

Array = NDArray[np.float32]

#: How images of `three_exits` are prepared.
PREPROCESSING = {
    "schema": 1,
    "size": [8, 8],
    "channels": 3,
    "mean": [0.1, 0.2, 0.3],
    "std": [0.5, 0.5, 0.5],
    "scale": 1 / 255,
    "class_names": ["a", "b", "c", "d", "e"],
}


def random_weights(network: Network, seed: int = 0, gain: float = 2.0) -> dict[str, Array]:
    """Every array of the network, statistics of batch norm included, so that folding is tested on real ones.

    The statistics do not belong to the activations: in a deep network a large `gain` lets those grow until the gates of
    squeeze and excitation, whose slope is then thousands, turn rounding into another answer.
    """
    rng = np.random.default_rng(seed)
    result = {}
    for key, weight in network.weight_shapes.items():
        if weight.role == "kernel":
            fan_in = np.prod(weight.shape[1:]) if len(weight.shape) == 4 else weight.shape[0]
            value = rng.normal(0, np.sqrt(gain / fan_in), weight.shape)
        elif weight.role in ("scale", "variance"):
            value = rng.uniform(0.5, 2.0, weight.shape)
        else:
            value = rng.normal(0, 0.5, weight.shape)
        result[key] = value.astype(np.float32)
    return result


def random_inputs(network: Network, batch: int = 1, seed: int = 1) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {op.name: rng.normal(0, 1, (batch, *op.shape)).astype(np.float32) for op in network.inputs}


def three_exits(size: int = 8, classes: int = 5) -> Network:
    """Three answers; batch norm everywhere, squeeze and excitation, and two tensors carried into the second segment."""
    b = Builder()
    x = _conv_bn(b, "stem", b.input("image", (3, size, size)), 8, 3, 1, "hard_swish")
    first = _head(b, "exit0", x, classes)
    # Two tensors cross the first cut: the stem's, and a convolution whose batch norm is behind the cut.
    early = b("conv", "side.conv", x, filters=8, kernel=1)
    first = b("add", "exit0.sum", first, _head(b, "exit0.side", early, classes))
    y = _conv_bn(b, "block1.depthwise", x, 8, 3, 1, "relu6", groups=8)
    gate = b("global_pool", "block1.squeeze", y)
    gate = b("conv", "block1.gate", gate, filters=8, kernel=1, bias=True)
    y = b("mul", "block1.scaled", y, b("hard_sigmoid", "block1.gated", gate))
    y = b("add", "block1.sum", y, b("batch_norm", "side.norm", early))
    second = _head(b, "exit1", y, classes)
    z = _conv_bn(b, "block2.conv", y, 16, 3, 2, "silu")
    return b.network(first, second, _head(b, "final", z, classes))


def one_exit(size: int = 8, classes: int = 5) -> Network:
    b = Builder()
    x = _conv_bn(b, "stem", b.input("image", (3, size, size)), 4, 3, 2, "relu")
    return b.network(_head(b, "final", x, classes))


def _conv_bn(b: Builder, name: str, x: Ref, filters: int, kernel: int, stride: int, act: str, groups: int = 1) -> Ref:
    x = b("conv", f"{name}.conv", x, filters=filters, kernel=kernel, stride=stride, groups=groups)
    return b(act, f"{name}.{act}", b("batch_norm", f"{name}.norm", x))


def _head(b: Builder, name: str, x: Ref, classes: int) -> Ref:
    x = b("global_pool", f"{name}.pool", x)
    x = b("reshape", f"{name}.flat", x, shape=(b.shape(x)[0],))
    return b("dense", f"{name}.dense", x, units=classes)


def _single(kind: str, *shapes: tuple[int, ...], **attrs: Any) -> Network:
    b = Builder()
    inputs = [b.input(f"x{number}", shape) for number, shape in enumerate(shapes)]
    return b.network(b(kind, "op", *inputs, **attrs))


def singles() -> dict[str, Network]:
    """Networks of one operator, each kind in every form that its writer tells apart."""
    image = (6, 7, 5)
    result = {
        "conv": _single("conv", image, filters=4, kernel=3),
        "conv even": _single("conv", image, filters=4, kernel=2, padding=1, stride=2, bias=True),
        "conv grouped": _single("conv", image, filters=9, kernel=5, groups=3, stride=2),
        "conv depthwise": _single("conv", image, filters=6, kernel=3, groups=6, padding=0, bias=True),
        "dense vector": _single("dense", (6,), units=4),
        "dense vector plain": _single("dense", (6,), units=4, bias=False),
        "dense tokens": _single("dense", (3, 6), units=4),
        "dense tokens plain": _single("dense", (2, 3, 6), units=4, bias=False),
        "matmul": _single("matmul", (3, 4), (4, 5)),
        "matmul heads": _single("matmul", (2, 3, 4), (2, 4, 5)),
        "batch_norm": _single("batch_norm", image, eps=1e-2),
        "batch_norm vector": _single("batch_norm", (6,)),
        "layer_norm": _single("layer_norm", (4, 6), eps=1e-2),
        "layer_norm vector": _single("layer_norm", (6,)),
        "add": _single("add", image, image),
        "add broadcast": _single("add", image, (6, 1, 1)),
        "mul": _single("mul", image, (6, 1, 5)),
        "concat": _single("concat", image, (2, 7, 5)),
        "concat last": _single("concat", (2, 3), (2, 4), (2, 1), axis=1),
        "avg_pool": _single("avg_pool", image, kernel=3, stride=2, padding=1),
        "avg_pool plain": _single("avg_pool", image, kernel=2, stride=2),
        "max_pool": _single("max_pool", image, kernel=3, stride=2, padding=1),
        "global_pool": _single("global_pool", image),
        "reshape": _single("reshape", image, shape=(6, 35)),
        "reshape vector": _single("reshape", image, shape=(210,)),
        "transpose": _single("transpose", (2, 3, 4), perm=(2, 0, 1)),
        "softmax": _single("softmax", (3, 4)),
        "softmax first": _single("softmax", (3, 4), axis=0),
        "input": _single("reshape", (3, 4), shape=(3, 4)),
    }
    kinds = ("relu", "relu6", "hard_sigmoid", "hard_swish", "silu", "gelu")
    return result | {kind: _single(kind, (64,)) for kind in kinds} | {"three exits": three_exits()}


def reference(network: Network, weights: Mapping[str, Array], inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Every tensor of the network by operator name, in float64, nothing folded."""
    values: dict[str, Any] = {}
    for op in network.ops:
        read = [values[network.ops[source].name] for source, _ in op.inputs]
        params = {p: weights[f"{op.name}/{p}"].astype(np.float64) for p in network.weights(op)}
        if op.kind == "input":
            values[op.name] = inputs[op.name].astype(np.float64)
        else:
            values[op.name] = _KINDS[op.kind](read, params, op.attributes)
        assert values[op.name].shape[1:] == op.shape, op
    return values


def _windows(x: Any, attrs: dict[str, Any], fill: float) -> Any:
    pad, k, s = conv_padding(attrs), attrs["kernel"], attrs["stride"]
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)), constant_values=fill)
    return sliding_window_view(padded, (k, k), (2, 3))[:, :, ::s, ::s]


def _conv(read: Any, params: Any, attrs: Any) -> Any:
    windows = np.split(_windows(read[0], attrs, 0.0), attrs["groups"], axis=1)
    kernels = np.split(params["kernel"], attrs["groups"])
    groups = [np.einsum("nihwkl,oikl->nohw", w, k) for w, k in zip(windows, kernels, strict=True)]
    return np.concatenate(groups, 1) + params.get("bias", np.zeros(1))[:, None, None]


def _batch_norm(read: Any, params: Any, attrs: Any) -> Any:
    shape = (-1, *[1] * (read[0].ndim - 2))
    centred = (read[0] - params["mean"].reshape(shape)) / np.sqrt(params["variance"].reshape(shape) + attrs["eps"])
    return centred * params["scale"].reshape(shape) + params["offset"].reshape(shape)


def _layer_norm(read: Any, params: Any, attrs: Any) -> Any:
    x = read[0]
    centred = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + attrs["eps"])
    return centred * params["scale"] + params["offset"]


def _hard_sigmoid(x: Any) -> Any:
    return np.clip(x + 3, 0, 6) / 6


_KINDS: Any = {
    "conv": _conv,
    "dense": lambda r, p, a: r[0] @ p["kernel"] + p.get("bias", 0.0),
    "matmul": lambda r, p, a: r[0] @ r[1],
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    "relu": lambda r, p, a: np.maximum(r[0], 0),
    "relu6": lambda r, p, a: np.clip(r[0], 0, 6),
    "hard_sigmoid": lambda r, p, a: _hard_sigmoid(r[0]),
    "hard_swish": lambda r, p, a: r[0] * _hard_sigmoid(r[0]),
    "silu": lambda r, p, a: r[0] * expit(r[0]),
    "gelu": lambda r, p, a: r[0] * 0.5 * (1 + erf(r[0] / np.sqrt(2))),
    "add": lambda r, p, a: r[0] + r[1],
    "mul": lambda r, p, a: r[0] * r[1],
    "concat": lambda r, p, a: np.concatenate(r, a["axis"] + 1),
    "avg_pool": lambda r, p, a: _windows(r[0], a, 0.0).mean((-1, -2)),
    "max_pool": lambda r, p, a: _windows(r[0], a, -np.inf).max((-1, -2)),
    "global_pool": lambda r, p, a: r[0].mean((2, 3), keepdims=True),
    "reshape": lambda r, p, a: r[0].reshape(len(r[0]), *a["shape"]),
    "transpose": lambda r, p, a: r[0].transpose(0, *(axis + 1 for axis in a["perm"])),
    "softmax": lambda r, p, a: softmax(r[0], a["axis"] if a["axis"] < 0 else a["axis"] + 1),
}
