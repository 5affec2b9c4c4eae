"""What is known of a Relax expression? Its shape, its array if it is constant, its operator if it is a call."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


def shape_of(value: Any) -> tuple[int, ...] | None:
    """The shape of an expression if it is a tensor of float32 whose shape is known."""
    import tvm
    from tvm import relax

    kind = value.ty
    if not isinstance(kind, relax.TensorType) or str(kind.dtype) != "float32":
        return None
    if not isinstance(kind.shape, relax.ShapeExpr):
        return None
    sizes = [size.value if isinstance(size, tvm.tirx.IntImm) else -1 for size in kind.shape.values]
    return None if -1 in sizes else tuple(sizes)


def array_of(constant: Any) -> Array:
    """The array of a Relax constant."""
    return cast(Array, constant.value.numpy())


def name_of(call: Any, builder: Any) -> str:
    """The name of an operator without its namespace; a clip's bounds are "maximum" and "minimum" too."""
    import tvm
    import tvm_ffi

    name = cast(str, getattr(call.op, "name", "")).removeprefix("relax.")
    if name != "call_tir":
        return name
    stores: list[Any] = []
    tvm_ffi.structural_walk(builder.get()[call.args[0]].body, (tvm.tirx.BufferStore, stores.append))
    names = {tvm.tirx.Max: "maximum", tvm.tirx.Min: "minimum"}
    return names.get(type(stores[0].value), name) if len(stores) == 1 else name


def is_call(value: Any, name: str) -> bool:
    """Whether an expression, or None, is a call of the operator of that name."""
    return getattr(getattr(value, "op", None), "name", "") == name
