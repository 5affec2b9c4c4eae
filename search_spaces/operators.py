"""The operators a network may be made of: one row each, saying shape, weights, multiply-adds and arithmetic.

Shapes are NCHW without the batch everywhere: an image is `(channels, height, width)`, a vector `(features,)`, a
sequence `(tokens, features)`. Adding an operator means adding a row here, one in the JAX interpreter and one in the
ONNX writer; a test compares the three tables' keys.

1 MAC = 2 FLOPs, and this file is the only one that says so. MACs follow the usage of the papers: convolutions, dense
layers and matrix products count; batch norm, activations, additions and pooling do not (they are in `flops`).
Average pooling divides by the whole window, padding included.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

Shape = tuple[int, ...]
Attrs = Mapping[str, Any]
Role = Literal["kernel", "bias", "scale", "offset", "mean", "variance"]

REQUIRED: Final = "required"


class ShapeError(ValueError):
    """An operator got inputs or attributes it cannot take; the message names the operator and the shapes."""


@dataclass(frozen=True, slots=True)
class Weight:
    """One stored array of an operator: its shape, its role, and whether the optimiser changes it."""

    shape: Shape
    role: Role

    @property
    def trainable(self) -> bool:
        """Running statistics are stored with the weights, but are neither trained nor counted as parameters."""
        return self.role not in ("mean", "variance")

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


def _no_weights(inputs: tuple[Shape, ...], attrs: Attrs) -> dict[str, Weight]:
    return {}


def _zero(inputs: tuple[Shape, ...], output: Shape, attrs: Attrs) -> int:
    return 0


@dataclass(frozen=True, slots=True)
class Operator:
    """One row: everything the rest of the project may want to know of an operator without running it.

    `shape` infers the output's shape and raises ShapeError; `weights` names the stored arrays; `macs` counts
    multiply-adds and `elementwise` the remaining arithmetic, both for one sample.
    """

    arity: int | None
    shape: Callable[[tuple[Shape, ...], Attrs], Shape]
    attrs: Mapping[str, Any] = field(default_factory=dict)
    weights: Callable[[tuple[Shape, ...], Attrs], dict[str, Weight]] = _no_weights
    macs: Callable[[tuple[Shape, ...], Shape, Attrs], int] = _zero
    elementwise: Callable[[tuple[Shape, ...], Shape, Attrs], int] = _zero

    def flops(self, inputs: tuple[Shape, ...], output: Shape, attrs: Attrs) -> int:
        """All arithmetic of one sample: two per multiply-add, plus the element-wise part."""
        return 2 * self.macs(inputs, output, attrs) + self.elementwise(inputs, output, attrs)


def _image(inputs: tuple[Shape, ...]) -> tuple[int, int, int]:
    if len(inputs[0]) != 3:
        raise ShapeError("needs an image (channels, height, width)")
    channels, height, width = inputs[0]
    return channels, height, width


def _window(size: int, kernel: int, stride: int, padding: int) -> int:
    out = (size + 2 * padding - kernel) // stride + 1
    if out < 1:
        raise ShapeError(f"a window of {kernel} with padding {padding} does not fit into {size}")
    return out


def _positive(attrs: Attrs, *names: str) -> None:
    for name in names:
        if int(attrs[name]) < 1:
            raise ShapeError(f"{name} must be at least 1, got {attrs[name]}")


def conv_padding(attrs: Attrs) -> int:
    """The symmetric padding of a convolution or pooling window; `None` means kernel // 2."""
    padding = attrs["padding"]
    padding = int(attrs["kernel"]) // 2 if padding is None else int(padding)
    if padding < 0:
        raise ShapeError(f"padding must be at least 0, got {padding}")
    return padding


def _conv_shape(inputs: tuple[Shape, ...], attrs: Attrs) -> Shape:
    channels, height, width = _image(inputs)
    _positive(attrs, "filters", "kernel", "stride", "groups")
    groups, filters = attrs["groups"], attrs["filters"]
    if channels % groups or filters % groups:
        raise ShapeError(f"groups {groups} must divide input channels {channels} and filters {filters}")
    pad, k, s = conv_padding(attrs), attrs["kernel"], attrs["stride"]
    return (filters, _window(height, k, s, pad), _window(width, k, s, pad))


def _conv_weights(inputs: tuple[Shape, ...], attrs: Attrs) -> dict[str, Weight]:
    k, filters = attrs["kernel"], attrs["filters"]
    weights = {"kernel": Weight((filters, inputs[0][0] // attrs["groups"], k, k), "kernel")}
    if attrs["bias"]:
        weights["bias"] = Weight((filters,), "bias")
    return weights


def _conv_macs(inputs: tuple[Shape, ...], output: Shape, attrs: Attrs) -> int:
    return math.prod(output) * (inputs[0][0] // int(attrs["groups"])) * int(attrs["kernel"]) ** 2


def _bias_adds(inputs: tuple[Shape, ...], output: Shape, attrs: Attrs) -> int:
    return math.prod(output) if attrs["bias"] else 0


def _pool_shape(inputs: tuple[Shape, ...], attrs: Attrs) -> Shape:
    channels, height, width = _image(inputs)
    _positive(attrs, "kernel", "stride")
    pad, k, s = conv_padding(attrs), attrs["kernel"], attrs["stride"]
    if 2 * pad > k:
        raise ShapeError(f"padding {pad} is more than half of the window {k}")
    return (channels, _window(height, k, s, pad), _window(width, k, s, pad))


def _dense_shape(inputs: tuple[Shape, ...], attrs: Attrs) -> Shape:
    _positive(attrs, "units")
    if not inputs[0]:
        raise ShapeError("needs at least one axis")
    return (*inputs[0][:-1], attrs["units"])


def _dense_weights(inputs: tuple[Shape, ...], attrs: Attrs) -> dict[str, Weight]:
    weights = {"kernel": Weight((inputs[0][-1], attrs["units"]), "kernel")}
    if attrs["bias"]:
        weights["bias"] = Weight((attrs["units"],), "bias")
    return weights


def _matmul_shape(inputs: tuple[Shape, ...], attrs: Attrs) -> Shape:
    a, b = inputs
    if len(a) < 2 or len(a) != len(b) or a[-1] != b[-2] or a[:-2] != b[:-2]:
        raise ShapeError("the last axis of the first must equal the second last of the second, leading axes alike")
    return (*a[:-1], b[-1])


def _broadcast(inputs: tuple[Shape, ...], attrs: Attrs) -> Shape:
    a, b = inputs
    if len(a) != len(b) or any(y not in (x, 1) for x, y in zip(a, b, strict=True)):
        raise ShapeError("the second operand must have the first one's shape, or 1 on an axis")
    return a


def _concat_shape(inputs: tuple[Shape, ...], attrs: Attrs) -> Shape:
    axis = attrs["axis"]
    first = inputs[0]
    if not 0 <= axis < len(first):
        raise ShapeError(f"axis {axis} does not exist")
    for other in inputs[1:]:
        if len(other) != len(first) or any(
            a != b for i, (a, b) in enumerate(zip(first, other, strict=True)) if i != axis
        ):
            raise ShapeError(f"inputs may differ on axis {axis} only")
    return (*first[:axis], sum(shape[axis] for shape in inputs), *first[axis + 1 :])


def _reshape_shape(inputs: tuple[Shape, ...], attrs: Attrs) -> Shape:
    shape = tuple(attrs["shape"])
    if math.prod(shape) != math.prod(inputs[0]):
        raise ShapeError(f"{shape} does not have the same number of elements")
    return shape


def _transpose_shape(inputs: tuple[Shape, ...], attrs: Attrs) -> Shape:
    perm = tuple(attrs["perm"])
    if sorted(perm) != list(range(len(inputs[0]))):
        raise ShapeError(f"perm {perm} is not a permutation of the axes")
    return tuple(inputs[0][axis] for axis in perm)


def _softmax_shape(inputs: tuple[Shape, ...], attrs: Attrs) -> Shape:
    if not -len(inputs[0]) <= attrs["axis"] < len(inputs[0]):
        raise ShapeError(f"axis {attrs['axis']} does not exist")
    return inputs[0]


def _same(inputs: tuple[Shape, ...], attrs: Attrs) -> Shape:
    return inputs[0]


def _normalised(inputs: tuple[Shape, ...], attrs: Attrs) -> Shape:
    if not inputs[0]:
        raise ShapeError("needs at least one axis")
    return inputs[0]


def _channel_weights(inputs: tuple[Shape, ...], attrs: Attrs) -> dict[str, Weight]:
    shape = (inputs[0][0],)
    return {
        "scale": Weight(shape, "scale"),
        "offset": Weight(shape, "offset"),
        "mean": Weight(shape, "mean"),
        "variance": Weight(shape, "variance"),
    }


def _feature_weights(inputs: tuple[Shape, ...], attrs: Attrs) -> dict[str, Weight]:
    shape = (inputs[0][-1],)
    return {"scale": Weight(shape, "scale"), "offset": Weight(shape, "offset")}


def _per_output(n: int) -> Callable[[tuple[Shape, ...], Shape, Attrs], int]:
    return lambda inputs, output, attrs: n * math.prod(output)


def _window_adds(inputs: tuple[Shape, ...], output: Shape, attrs: Attrs) -> int:
    return math.prod(output) * int(attrs["kernel"]) ** 2


def _per_input(inputs: tuple[Shape, ...], output: Shape, attrs: Attrs) -> int:
    return math.prod(inputs[0])


def _activation(cost: int) -> Operator:
    return Operator(1, _same, elementwise=_per_output(cost))


OPERATORS: Final[dict[str, Operator]] = {
    "input": Operator(0, lambda inputs, attrs: tuple(attrs["shape"]), {"shape": REQUIRED}),
    "conv": Operator(
        1,
        _conv_shape,
        {"filters": REQUIRED, "kernel": REQUIRED, "stride": 1, "padding": None, "groups": 1, "bias": False},
        _conv_weights,
        _conv_macs,
        _bias_adds,
    ),
    "dense": Operator(
        1,
        _dense_shape,
        {"units": REQUIRED, "bias": True},
        _dense_weights,
        lambda inputs, output, attrs: math.prod(output) * inputs[0][-1],
        _bias_adds,
    ),
    "matmul": Operator(2, _matmul_shape, macs=lambda inputs, output, attrs: math.prod(output) * inputs[0][-1]),
    "batch_norm": Operator(1, _normalised, {"eps": 1e-5}, _channel_weights, elementwise=_per_output(2)),
    "layer_norm": Operator(1, _normalised, {"eps": 1e-5}, _feature_weights, elementwise=_per_output(7)),
    "relu": _activation(1),
    "relu6": _activation(2),
    "hard_sigmoid": _activation(4),
    "hard_swish": _activation(5),
    "silu": _activation(5),
    "gelu": _activation(8),
    "add": Operator(2, _broadcast, elementwise=_per_output(1)),
    "mul": Operator(2, _broadcast, elementwise=_per_output(1)),
    "concat": Operator(None, _concat_shape, {"axis": 0}),
    "avg_pool": Operator(1, _pool_shape, {"kernel": REQUIRED, "stride": 1, "padding": 0}, elementwise=_window_adds),
    "max_pool": Operator(1, _pool_shape, {"kernel": REQUIRED, "stride": 1, "padding": 0}, elementwise=_window_adds),
    "global_pool": Operator(1, lambda inputs, attrs: (_image(inputs)[0], 1, 1), elementwise=_per_input),
    "reshape": Operator(1, _reshape_shape, {"shape": REQUIRED}),
    "transpose": Operator(1, _transpose_shape, {"perm": REQUIRED}),
    "softmax": Operator(1, _softmax_shape, {"axis": -1}, elementwise=_per_output(5)),
}

#: Operators that move no data at run time: the output is a view of the input.
VIEWS: Final = frozenset({"input", "reshape"})

#: Element-wise operators of one operand: they may be fused behind a convolution and computed in place.
ACTIVATIONS: Final = frozenset({"relu", "relu6", "hard_sigmoid", "hard_swish", "silu", "gelu"})
