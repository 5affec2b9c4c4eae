"""Network-to-network and network-to-kernels passes: what a runtime does to a graph before it runs it.

Latency models and exporters use the same passes, so that what is priced is what is deployed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from search_spaces.ir import DTYPE_BYTES, Builder, Network, Op, Ref
from search_spaces.operators import ACTIVATIONS, VIEWS

Weights = Mapping[str, NDArray[np.float32]]

OpClass = Literal[
    "conv", "pointwise", "depthwise", "dense", "matmul", "pool", "elementwise", "normalisation", "softmax", "copy"
]
#: The classes of kernels that latency models price apart; every operator but views and inputs falls into one.
OP_CLASSES: Final[tuple[OpClass, ...]] = (
    "conv", "pointwise", "depthwise", "dense", "matmul", "pool", "elementwise", "normalisation", "softmax", "copy",
)  # fmt: skip

#: What a runtime may merge into the convolution or dense layer before it; device profiles list those that apply.
FUSIONS: Final = frozenset({"conv_bn", "conv_activation", "conv_add"})

_CLASS_OF_KIND: Final[Mapping[str, OpClass]] = {
    "dense": "dense",
    "matmul": "matmul",
    "avg_pool": "pool",
    "max_pool": "pool",
    "global_pool": "pool",
    "batch_norm": "normalisation",
    "layer_norm": "normalisation",
    "softmax": "softmax",
    "concat": "copy",
    "transpose": "copy",
    "add": "elementwise",
    "mul": "elementwise",
    **dict.fromkeys(ACTIVATIONS, "elementwise"),
}


@dataclass(frozen=True, slots=True)
class Kernel:
    """One launch: the operators merged into it and what it computes and moves for one sample."""

    name: str
    op_class: OpClass
    ops: tuple[str, ...]
    flops: int
    macs: int
    input_bytes: int
    weight_bytes: int
    output_bytes: int


def readers(network: Network) -> list[list[int]]:
    """For each operator, the indices of the operators that read its output."""
    result: list[list[int]] = [[] for _ in network.ops]
    for index, op in enumerate(network.ops):
        for source, _ in op.inputs:
            result[source].append(index)
    return result


def op_class(network: Network, op: Op) -> OpClass:
    """The class under which an operator is priced; a 1x1 convolution of a 1x1 map is a dense layer."""
    if op.kind != "conv":
        return _CLASS_OF_KIND[op.kind]
    channels = network.input_shapes(op)[0][0]
    if op.attr("groups") == channels > 1:
        return "depthwise"
    if op.attr("kernel") == 1 and op.attr("groups") == 1:
        return "dense" if op.shape[1:] == (1, 1) else "pointwise"
    return "conv"


def fuse(network: Network, fusions: frozenset[str] = FUSIONS) -> tuple[Kernel, ...]:
    """The kernels a runtime launches for one sample when it applies the named fusions, each after those it reads.

    An operator joins the convolution or dense kernel before it if it is that tensor's only reader and the rule for its
    kind is on; a batch norm only directly behind a convolution, where it can be folded. Raises ValueError for an
    unknown fusion.
    """
    if unknown := fusions - FUSIONS:
        raise ValueError(f"unknown fusion {min(unknown)!r}; there are {', '.join(sorted(FUSIONS))}")
    rule = {"batch_norm": "conv_bn", "add": "conv_add", **dict.fromkeys(ACTIVATIONS, "conv_activation")}
    read = readers(network)
    answers = set(network.exits)
    group_of: dict[int, int] = {}
    groups: list[list[int]] = []
    for index, op in enumerate(network.ops):
        if op.kind in VIEWS:
            continue
        joined = -1
        if rule.get(op.kind) in fusions:
            for source, _ in op.inputs:
                group = group_of.get(source, -1)
                head = network.ops[groups[group][0]].kind if group >= 0 else ""
                tail_only = group >= 0 and groups[group][-1] == source and read[source] == [index]
                foldable = network.ops[source].kind == "conv" if op.kind == "batch_norm" else head in ("conv", "dense")
                if foldable and tail_only and source not in answers:
                    joined = group
                    break
        if joined < 0:
            joined = len(groups)
            groups.append([])
        groups[joined].append(index)
        group_of[index] = joined
    return tuple(_kernel(network, group) for group in sorted(groups, key=lambda group: group[-1]))


def _kernel(network: Network, group: list[int]) -> Kernel:
    inside = set(group)
    ops = [network.ops[index] for index in group]
    sources = {s for op in ops for s, _ in op.inputs} - inside
    return Kernel(
        name=ops[0].name,
        op_class=op_class(network, ops[0]),
        ops=tuple(op.name for op in ops),
        flops=sum(network.op_flops(op) for op in ops),
        macs=sum(network.op_macs(op) for op in ops),
        input_bytes=sum(network.ops[s].bytes for s in sources),
        weight_bytes=sum(w.size * DTYPE_BYTES[op.dtype] for op in ops for w in network.weights(op).values()),
        output_bytes=ops[-1].bytes,
    )


def fold_batch_norm(network: Network, weights: Weights | None = None) -> tuple[Network, dict[str, NDArray[np.float32]]]:
    """Merge every batch norm into the convolution it alone reads; the outputs stay the same.

    Returns the new network, whose convolutions keep their names and gain a bias, and its weights (empty if none were
    given): `W' = W * f`, `b' = offset + (b - mean) * f` with `f = scale / sqrt(variance + eps)`.
    """
    read = readers(network)
    answers = set(network.exits)
    conv_of = {
        index: op.inputs[0][0]
        for index, op in enumerate(network.ops)
        if op.kind == "batch_norm"
        and network.ops[op.inputs[0][0]].kind == "conv"
        and read[op.inputs[0][0]] == [index]
        and op.inputs[0][0] not in answers
    }
    folded = set(conv_of.values())
    builder = Builder()
    place: dict[int, Ref] = {}
    result: dict[str, NDArray[np.float32]] = {}
    for index, op in enumerate(network.ops):
        if index in folded:
            continue
        if index in conv_of:
            conv = network.ops[conv_of[index]]
            place[index] = builder.copy(conv, *(place[s] for s, _ in conv.inputs), bias=True)
            if weights is not None:
                result |= _folded(conv, op, weights)
            continue
        place[index] = builder.copy(op, *(place[s] for s, _ in op.inputs))
        if weights is not None:
            result |= {f"{op.name}/{p}": np.asarray(weights[f"{op.name}/{p}"]) for p in network.weights(op)}
    return builder.network(*(place[e] for e in network.exits)), result


def _folded(conv: Op, norm: Op, weights: Weights) -> dict[str, NDArray[np.float32]]:
    def of(op: Op, param: str) -> NDArray[np.float64]:
        return np.asarray(weights[f"{op.name}/{param}"], np.float64)

    factor = of(norm, "scale") / np.sqrt(of(norm, "variance") + norm.attr("eps"))
    bias = of(conv, "bias") if conv.attr("bias") else 0.0
    kernel = of(conv, "kernel") * factor[:, None, None, None]
    return {
        f"{conv.name}/kernel": kernel.astype(np.float32),
        f"{conv.name}/bias": (of(norm, "offset") + (bias - of(norm, "mean")) * factor).astype(np.float32),
    }
