"""YAML to Experiment: the only place where pydantic is used.

A section's schema is generated from the signature of what it configures, so there is no second list of keys: fields of
the frozen settings, parameters of a data loader, a space or a searcher. Unknown keys name the nearest known one, and
bare numbers are refused where a unit is due.
"""

from __future__ import annotations

import dataclasses
import reprlib
import typing
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import BeforeValidator, ConfigDict, PydanticUserError, TypeAdapter, ValidationError

from nas.config import plain_yaml, registry
from nas.config.component import ComponentSpec
from nas.config.kinds import Kind
from nas.config.plugins import NO_PLUGINS, Plugins
from nas.config.settings import Experiment
from nas.config.signatures import Parameter, configurable, kind_of, options, parameters, unit_of
from nas.config.units import parse_quantity
from nas.errors import InputError


class _Written(reprlib.Repr):
    """Values as a YAML file holds them, but short and on one line."""

    def repr_tuple(self, x: tuple[Any, ...], level: int) -> str:
        return self.repr_list(list(x), level)

    def repr_bool(self, x: bool, level: int) -> str:
        return str(x).lower()

    def repr_NoneType(self, x: None, level: int) -> str:
        return "null"


_WRITTEN = _Written()
_WRITTEN.maxstring = _WRITTEN.maxother = 80
#: More digits than this no number has that is meant; floats, which some become, hold three times as many.
_MOST_DIGITS: Final = 100


def load(path: Path, overrides: tuple[str, ...] = (), plugins: Plugins = NO_PLUGINS) -> Experiment:
    """Read an experiment; `overrides` are `key.path=value` texts applied on top.

    Raises InputError naming the file, the key, the value and what to do. Imports code of ours and of `plugins` alone.
    """
    if not path.is_file():
        raise InputError(f"there is no experiment file {str(path)!r}; give the path of a YAML file")
    data = plain_yaml.read(path)
    try:
        for override in overrides:
            plain_yaml.override(data, override)
        return experiment(data, plugins)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error


def experiment(data: Mapping[str, Any], plugins: Plugins = NO_PLUGINS) -> Experiment:
    """The experiment that a mapping describes; raises InputError naming key, value, reason and what to do."""
    return typing.cast(Experiment, build(Experiment, _executor_in_search(data), "", plugins))


def _executor_in_search(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same, with an `executor` that stands at the top in its section; raises InputError where it stands in both."""
    if not isinstance(data, Mapping) or "executor" not in data:
        return data
    rest = {key: value for key, value in data.items() if key != "executor"}
    search = rest.get("search", {})
    if not isinstance(search, dict):
        return rest  # which is not what a section looks like, and will be refused
    if "executor" in search:
        raise InputError("executor stands at the top and in search, where it means the same; write it once")
    return {**rest, "search": {**search, "executor": data["executor"]}}


def component(data: Any, kind: Kind, where: str, plugins: Plugins = NO_PLUGINS) -> ComponentSpec:
    """A named implementation with arguments checked against its signature; a text is the name alone.

    Defaults that a YAML can hold stand among the arguments. Raises InputError, before anything of others is imported
    that is not among `plugins`.
    """
    if isinstance(data, str):
        data = {"name": data}
    if not isinstance(data, dict) or not isinstance(data.get("name"), str):
        raise InputError(f"{where}: expected `name:` and its arguments, got {shown(data)}")
    name = data["name"]
    try:
        reference = registry.resolve(name, kind.known, kind.name)
        made = registry.load(reference, plugins)
    except InputError as error:
        raise InputError(f"{where}.name: {error}") from error
    _check_kind(made, kind, name, where)
    free = configurable(made, kind, name)
    written = {key: value for key, value in data.items() if key != "name"}
    defaults = {p.name: p.python_default for p in free.values() if _is_plain(p.python_default)}
    return ComponentSpec(name, reference, {**defaults, **_validated(free, written, where, name, plugins)}, plugins)


def build(
    target: Callable[..., Any], data: Any, where: str, plugins: Plugins = NO_PLUGINS, file: str = "an experiment"
) -> Any:
    """Call `target` with what `data` says of its parameters; `where` is the section's key, none for a whole `file`."""
    if not isinstance(data, dict):
        raise InputError(f"{where}: expected keys and values, got {shown(data)}")
    what = where or file
    values = _validated(parameters(target, what), data, where, what, plugins)
    try:
        return target(**values)
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{what}: {error}") from error


def _check_kind(made: Callable[..., Any], kind: Kind, name: str, where: str) -> None:
    """Refuse what is not of that kind before it is called: a file must not be able to call just anything."""
    takes = {parameter.name for parameter in parameters(made, name).values()}
    if missing := [given for given in kind.given if given not in takes]:
        raise InputError(f"{where}.name: {name} is no {kind.name}: it has no parameter {missing[0]!r}")
    if objection := kind.objection(made):
        raise InputError(f"{where}.name: {name} {objection}")


def _refuse_unknown(data: Mapping[Any, Any], known: Collection[str], prefix: str, what: str) -> None:
    for key in data:
        if key not in known:
            takes = ", ".join(known) or "none"
            near = registry.nearest(str(key), known)
            raise InputError(f"{prefix}{key}: {what} has no key {str(key)!r}{near} Its keys: {takes}")


def _validated(
    takes: Mapping[str, Parameter], data: Mapping[str, Any], where: str, what: str, plugins: Plugins
) -> dict[str, Any]:
    """Check `data` against parameters and return keyword arguments."""
    prefix = f"{where}." if where else ""
    _refuse_unknown(data, takes, prefix, what)
    result = {}
    for key, parameter in takes.items():
        if key in data:
            result[parameter.name] = _value(parameter, data[key], f"{prefix}{key}", plugins)
        elif parameter.default is not None:
            # What is beside it was checked already, as far as it stands before it.
            result[parameter.name] = _value(parameter, parameter.default.beside(data), f"{prefix}{key}", plugins)
        elif parameter.required:
            example = parameter.example
            raise InputError(
                f"`{prefix}{key}` is missing; write for example `{key}: {example}`"
                if example
                else f"{prefix}{key} is missing; {what} needs it"
            )
    return result


def _value(parameter: Parameter, value: Any, where: str, plugins: Plugins) -> Any:
    unit, kind, allowed = unit_of(parameter.hint), kind_of(parameter.hint), options(parameter.hint)
    if value is None and type(None) in allowed:
        return None
    if unit is not None:
        return parse_quantity(value, unit, where)
    if kind is not None:
        return component(value, kind, where, plugins)
    for option in allowed:
        inner, *_ = typing.get_args(option) or (None,)
        if _is_dataclass(option):
            return build(option, value, where, plugins)
        if typing.get_origin(option) is tuple and _is_dataclass(inner):
            if not isinstance(value, list):
                such = f" such as `{parameter.example}`" if parameter.example else ""
                raise InputError(f"{where}: expected a list{such}, got {shown(value)}")
            return tuple(build(inner, item, f"{where}[{i}]", plugins) for i, item in enumerate(value))
    return _plain_value(parameter.hint, value, where)


def _plain_value(hint: Any, value: Any, where: str) -> Any:
    if (large := _too_large(value, where)) is not None:
        raise InputError(f"{large} is out of range: whole numbers have at most {_MOST_DIGITS} digits")
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(
            typing.Annotated[hint, BeforeValidator(_tuples)], config=ConfigDict(strict=True, allow_inf_nan=False)
        )
        return adapter.validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        inside = _inside(value, first["loc"])
        message = first["msg"][:1].lower() + first["msg"][1:]
        raise InputError(f"{where}{inside}: {message}, got {shown(first['input'])}") from error
    except PydanticUserError as error:
        raise InputError(f"{where}: a value of type {hint} cannot be written in YAML; leave it out") from error


def _inside(value: Any, path: Iterable[int | str]) -> str:
    """What follows the key of a value where something within it is wrong; a path of pydantic's names types, too."""
    found = ""
    for part in path:
        if isinstance(part, int) and isinstance(value, list):
            found, value = f"{found}[{part}]", value[part]
        elif isinstance(value, dict) and part in value:
            found, value = f"{found}.{part}", value[part]
    return found


def _too_large(value: Any, where: str) -> str | None:
    """The first number with more digits, with its key, in a value or in what it holds."""
    if isinstance(value, int):
        return f"{where}: {shown(value)}" if abs(value) >= 10**_MOST_DIGITS else None
    parts: Iterable[tuple[str, Any]] = ()
    if isinstance(value, dict):
        parts = ((f"{where}.{key}", item) for key, item in value.items())
    elif isinstance(value, list | tuple):
        parts = ((f"{where}[{number}]", item) for number, item in enumerate(value))
    return next((large for key, item in parts if (large := _too_large(item, key)) is not None), None)


def _is_dataclass(hint: Any) -> bool:
    return isinstance(hint, type) and dataclasses.is_dataclass(hint)


def _tuples(value: Any) -> Any:
    """YAML has lists only; the settings are frozen and take tuples."""
    if isinstance(value, list):
        return tuple(_tuples(item) for item in value)
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return value


def shown(value: Any) -> str:
    """A value in a message: as a YAML would have it, short, on one line."""
    return _WRITTEN.repr(value)


def _is_plain(value: Any) -> bool:
    """Whether YAML can hold a value."""
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    return value is None or isinstance(value, bool | int | float | str)
