"""What do convolutions and dense layers compute? As one block each, with packed weights and its geometry written on it.

The blocks are definitions: correct as they stand, and what a kernel is made from where there is a rule. Weights are
packed once, here: [output blocks, inputs, outputs of a block], so that a kernel reads them in one stream.
"""

from __future__ import annotations

import json
import math
from dataclasses import astuple, dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from nas.deploy.schedules.processor import Processor
from nas.deploy.schedules.tiles import Tile, tile_of
from nas.deploy.schedules.values import Array, array_of, shape_of

#: The mark on a block that says which kernel computes it.
KERNEL = "kernel"
#: Inputs up to which the loop over them is written out.
WRITTEN_OUT = 4
#: TVM's name for what may be fused with whatever follows element by element.
_OUTPUT_FUSABLE = 4


@dataclass(frozen=True, slots=True)
class Geometry:
    """A convolution of images [batch, height, width, inputs] to [batch, rows, columns, outputs].

    `pad` is what lies above and left; what lies below and right follows from the output's size.
    """

    image: tuple[int, int, int, int]
    output: tuple[int, int, int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    pad: tuple[int, int]
    dilation: tuple[int, int]
    depthwise: bool

    @property
    def pointwise(self) -> bool:
        """Whether pixels can be taken as one long row: each output pixel reads the input pixel in the same place."""
        return not self.depthwise and self.kernel == self.stride == (1, 1) and self.image[:3] == self.output[:3]

    @property
    def row(self) -> int:
        """Output pixels that lie in one row for a kernel."""
        return math.prod(self.output[:3]) if self.pointwise else self.output[2]


@dataclass(frozen=True, slots=True)
class Anchor:
    """What is written on a block: outputs per block of packed weights, and whether its image is channels `first`."""

    geometry: Geometry
    block: int
    first: bool

    @property
    def text(self) -> str:
        """As text, which is what TVM carries along unseen."""
        return json.dumps([*astuple(self.geometry), self.block, self.first])

    @staticmethod
    def read(text: str) -> Anchor:
        """The anchor that was written."""
        image, output, kernel, stride, pad, dilation, depthwise, block, first = json.loads(text)
        geometry = Geometry(
            tuple(image), tuple(output), tuple(kernel), tuple(stride), tuple(pad), tuple(dilation), depthwise
        )
        return Anchor(geometry, block, first)


def geometry(call: Any) -> Geometry | None:
    """The geometry of a conv2d with constant weights OIHW that has a kernel here; None for any other."""
    from tvm import ir

    attrs = call.attrs
    shape, weight = shape_of(call.args[0]), shape_of(call.args[1])
    if shape is None or weight is None or not isinstance(call.args[1], ir.GenericConst):
        return None
    if attrs.kernel_layout != "OIHW" or attrs.data_layout not in ("NCHW", "NHWC"):
        return None
    batch, *size = shape
    height, width, channels = size if attrs.data_layout == "NHWC" else (*size[1:], size[0])
    outputs, _, *kernel = weight
    groups = int(attrs.groups)
    depthwise = groups == channels == outputs and groups > 1
    if groups != 1 and not depthwise:
        return None
    stride, dilation = _pair(attrs.strides), _pair(attrs.dilation)
    top, left, bottom, right = (int(size) for size in attrs.padding)
    spans = [(size - 1) * step + 1 for size, step in zip(kernel, dilation, strict=True)]
    rows = (height + top + bottom - spans[0]) // stride[0] + 1
    columns = (width + left + right - spans[1]) // stride[1] + 1
    return Geometry(
        image=(batch, height, width, channels),
        output=(batch, rows, columns, outputs),
        kernel=(kernel[0], kernel[1]),
        stride=stride,
        pad=(top, left),
        dilation=dilation,
        depthwise=depthwise,
    )


def _pair(sizes: Any) -> tuple[int, int]:
    first, second = (int(size) for size in sizes)
    return first, second


def legalisations(processor: Processor) -> dict[str, Any]:
    """How `LegalizeOps` is to define the operators that have kernels; others, and other forms of them, as TVM does."""

    def convolution(builder: Any, call: Any) -> Any:
        found = geometry(call)
        if found is None or call.attrs.out_layout != "NHWC":
            return call.op.get_attr("FLegalize")(builder, call)
        weight = array_of(call.args[1])
        first = call.attrs.data_layout == "NCHW"
        if found.depthwise:
            anchor = Anchor(found, processor.lanes, first)
            return _emit(builder, _depthwise, call.args[0], weight[:, 0].transpose(1, 2, 0).copy(), anchor)
        anchor = Anchor(found, tile(found, processor).vectors * processor.lanes, first)
        return _emit(builder, _dense, call.args[0], _packed(weight.transpose(0, 2, 3, 1), anchor.block), anchor)

    def product(builder: Any, call: Any) -> Any:
        from tvm import ir

        data, weight = shape_of(call.args[0]), shape_of(call.args[1])
        constant = isinstance(call.args[1], ir.GenericConst)
        if data is None or weight is None or not constant or len(weight) != 2 or len(data) < 2 or 0 in data + weight:
            return call.op.get_attr("FLegalize")(builder, call)
        rows, (inputs, outputs) = math.prod(data[:-1]), weight
        one = (1, 1)
        found = Geometry((1, 1, rows, inputs), (1, 1, rows, outputs), one, one, (0, 0), one, depthwise=False)
        anchor = Anchor(found, tile(found, processor).vectors * processor.lanes, first=False)
        packed = _packed(array_of(call.args[1]).T[:, None, None], anchor.block)
        return _emit(builder, _rows, call.args[0], packed, anchor)

    return {"relax.nn.conv2d": convolution, "relax.matmul": product}


def tile(found: Geometry, processor: Processor) -> Tile:
    """How many pixels and vectors of outputs a kernel holds in registers."""
    if found.depthwise or found.image[3] <= WRITTEN_OUT:
        # Between two rounds of a loop there is so much that data and weights pass through registers too.
        processor = replace(processor, registers=processor.registers // 2)
    return tile_of(found.row, processor.lanes if found.depthwise else found.output[3], processor)


def _emit(builder: Any, definition: Any, data: Any, weight: Array, anchor: Anchor) -> Any:
    from tvm import relax

    return builder.call_te(
        partial(definition, anchor=anchor),
        data,
        relax.const(weight),
        primfunc_name_hint="depthwise" if anchor.geometry.depthwise else "dense",
        primfunc_attrs={"op_pattern": _OUTPUT_FUSABLE},
    )


def _read(data: Any, anchor: Anchor, image: Any, y: Any, x: Any, channel: Any) -> Any:
    """A pixel of an image with zeros around it."""
    import tvm

    _, height, width, _ = anchor.geometry.image
    value = data[image, channel, y, x] if anchor.first else data[image, y, x, channel]
    inside = tvm.tirx.all(y >= 0, y < height, x >= 0, x < width)
    return tvm.tirx.if_then_else(inside, value, tvm.tirx.const(0.0, "float32"))


def _dense(data: Any, weight: Any, anchor: Anchor) -> Any:
    from tvm import te

    it = anchor.geometry
    ky, kx, i = (te.reduce_axis((0, size)) for size in (*it.kernel, it.image[3]))

    def result(n: Any, y: Any, x: Any, o: Any) -> Any:
        row = y * it.stride[0] + ky * it.dilation[0] - it.pad[0]
        column = x * it.stride[1] + kx * it.dilation[1] - it.pad[1]
        factor = weight[o // anchor.block, ky, kx, i, o % anchor.block]
        return te.sum(_read(data, anchor, n, row, column, i) * factor, [ky, kx, i])

    return te.compute(it.output, result, name="dense", attrs={KERNEL: anchor.text})


def _depthwise(data: Any, weight: Any, anchor: Anchor) -> Any:
    from tvm import te

    it = anchor.geometry
    ky, kx = (te.reduce_axis((0, size)) for size in it.kernel)

    def result(n: Any, y: Any, x: Any, c: Any) -> Any:
        row = y * it.stride[0] + ky * it.dilation[0] - it.pad[0]
        column = x * it.stride[1] + kx * it.dilation[1] - it.pad[1]
        return te.sum(_read(data, anchor, n, row, column, c) * weight[ky, kx, c], [ky, kx])

    return te.compute(it.output, result, name="depthwise", attrs={KERNEL: anchor.text})


def _rows(data: Any, weight: Any, anchor: Anchor) -> Any:
    from tvm import te

    inputs, outputs = anchor.geometry.image[3], anchor.geometry.output[3]
    i = te.reduce_axis((0, inputs))

    def result(*place: Any) -> Any:
        o = place[-1]
        return te.sum(data[(*place[:-1], i)] * weight[o // anchor.block, 0, 0, i, o % anchor.block], [i])

    return te.compute((*data.shape[:-1], outputs), result, name="dense", attrs={KERNEL: anchor.text})


def _packed(weight: Array, block: int) -> Array:
    """Weights [outputs, inputs...] as [blocks, inputs..., block], with zeros behind the last output."""
    blocks = -(-len(weight) // block)
    padded = np.zeros((blocks * block, *weight.shape[1:]), np.float32)
    padded[: len(weight)] = weight
    split = padded.reshape(blocks, block, *weight.shape[1:])
    return np.ascontiguousarray(np.moveaxis(split, 1, -1))
