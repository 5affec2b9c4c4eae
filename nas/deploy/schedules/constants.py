"""Which values are known before anything runs? Those made of constants alone, computed here with numpy.

TVM's own pass compiles a function for each: 30 ms for every bias that is reshaped and every bound of a clip.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from nas.deploy.schedules.values import shape_of

_OPERATORS: dict[str, Callable[..., NDArray[Any]]] = {
    "relax.add": np.add,
    "relax.subtract": np.subtract,
    "relax.multiply": np.multiply,
    "relax.divide": np.divide,
    "relax.sqrt": np.sqrt,
    "relax.isnan": np.isnan,
    "relax.where": np.where,
}


def folded(module: Any) -> Any:
    """The same module of Relax functions, with constants for the commonest operators that read nothing else."""
    from tvm import relax

    @relax.expr_functor.mutator
    class Folding(relax.PyExprMutator):  # type: ignore[misc]  # TVM has no types
        def visit_call_(self, call: Any) -> Any:
            call = self.builder_.normalize(self.visit_expr_post_order(call))
            known = _known(call, self.builder_)
            # Without its type, an array of 64 bits becomes one of 32.
            return call if known is None else relax.const(known, str(known.dtype))

    folding = Folding(module)
    for variable, function in module.functions_items():
        if isinstance(function, relax.Function):
            folding.builder_.update_func(variable, folding.visit_expr(function))
    return relax.transform.CanonicalizeBindings()(folding.builder_.get())


def _known(call: Any, builder: Any) -> NDArray[Any] | None:
    name = getattr(call.op, "name", "")
    if name in ("relax.reshape", "relax.expand_dims"):
        data, shape = _arrays(call.args[:1], builder), shape_of(call)
        return None if data is None or shape is None else data[0].reshape(shape)
    if name not in _OPERATORS or (operands := _arrays(call.args, builder)) is None:
        return None
    types = {operand.dtype for operand in operands} - {np.dtype(bool)}
    if len(types) > 1:
        return None
    # What is divided by zero here is so there too.
    with np.errstate(all="ignore"):
        found = np.asarray(_OPERATORS[name](*operands))
    # Whole numbers divide to whole numbers there.
    return found if str(found.dtype) == str(call.ty.dtype) else None


def _arrays(values: Sequence[Any], builder: Any) -> list[NDArray[Any]] | None:
    """The arrays of expressions, directly or through variables; None if any is not constant."""
    from tvm import ir, relax

    found = []
    for value in values:
        bound = builder.lookup_binding(value) if isinstance(value, relax.Var) else value
        if not isinstance(bound, ir.GenericConst):
            return None
        found.append(cast("NDArray[Any]", bound.value.numpy()))
    return found
