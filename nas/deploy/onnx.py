"""A network as ONNX, whole or in segments: straight from the operators, without a tracer in between.

Opset 17 and IR version 8, which every ONNX Runtime since 1.12 loads. Tensors carry the names of the operators that
make them, so that the answers of a graph are called after its exits and carried tensors find each other. Batch norm
is folded first, on the whole network; the only transposes in the graph are those of the network.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from nas.deploy.names import segment as segment_file
from nas.deploy.onnx_operators import WRITERS, Graph, Place
from nas.deploy.segment import SegmentFile
from nas.errors import InputError
from nas.process.files import atomic_write_bytes
from search_spaces.ir import Network
from search_spaces.operators import Shape
from search_spaces.passes import Weights, fold_batch_norm

OPSET: Final = 17
IR_VERSION: Final = 8


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
        entry = SegmentFile(segment_file(number), called(segment.takes), end, called(segment.gives))
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
    graph = Graph(batch, weights)
    shapes: dict[str, Shape] = {}
    tensors = [names.get(op.name, op.name) for op in network.ops]
    for op, tensor in zip(network.ops, tensors, strict=True):
        inputs = tuple(tensors[source] for source, _ in op.inputs)
        WRITERS[op.kind](Place(graph, op, inputs, network.input_shapes(op), tensor))
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
