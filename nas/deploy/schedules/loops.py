"""How are loops written in TVM's IR? Serial, parallel and vectorised ones around statements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Body = Callable[[Any], Any]


def number(value: int) -> Any:
    """An index."""
    from tvm import tirx

    return tirx.IntImm("int64", value)


def serial(size: Any, body: Body, first: Any = 0, threads: int = 1) -> Any:
    """`for i in range(first, first + size)`, in this thread or shared out; a single round is written without a loop."""
    from tvm import tirx

    first = number(first) if isinstance(first, int) else first
    if isinstance(size, int) and size == 1:
        return body(first)
    kind = tirx.ForKind.PARALLEL if threads > 1 else tirx.ForKind.SERIAL
    return _loop(first, number(size) if isinstance(size, int) else size, body, kind)


def vector(lanes: int, body: Body) -> Any:
    """All lanes of a vector at once."""
    from tvm import tirx

    return _loop(number(0), number(lanes), body, tirx.ForKind.VECTORIZED)


def _loop(first: Any, size: Any, body: Body, kind: Any) -> Any:
    from tvm import tirx

    variable = tirx.Var("i", "int64")
    return tirx.For(variable, first, size, kind, body(variable))


def sequence(statements: Sequence[Any]) -> Any:
    """One after the other."""
    from tvm import tirx

    return statements[0] if len(statements) == 1 else tirx.SeqStmt(list(statements))


def unravel(place: Any, shape: Sequence[int]) -> list[Any]:
    """The indices of element number `place` of an array of this shape."""
    indices = []
    for axis in reversed(range(len(shape))):
        # Nothing lies beyond the first axis.
        indices.append(number(0) if shape[axis] == 1 else place if axis == 0 else place % shape[axis])
        place = place // shape[axis] if shape[axis] > 1 else place
    return indices[::-1]


def pieces(size: int, lanes: int) -> list[tuple[int, int]]:
    """Vectors that cover `size` values: (first, lanes) each, the last with what is left."""
    return [(first, min(lanes, size - first)) for first in range(0, size, lanes)]
