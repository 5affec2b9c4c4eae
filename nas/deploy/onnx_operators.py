"""How each operator is written as nodes of an ONNX graph: one table of writers.

Where ONNX leaves a choice: average pooling counts padded zeros, GELU is the exact one with erf, hard sigmoid has the
slope 1/6.

Format: https://github.com/onnx/onnx/blob/main/docs/Operators.md
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from search_spaces.op import Op
from search_spaces.operators import Shape, conv_padding
from search_spaces.passes import Weights

SYMBOLIC_BATCH: Final = "N"


@dataclass
class Graph:
    """The nodes and constants collected so far."""

    batch: int | None
    weights: Weights
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, onnx.TensorProto] = field(default_factory=dict)
    inputs: list[onnx.ValueInfoProto] = field(default_factory=list)

    def constant(self, name: str, value: Any) -> str:
        # np.ascontiguousarray would turn a scalar into a vector of one, which no checker refuses and `If` trips over.
        self.constants.setdefault(name, numpy_helper.from_array(np.array(value, order="C"), name))
        return name

    def scalar(self, value: float) -> str:
        return self.constant(f"scalar/{value!r}", np.float32(value))

    def info(self, name: str, shape: Shape) -> onnx.ValueInfoProto:
        batch: int | str = SYMBOLIC_BATCH if self.batch is None else self.batch
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, *shape])


@dataclass(frozen=True)
class Place:
    """One operator in its place: what its writer needs to know."""

    graph: Graph
    op: Op
    inputs: tuple[str, ...]
    input_shapes: tuple[Shape, ...]
    output: str

    def node(self, kind: str, *inputs: str, output: str | None = None, **attrs: Any) -> str:
        """Append a node; without inputs it reads those of the operator, without an output it makes the operator's."""
        result = output or self.output
        self.graph.nodes.append(helper.make_node(kind, inputs or self.inputs, [result], name=result, **attrs))
        return result

    def inner(self, name: str) -> str:
        """The name of a tensor inside an operator that takes several nodes."""
        return f"{self.op.name}/{name}"

    def weight(self, param: str) -> str:
        """The operator's stored array as a constant of the graph."""
        key = self.inner(param)
        return self.graph.constant(key, np.asarray(self.graph.weights[key], np.float32))


def _input(place: Place) -> None:
    place.graph.inputs.append(place.graph.info(place.output, place.op.shape))


def _simple(kind: str, **attrs: Any) -> Callable[[Place], None]:
    def write(place: Place) -> None:
        place.node(kind, **attrs)

    return write


def _window(op: Op) -> dict[str, Any]:
    kernel, stride, padding = op.attr("kernel"), op.attr("stride"), conv_padding(op.attributes)
    return {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [padding] * 4}


def _conv(place: Place) -> None:
    params = [place.weight(p) for p in ("kernel", "bias")[: 1 + place.op.attr("bias")]]
    place.node("Conv", *place.inputs, *params, group=place.op.attr("groups"), **_window(place.op))


def _dense(place: Place) -> None:
    kernel, bias = place.weight("kernel"), place.op.attr("bias")
    if len(place.op.shape) == 1:
        place.node("Gemm", *place.inputs, kernel, *([place.weight("bias")] if bias else []))
    elif bias:
        product = place.node("MatMul", *place.inputs, kernel, output=place.inner("product"))
        place.node("Add", product, place.weight("bias"))
    else:
        place.node("MatMul", *place.inputs, kernel)


def _batch_norm(place: Place) -> None:
    params = [place.weight(p) for p in ("scale", "offset", "mean", "variance")]
    place.node("BatchNormalization", *place.inputs, *params, epsilon=place.op.attr("eps"))


def _layer_norm(place: Place) -> None:
    params = [place.weight(p) for p in ("scale", "offset")]
    place.node("LayerNormalization", *place.inputs, *params, axis=-1, epsilon=place.op.attr("eps"))


def _relu6(place: Place) -> None:
    place.node("Clip", *place.inputs, place.graph.scalar(0.0), place.graph.scalar(6.0))


def _silu(place: Place) -> None:
    place.node("Mul", *place.inputs, place.node("Sigmoid", output=place.inner("sigmoid")))


def _gelu(place: Place) -> None:
    # The order of these nodes is the pattern that ONNX Runtime recognises and runs as one kernel.
    scalar = place.graph.scalar
    scaled = place.node("Div", *place.inputs, scalar(math.sqrt(2)), output=place.inner("scaled"))
    erf = place.node("Erf", scaled, output=place.inner("erf"))
    shifted = place.node("Add", erf, scalar(1.0), output=place.inner("shifted"))
    product = place.node("Mul", *place.inputs, shifted, output=place.inner("product"))
    place.node("Mul", product, scalar(0.5))


def _avg_pool(place: Place) -> None:
    place.node("AveragePool", count_include_pad=1, **_window(place.op))


def _max_pool(place: Place) -> None:
    place.node("MaxPool", **_window(place.op))


def _concat(place: Place) -> None:
    place.node("Concat", axis=place.op.attr("axis") + 1)


def _softmax(place: Place) -> None:
    axis = place.op.attr("axis")
    place.node("Softmax", axis=axis if axis < 0 else axis + 1)


def _reshape(place: Place) -> None:
    # A zero copies that axis of the input, here the batch, whether it is a number or a symbol.
    shape = place.graph.constant(place.inner("shape"), np.array([0, *place.op.shape], np.int64))
    place.node("Reshape", *place.inputs, shape)


def _transpose(place: Place) -> None:
    place.node("Transpose", perm=[0, *(axis + 1 for axis in place.op.attr("perm"))])


#: One writer per kind of operator; a test compares the keys with those of `OPERATORS`.
WRITERS: Final[Mapping[str, Callable[[Place], None]]] = {
    "input": _input,
    "conv": _conv,
    "dense": _dense,
    "matmul": _simple("MatMul"),
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    "relu": _simple("Relu"),
    "relu6": _relu6,
    "hard_sigmoid": _simple("HardSigmoid", alpha=1 / 6, beta=0.5),
    "hard_swish": _simple("HardSwish"),
    "silu": _silu,
    "gelu": _gelu,
    "add": _simple("Add"),
    "mul": _simple("Mul"),
    "concat": _concat,
    "avg_pool": _avg_pool,
    "max_pool": _max_pool,
    "global_pool": _simple("GlobalAveragePool"),
    "reshape": _reshape,
    "transpose": _transpose,
    "softmax": _softmax,
}
