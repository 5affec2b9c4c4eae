"""Writes a network as ONNX: one table of writers, straight from the operators, without a tracer in between.

Opset 17 and IR version 8, which every ONNX Runtime since 1.12 loads. Tensors carry the names of the operators that
make them, so that the answers of a graph are called after its exits and carried tensors find each other. Batch norm
is folded first, on the whole network; the only transposes in the graph are those of the network. Where ONNX leaves a
choice: average pooling counts padded zeros, GELU is the exact one with erf, hard sigmoid has the slope 1/6.

Format: https://github.com/onnx/onnx/blob/main/docs/Operators.md
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from nas.errors import InputError
from nas.process.files import atomic_write_bytes
from search_spaces.ir import Network, Op
from search_spaces.operators import Shape, conv_padding
from search_spaces.passes import Weights, fold_batch_norm

OPSET: Final = 17
IR_VERSION: Final = 8
SYMBOLIC_BATCH: Final = "N"


@dataclass
class _Graph:
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
class _Place:
    """One operator in its place: what its writer needs to know."""

    graph: _Graph
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


def _input(place: _Place) -> None:
    place.graph.inputs.append(place.graph.info(place.output, place.op.shape))


def _simple(kind: str, **attrs: Any) -> Callable[[_Place], None]:
    def write(place: _Place) -> None:
        place.node(kind, **attrs)

    return write


def _window(op: Op) -> dict[str, Any]:
    kernel, stride, padding = op.attr("kernel"), op.attr("stride"), conv_padding(op.attributes)
    return {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [padding] * 4}


def _conv(place: _Place) -> None:
    params = [place.weight(p) for p in ("kernel", "bias")[: 1 + place.op.attr("bias")]]
    place.node("Conv", *place.inputs, *params, group=place.op.attr("groups"), **_window(place.op))


def _dense(place: _Place) -> None:
    kernel, bias = place.weight("kernel"), place.op.attr("bias")
    if len(place.op.shape) == 1:
        place.node("Gemm", *place.inputs, kernel, *([place.weight("bias")] if bias else []))
    elif bias:
        product = place.node("MatMul", *place.inputs, kernel, output=place.inner("product"))
        place.node("Add", product, place.weight("bias"))
    else:
        place.node("MatMul", *place.inputs, kernel)


def _batch_norm(place: _Place) -> None:
    params = [place.weight(p) for p in ("scale", "offset", "mean", "variance")]
    place.node("BatchNormalization", *place.inputs, *params, epsilon=place.op.attr("eps"))


def _layer_norm(place: _Place) -> None:
    params = [place.weight(p) for p in ("scale", "offset")]
    place.node("LayerNormalization", *place.inputs, *params, axis=-1, epsilon=place.op.attr("eps"))


def _relu6(place: _Place) -> None:
    place.node("Clip", *place.inputs, place.graph.scalar(0.0), place.graph.scalar(6.0))


def _silu(place: _Place) -> None:
    place.node("Mul", *place.inputs, place.node("Sigmoid", output=place.inner("sigmoid")))


def _gelu(place: _Place) -> None:
    # The order of these nodes is the pattern that ONNX Runtime recognises and runs as one kernel.
    scalar = place.graph.scalar
    scaled = place.node("Div", *place.inputs, scalar(math.sqrt(2)), output=place.inner("scaled"))
    erf = place.node("Erf", scaled, output=place.inner("erf"))
    shifted = place.node("Add", erf, scalar(1.0), output=place.inner("shifted"))
    product = place.node("Mul", *place.inputs, shifted, output=place.inner("product"))
    place.node("Mul", product, scalar(0.5))


def _avg_pool(place: _Place) -> None:
    place.node("AveragePool", count_include_pad=1, **_window(place.op))


def _max_pool(place: _Place) -> None:
    place.node("MaxPool", **_window(place.op))


def _concat(place: _Place) -> None:
    place.node("Concat", axis=place.op.attr("axis") + 1)


def _softmax(place: _Place) -> None:
    axis = place.op.attr("axis")
    place.node("Softmax", axis=axis if axis < 0 else axis + 1)


def _reshape(place: _Place) -> None:
    # A zero copies that axis of the input, here the batch, whether it is a number or a symbol.
    shape = place.graph.constant(place.inner("shape"), np.array([0, *place.op.shape], np.int64))
    place.node("Reshape", *place.inputs, shape)


def _transpose(place: _Place) -> None:
    place.node("Transpose", perm=[0, *(axis + 1 for axis in place.op.attr("perm"))])


#: One writer per kind of operator; a test compares the keys with those of `OPERATORS`.
WRITERS: Final[Mapping[str, Callable[[_Place], None]]] = {
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


def to_onnx(
    network: Network,
    weights: Weights,
    path: Path | None = None,
    batch: int | None = 1,
    extra_outputs: tuple[str, ...] = (),
) -> bytes:
    """The whole network as one ONNX model whose outputs are its exits in order, then `extra_outputs`, all by name.

    Inputs and outputs are float32 with the batch in front; `batch` None leaves it symbolic ("N"). Writes the file too
    if a path is given. Raises InputError for a weight that is missing and an extra output that does not exist.
    """
    folded, arrays, names = fold(network, weights, extra_outputs)
    wanted = [network.ops[index].name for index in network.exits]
    wanted += [name for name in extra_outputs if name not in wanted]
    data = write_graph(folded, arrays, batch, tuple(wanted), names)
    if path is not None:
        atomic_write_bytes(path, data)
    return data


@dataclass(frozen=True, slots=True)
class SegmentFile:
    """One segment on disk: it reads the tensors `takes` and gives the tensor `exit`, then the tensors `gives`."""

    file: str
    takes: tuple[str, ...]
    exit: str
    gives: tuple[str, ...]

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the outputs in order: the answer first, then what later segments read."""
        return (self.exit, *(name for name in self.gives if name != self.exit))


def export_segments(network: Network, weights: Weights, folder: Path, batch: int | None = 1) -> tuple[SegmentFile, ...]:
    """Write `exit_0.onnx`, `exit_1.onnx`, ... into a folder, one per exit: run in order they compute the network.

    Batch norm is folded before the network is cut: afterwards a segment could begin with one, and a tensor that is
    carried across a cut has readers which the segment alone does not show.
    """
    folded, arrays, names = fold(network, weights)
    files = []
    for number, segment in enumerate(folded.segments()):

        def called(tensors: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(names.get(tensor, tensor) for tensor in tensors)

        end = names[segment.network.ops[segment.network.exits[0]].name]
        entry = SegmentFile(f"exit_{number}.onnx", called(segment.takes), end, called(segment.gives))
        atomic_write_bytes(folder / entry.file, write_graph(segment.network, arrays, batch, entry.outputs, names))
        files.append(entry)
    return tuple(files)


def fold(
    network: Network, weights: Weights, keep: tuple[str, ...] = ()
) -> tuple[Network, dict[str, NDArray[np.float32]], dict[str, str]]:
    """Fold batch norm; exits and the tensors in `keep` survive under the names they had before.

    Returns the folded network, its arrays, and for each exit or kept operator of it the name its tensor is to have.
    The kept operators count as exits while folding: a convolution whose own output is asked for must not absorb the
    batch norm behind it. Raises InputError for a name that is no operator and for missing weights.
    """
    places = {op.name: index for index, op in enumerate(network.ops)}
    if unknown := [name for name in keep if name not in places]:
        raise InputError(f"there is no operator {unknown[0]!r} in this network that could be an output")
    if missing := [key for key in network.weight_shapes if key not in weights]:
        raise InputError(f"there is no array {missing[0]!r} among the weights: they belong to another network")
    for key, weight in network.weight_shapes.items():
        if weights[key].shape != weight.shape:
            raise InputError(f"the array {key!r} has shape {weights[key].shape}, the network needs {weight.shape}")
    ends = tuple(sorted({*network.exits, *(places[name] for name in keep)}))
    folded, arrays = fold_batch_norm(Network(network.ops, ends), weights)
    names = {folded.ops[new].name: network.ops[old].name for new, old in zip(folded.exits, ends, strict=True)}
    kept = tuple(new for new, old in zip(folded.exits, ends, strict=True) if old in network.exits)
    return Network(folded.ops, kept), arrays, names


def write_graph(
    network: Network,
    weights: Weights,
    batch: int | None,
    outputs: tuple[str, ...],
    names: Mapping[str, str],
) -> bytes:
    """A network as it stands, nothing folded, as the bytes of a checked ONNX model.

    `names` renames tensors; every other tensor is called after its operator.
    """
    if batch is not None and batch < 1:
        raise InputError(f"the batch must be at least 1 (or None for any), got {batch}")
    graph = _Graph(batch, weights)
    shapes: dict[str, Shape] = {}
    tensors = [names.get(op.name, op.name) for op in network.ops]
    for op, tensor in zip(network.ops, tensors, strict=True):
        inputs = tuple(tensors[source] for source, _ in op.inputs)
        WRITERS[op.kind](_Place(graph, op, inputs, network.input_shapes(op), tensor))
        shapes[tensor] = op.shape
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "network",
            graph.inputs,
            [graph.info(name, shapes[name]) for name in outputs],
            list(graph.constants.values()),
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="hwnas",
    )
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())
