"""Runs a network of the IR in JAX: one row per kind of operator, and a loop over the operators.

Outside this file tensors have the IR's layout, channels first. Inside, images are [batch, height, width, channels];
whatever has another rank keeps the IR's order of axes behind the batch. Weights are stored as the IR says and are
brought into the backend's order within the compiled program.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import jax
import jax.numpy as jnp
from jax import Array

from nas.nn import layers, normalisation
from search_spaces.ir import Network
from search_spaces.op import Op
from search_spaces.operators import ACTIVATIONS, conv_padding
from search_spaces.passes import readers

#: "train" normalises by the batch's statistics, "calibrate" returns these as well, "eval" uses given ones.
Mode = Literal["train", "eval", "calibrate"]

#: Arrays by weight name `operator/parameter`.
Arrays = Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class Call:
    """One operator about to run: its attributes, inputs, weights by parameter, and what surrounds it.

    `activation` is merged behind a batch norm; `kernels`, `active` (the channels that are not zero) and `counted` (what
    each feature of a layer norm counts) are set where the operator is elastic; a batch norm that calibrates writes its
    statistics into `found`.
    """

    op: Op
    inputs: tuple[Array, ...]
    weights: Arrays
    mode: Mode
    activation: str = ""
    kernels: layers.Kernels | None = None
    active: Array | None = None
    counted: Array | None = None
    found: dict[str, Array] = field(default_factory=dict)


Form = Callable[[Call], Array]


def to_private(x: Array) -> Array:
    """From the IR's layout to the interpreter's: an image's channels last."""
    return jnp.moveaxis(x, 1, -1) if x.ndim == 4 else x


def to_ir(x: Array) -> Array:
    """From the interpreter's layout to the IR's: an image's channels first."""
    return jnp.moveaxis(x, -1, 1) if x.ndim == 4 else x


def _axis(x: Array, axis: int) -> int:
    """The interpreter's axis of an array for an axis of the IR's shape, which has no batch."""
    rank = x.ndim - 1
    axis %= rank
    return (3, 1, 2)[axis] if rank == 3 else axis + 1


def _conv(call: Call) -> Array:
    op, (x,) = call.op, call.inputs
    w = jnp.transpose(call.weights["kernel"], (2, 3, 1, 0))
    padding, stride, groups = conv_padding(op.attributes), op.attr("stride"), op.attr("groups")
    if groups == w.shape[-1] == x.shape[-1] > 1:
        y = layers.depthwise(x, w[:, :, 0], stride, padding, call.kernels, call.active)
    else:
        if call.kernels is not None:
            w = w * layers.centre_mask(w.shape[0], call.kernels)[:, :, None, None].astype(w.dtype)
        y = layers.convolution(x, w, stride, padding, groups)
    return y + call.weights["bias"] if op.attr("bias") else y


def _dense(call: Call) -> Array:
    y = jnp.matmul(to_ir(call.inputs[0]), call.weights["kernel"])
    return to_private(y + call.weights["bias"] if call.op.attr("bias") else y)


def _matmul(call: Call) -> Array:
    a, b = call.inputs
    return to_private(jnp.matmul(to_ir(a), to_ir(b)))


def _batch_norm(call: Call) -> Array:
    (x,), w, eps = call.inputs, call.weights, call.op.attr("eps")
    # A sequence's channels are its first axis, everything else has them last.
    x = jnp.moveaxis(x, 1, -1) if x.ndim == 3 else x
    if call.mode == "train":
        y = normalisation.batch_norm(x, w["scale"], w["offset"], eps, call.activation)
    else:
        if call.mode == "eval":
            mean, variance = w["mean"], w["variance"]
        else:
            mean, variance = normalisation.batch_statistics(x)
            call.found[f"{call.op.name}/mean"], call.found[f"{call.op.name}/variance"] = mean, variance
        factor, constant = normalisation.affine(w["scale"], w["offset"], mean, variance, eps)
        y = layers.ACTIVATIONS[call.activation](x * factor + constant)
    return jnp.moveaxis(y, -1, 1) if y.ndim == 3 else y


def _layer_norm(call: Call) -> Array:
    w = call.weights
    y = normalisation.layer_norm(to_ir(call.inputs[0]), w["scale"], w["offset"], call.op.attr("eps"), call.counted)
    return to_private(y)


def _activation(kind: str) -> Form:
    return lambda call: layers.ACTIVATIONS[kind](call.inputs[0])


def _pool(pool: Callable[[Array, int, int, int], Array]) -> Form:
    def form(call: Call) -> Array:
        attrs = call.op.attributes
        return pool(call.inputs[0], attrs["kernel"], attrs["stride"], conv_padding(attrs))

    return form


def _concat(call: Call) -> Array:
    return jnp.concatenate(call.inputs, _axis(call.inputs[0], call.op.attr("axis")))


def _reshape(call: Call) -> Array:
    (x,) = call.inputs
    return to_private(to_ir(x).reshape(len(x), *call.op.attr("shape")))


def _transpose(call: Call) -> Array:
    order = (0, *(axis + 1 for axis in call.op.attr("perm")))
    return to_private(jnp.transpose(to_ir(call.inputs[0]), order))


def _softmax(call: Call) -> Array:
    (x,) = call.inputs
    return jax.nn.softmax(x, axis=_axis(x, call.op.attr("axis")))


FORMS: Final[Mapping[str, Form]] = {
    "input": lambda call: call.inputs[0],
    "conv": _conv,
    "dense": _dense,
    "matmul": _matmul,
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    **{kind: _activation(kind) for kind in layers.ACTIVATIONS if kind},
    "add": lambda call: call.inputs[0] + call.inputs[1],
    "mul": lambda call: call.inputs[0] * call.inputs[1],
    "concat": _concat,
    "avg_pool": _pool(layers.average_pool),
    "max_pool": _pool(layers.max_pool),
    "global_pool": lambda call: call.inputs[0].mean((1, 2), keepdims=True),
    "reshape": _reshape,
    "transpose": _transpose,
    "softmax": _softmax,
}


@dataclass(frozen=True, slots=True)
class ForwardResult:
    """What a run gives: the exits' answers in order, and new statistics if calibrating.

    All have the IR's layout behind the batch.
    """

    outputs: tuple[Array, ...]
    stats: dict[str, Array]


def merged_activations(ops: Sequence[Op], read: Sequence[Sequence[int]], kept: frozenset[int]) -> dict[int, int]:
    """Batch norms, by index, with the activation that alone reads them; those in `kept` are left alone."""
    return {
        index: readers[0]
        for index, (op, readers) in enumerate(zip(ops, read, strict=True))
        if op.kind == "batch_norm" and len(readers) == 1 and ops[readers[0]].kind in ACTIVATIONS and index not in kept
    }


def apply(network: Network, params: Arrays, stats: Arrays, inputs: Arrays, mode: Mode = "eval") -> ForwardResult:
    """Run `network` on named inputs [batch, ...] in the IR's layout.

    `params` and `stats` (mean and variance of the batch norms; unused in mode "train") hold arrays by weight name.
    Raises KeyError for a missing input or weight.
    """
    merged = merged_activations(network.ops, readers(network), frozenset(network.exits))
    behind = set(merged.values())
    tensors: list[Array] = []
    found: dict[str, Array] = {}
    for index, op in enumerate(network.ops):
        if op.kind == "input":
            tensors.append(to_private(inputs[op.name]))
            continue
        sources = tuple(tensors[source] for source, _ in op.inputs)
        if index in behind:
            tensors.append(sources[0])
            continue
        weights = {
            param: (params if weight.trainable else stats)[f"{op.name}/{param}"]
            for param, weight in network.weights(op).items()
            if weight.trainable or mode == "eval"
        }
        activation = network.ops[merged[index]].kind if index in merged else ""
        tensors.append(FORMS[op.kind](Call(op, sources, weights, mode, activation, found=found)))
    outputs = tuple(to_ir(tensors[index]) for index in network.exits)
    return ForwardResult(outputs, found)


def split(network: Network, weights: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The weights of `network` as (params, stats); raises KeyError for a missing one."""
    shapes = network.weight_shapes
    return (
        {name: weights[name] for name, weight in shapes.items() if weight.trainable},
        {name: weights[name] for name, weight in shapes.items() if not weight.trainable},
    )
