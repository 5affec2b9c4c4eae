"""Checking an operator against its row: attributes complete and in their one stored form, inputs that fit."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, Final

from search_spaces.operators import OPERATORS, REQUIRED, Attrs, Shape, ShapeError

#: The attributes that are not integers, and what to call what they must be.
_FORMS: Final[Mapping[str, tuple[Callable[[Any], Any], str]]] = {
    "eps": (float, "a number"),
    "shape": (lambda value: tuple(map(operator.index, value)), "a tuple of integers"),
    "perm": (lambda value: tuple(map(operator.index, value)), "a tuple of integers"),
}

#: Operators that fitted, by kind, input shapes and attributes with their types.
_RESOLVED: Final[dict[tuple[object, ...], tuple[Shape, Mapping[str, Any]]]] = {}
_MOST_RESOLVED: Final = 10_000


def _stored(attrs: Attrs) -> dict[str, Any]:
    """Attributes in the one form they are kept in, so that equal operators are equal as text too."""
    result: dict[str, Any] = {}
    for key, value in attrs.items():
        form, wanted = (bool, "True or False") if key == "bias" else _FORMS.get(key, (operator.index, "an integer"))
        if isinstance(value, bool) != (key == "bias"):
            raise ShapeError(f"{key} must be {wanted}, got {value!r}")
        if key == "padding" and value is None:
            value = result["kernel"] // 2
        try:
            result[key] = form(value)
        except (TypeError, ValueError):
            raise ShapeError(f"{key} must be {wanted}, got {value!r}") from None
    return result


def resolve(
    kind: str, name: str, inputs: tuple[Shape, ...], attrs: Mapping[str, Any]
) -> tuple[Shape, Mapping[str, Any]]:
    """The output shape of an operator and its attributes with defaults filled in, a window's padding as a number.

    Raises ShapeError naming the operator, its kind and the input shapes.
    """
    # A space has few different operators and thousands of networks. True is no 1 here, though it equals it.
    asked = (kind, inputs, tuple((key, type(value), value) for key, value in attrs.items()))
    try:
        found = _RESOLVED.get(asked)
    except TypeError:  # an attribute that cannot be looked up, such as a list
        return _resolved(kind, name, inputs, attrs)
    if found is None:
        found = _resolved(kind, name, inputs, attrs)
        if len(_RESOLVED) >= _MOST_RESOLVED:
            _RESOLVED.clear()
        _RESOLVED[asked] = found
    return found


def _resolved(
    kind: str, name: str, inputs: tuple[Shape, ...], attrs: Mapping[str, Any]
) -> tuple[Shape, Mapping[str, Any]]:
    row = OPERATORS.get(kind)
    if row is None:
        raise ShapeError(f"{name}: no operator {kind!r}; there are {', '.join(sorted(OPERATORS))}")
    where = f"{name} ({kind}) of {' and '.join(map(str, inputs)) or 'nothing'}"
    unknown = sorted(set(attrs) - set(row.attrs))
    if unknown:
        raise ShapeError(f"{where}: no attribute {unknown[0]!r}; it takes {', '.join(row.attrs) or 'none'}")
    full = {**row.attrs, **attrs}
    missing = [key for key, value in full.items() if value is REQUIRED]
    if missing:
        raise ShapeError(f"{where}: {missing[0]} is required")
    if len(inputs) != row.arity if row.arity is not None else not inputs:
        arity = "at least one" if row.arity is None else row.arity
        raise ShapeError(f"{where}: takes {arity} input(s), got {len(inputs)}")
    try:
        full = _stored(full)
        shape = row.shape(inputs, full)
    except ShapeError as error:
        raise ShapeError(f"{where}: {error}") from None
    if any(size < 1 for size in shape):
        raise ShapeError(f"{where}: the output would be {shape}")
    return shape, full
