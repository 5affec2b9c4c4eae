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
    """The name of an operator without its namespace; the bounds of a clip, functions of TVM's, have names too."""
    import tvm_ffi
    from tvm import tirx

    name = cast(str, getattr(call.op, "name", "")).removeprefix("relax.")
    if name != "call_tir":
        return name
    stores: list[Any] = []
    tvm_ffi.structural_walk(builder.get()[call.args[0]].body, (tirx.BufferStore, stores.append))
    return _bound(stores[0]) or name if len(stores) == 1 else name


def _bound(store: Any) -> str:
    """The operator that stores the larger or smaller of an element in the same place and a number; "" for others."""
    from tvm import ir, tirx

    names = {tirx.Max: "maximum", tirx.Min: "minimum"}
    value = store.value
    if type(value) not in names or not (isinstance(value.a, ir.TensorLoad) and isinstance(value.b, ir.TensorLoad)):
        return ""
    same = len(value.a.indices) == len(store.indices) and all(map(_same, value.a.indices, store.indices))
    return names[type(value)] if same and len(value.b.indices) == 0 else ""


def _same(one: Any, other: Any) -> bool:
    import tvm_ffi

    return bool(tvm_ffi.structural_equal(one, other, map_free_vars=False))


def is_call(value: Any, name: str) -> bool:
    """Whether an expression, or None, is a call of the operator of that name."""
    return getattr(getattr(value, "op", None), "name", "") == name
