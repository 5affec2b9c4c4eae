"""What can be configured, read from signatures: parameters, their types, units, kinds, defaults and examples."""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Callable
from typing import Any, TypeVar

from nas.config.kinds import Default, Example, Kind
from nas.config.units import Unit
from nas.errors import InputError

_SUFFIXES = {"s": "_s", "J": "_j", "B": "_bytes"}
_Mark = TypeVar("_Mark")


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One thing that can be configured: how Python calls it, its annotation and its default."""

    name: str
    hint: Any
    python_default: Any

    @property
    def key(self) -> str:
        """What it is called in YAML: without the suffix of its unit."""
        unit = unit_of(self.hint)
        return self.name.removesuffix(_SUFFIXES[unit]) if unit else self.name

    @property
    def required(self) -> bool:
        """Whether a YAML has to give it."""
        return self.python_default is inspect.Parameter.empty and self.default is None

    @property
    def default(self) -> Default | None:
        """What stands in the annotation for a YAML that leaves it out, if anything does."""
        return _mark(self.hint, Default)

    @property
    def example(self) -> str | None:
        """What a message may show, if the annotation says so."""
        found = _mark(self.hint, Example)
        return found.text if found else None


def parameters(target: Callable[..., Any], what: str) -> dict[str, Parameter]:
    """The parameters of a class or function by their keys in YAML; raises InputError where they cannot be read."""
    try:
        hints = typing.get_type_hints(target.__init__ if inspect.isclass(target) else target, include_extras=True)
        signature = inspect.signature(target)
    except (NameError, TypeError, ValueError) as error:
        raise InputError(f"{what}: its parameters cannot be read ({error}); annotate them with known types") from error
    found = (
        Parameter(name, hints.get(name, Any), parameter.default)
        for name, parameter in signature.parameters.items()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    )
    return {parameter.key: parameter for parameter in found}


def configurable(made: Callable[..., Any], kind: Kind, what: str) -> dict[str, Parameter]:
    """The parameters of a component that are not the program's to fill in, by their keys in YAML."""
    programs = {*kind.given, *kind.given_if_taken}
    return {key: each for key, each in parameters(made, what).items() if each.name not in programs}


def options(hint: Any) -> tuple[Any, ...]:
    """The members of a union, or the type itself, without what annotations say beside them."""
    return tuple(map(_bare, _members(hint)))


def unit_of(hint: Any) -> str | None:
    """The unit of a quantity, also of an optional one."""
    found = _mark(hint, Unit)
    return found.symbol if found else None


def kind_of(hint: Any) -> Kind | None:
    """The kind of component that is named there, also of an optional one."""
    return _mark(hint, Kind)


def _bare(hint: Any) -> Any:
    return typing.get_args(hint)[0] if typing.get_origin(hint) is typing.Annotated else hint


def _members(hint: Any) -> tuple[Any, ...]:
    inner = _bare(hint)
    return typing.get_args(inner) if typing.get_origin(inner) in (typing.Union, types.UnionType) else (hint,)


def _mark(hint: Any, of: type[_Mark]) -> _Mark | None:
    """The first of its kind among what an annotation, or the members of its union, say beside the type."""
    marks = (mark for each in (hint, *_members(hint)) for mark in getattr(each, "__metadata__", ()))
    return next((mark for mark in marks if isinstance(mark, of)), None)
