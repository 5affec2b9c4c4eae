"""Which layout do tensors have? Channels last from one end of the network to the other.

ONNX is channels first; the kernels want the channels of a pixel side by side. Every operator that can be computed
either way is rewritten as `first(operator(last(x)))`, where `first` and `last` are transpositions: those of neighbours
cancel, and what is left is at the ends, or around an operator that has no rule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nas.deploy.schedules.operators import geometry
from nas.deploy.schedules.values import array_of, is_call, name_of, shape_of

_TO_LAST, _TO_FIRST = [0, 2, 3, 1], [0, 3, 1, 2]
_UNARY = "relu sigmoid tanh exp erf sqrt rsqrt negative abs clip nn.relu nn.silu nn.gelu nn.leakyrelu"
_BINARY = "add subtract multiply divide maximum minimum"
_REDUCTIONS = "mean sum max min"
_POOLS = "nn.avg_pool2d nn.max_pool2d nn.adaptive_avg_pool2d"


def channels_last(module: Any) -> Any:
    """The same module of Relax functions, with the transpositions of images at its ends only."""
    import tvm
    from tvm import relax

    rewriter = _mutator()(module)
    for variable, function in module.functions_items():
        if isinstance(function, relax.Function):
            rewriter.builder_.update_func(variable, relax.analysis.remove_all_unused(rewriter.visit_expr(function)))
    return tvm.ir.transform.Sequential([relax.transform.CanonicalizeBindings(), relax.transform.DeadCodeElimination()])(
        rewriter.builder_.get()
    )


def _mutator() -> Any:
    """The class of the rewriter: made on demand, as its base is TVM's."""
    from tvm import relax

    @relax.expr_functor.mutator
    class Rewriter(relax.PyExprMutator):  # type: ignore[misc]  # TVM has no types
        def visit_call_(self, call: Any) -> Any:
            call = self.builder_.normalize(self.visit_expr_post_order(call))
            name = name_of(call, self.builder_)
            rule = _RULES.get(name)
            changed = rule(_Place(self.builder_, call, name)) if rule is not None else None
            return call if changed is None else changed

    return Rewriter


class _Place:
    """A call, and the builder it is emitted with."""

    def __init__(self, builder: Any, call: Any, name: str) -> None:
        self.builder, self.call, self.name = builder, call, name
        self.args: Sequence[Any] = call.args[1].fields if is_call(call, "relax.call_tir") else call.args

    def emit(self, value: Any) -> Any:
        return self.builder.emit(value)

    def first(self, value: Any) -> Any:
        from tvm import relax

        return relax.op.permute_dims(self.emit(value), _TO_FIRST)

    def known_last(self, value: Any) -> Any:
        """The tensor with channels last of which `value` is the transposition; None if there is none yet."""
        from tvm import relax

        bound = value
        while isinstance(bound, relax.Var):
            bound = self.builder.lookup_binding(bound)
        if (
            bound is not None
            and is_call(bound, "relax.permute_dims")
            and [int(axis) for axis in bound.attrs.axes] == _TO_FIRST
        ):
            return bound.args[0]
        return None

    def last(self, value: Any) -> Any:
        """An operand [N, C, H, W], or one that is broadcast to that, with channels last; None if that cannot be."""
        from tvm import ir, relax

        if (known := self.known_last(value)) is not None:
            return known
        shape = shape_of(value)
        if shape is None or len(shape) > 4:
            return None
        if isinstance(value, ir.GenericConst):
            array = array_of(value)
            if array.size == 1:
                return relax.const(array.reshape(()))
            return relax.const(array.reshape((1,) * (4 - array.ndim) + shape).transpose(_TO_LAST).copy())
        return self.emit(relax.op.permute_dims(value, _TO_LAST)) if len(shape) == 4 else None


def _conv(place: _Place) -> Any:
    from tvm import relax

    call = place.call
    if geometry(call) is None:
        return None
    known = place.known_last(place.args[0])
    # An image that is channels first stays so: the kernel reads it as it is, one value at a time.
    direct = known is None and int(call.attrs.groups) == 1
    data = place.args[0] if direct else place.last(place.args[0])
    return place.first(
        relax.op.nn.conv2d(
            data,
            place.args[1],
            call.attrs.strides,
            call.attrs.padding,
            call.attrs.dilation,
            int(call.attrs.groups),
            data_layout="NCHW" if direct else "NHWC",
            out_layout="NHWC",
        )
    )


def _unary(place: _Place) -> Any:
    from tvm import relax

    known = place.known_last(place.args[0])
    if known is None:
        return None
    return place.first(relax.Call(place.call.op, [known, *place.args[1:]], place.call.attrs))


def _binary(place: _Place) -> Any:
    from tvm import relax

    made = getattr(relax.op, place.name)
    if all(place.known_last(arg) is None for arg in place.args) or shape_of(place.call) is None:
        # A clip arrives as a function of TVM's: said as an operator, others can see through it too.
        return made(*place.args) if not is_call(place.call, f"relax.{place.name}") else None
    operands = [place.last(arg) for arg in place.args]
    return None if any(operand is None for operand in operands) else place.first(made(*operands))


def _reduction(place: _Place) -> Any:
    from tvm import relax

    known, attrs = place.known_last(place.args[0]), place.call.attrs
    if known is None or attrs.axis is None or sorted(int(axis) % 4 for axis in attrs.axis) != [2, 3]:
        return None
    made = getattr(relax.op, place.name)(known, [1, 2], bool(attrs.keepdims))
    return place.first(made) if attrs.keepdims else made


def _pool(place: _Place) -> Any:
    from tvm import relax

    known, attrs = place.known_last(place.args[0]), place.call.attrs
    if known is None or attrs.layout != "NCHW":
        return None
    if place.name == "nn.adaptive_avg_pool2d":
        return place.first(relax.op.nn.adaptive_avg_pool2d(known, attrs.output_size, "NHWC"))
    made = relax.op.nn.avg_pool2d if place.name == "nn.avg_pool2d" else relax.op.nn.max_pool2d
    return place.first(
        made(
            known,
            attrs.pool_size,
            attrs.strides,
            attrs.padding,
            attrs.dilation,
            bool(attrs.ceil_mode),
            bool(attrs.count_include_pad),
            "NHWC",
        )
    )


def _concat(place: _Place) -> Any:
    from tvm import relax

    fields = place.args[0].fields if isinstance(place.args[0], relax.Tuple) else ()
    known = [place.known_last(field) for field in fields]
    if not known or None in known or place.call.attrs.axis is None or int(place.call.attrs.axis) % 4 != 1:
        return None
    return place.first(relax.op.concat(known, 3))


def _reshape(place: _Place) -> Any:
    """Of a tensor with one pixel both layouts are the same; a reshape to the shape that it has is none."""
    from tvm import relax

    if shape_of(place.call) is not None and shape_of(place.call) == shape_of(place.args[0]):
        return place.args[0]
    known = place.known_last(place.args[0])
    if known is None or (shape_of(known) or (0, 0))[1:3] != (1, 1):
        return None
    return relax.op.reshape(known, place.args[1])


def _permute(place: _Place) -> Any:
    known = place.known_last(place.args[0])
    axes = place.call.attrs.axes
    return known if known is not None and axes is not None and [int(axis) for axis in axes] == _TO_LAST else None


_RULES: dict[str, Callable[[_Place], Any]] = {
    "nn.conv2d": _conv,
    **dict.fromkeys(_UNARY.split(), _unary),
    **dict.fromkeys(_BINARY.split(), _binary),
    **dict.fromkeys(_REDUCTIONS.split(), _reduction),
    **dict.fromkeys(_POOLS.split(), _pool),
    "concat": _concat,
    "reshape": _reshape,
    "permute_dims": _permute,
}
