"""YAML to Experiment and back: the only place where pydantic is used.

A section's schema is generated from the signature of what it configures, so there is no second list of keys: fields of
the frozen settings, parameters of a data loader, a space or a searcher. Unknown keys name the nearest known one, bare
numbers are refused where a unit is due, and nothing in a file is ever executed.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BeforeValidator, ConfigDict, TypeAdapter, ValidationError

from hardware_profiles import Target
from latency_models import LATENCY_MODELS
from search_spaces import SPACES

from . import registry, settings
from .data import DATASETS
from .data.fractions import SplitFractions
from .errors import InputError
from .searchers import SEARCHERS
from .units import Unit, parse_quantity

#: Parameters that the program fills in, by kind of part: a YAML may not give them.
_GIVEN: Mapping[str, frozenset[str]] = {
    "data": frozenset(),
    "space": frozenset({"input_shape", "classes"}),
    "latency model": frozenset({"profile", "target", "calibration"}),
    "searcher": frozenset({"problem"}),
}
_REGISTRIES: Mapping[str, Mapping[str, str]] = {
    "data": DATASETS,
    "space": SPACES,
    "latency model": LATENCY_MODELS,
    "searcher": SEARCHERS,
}
_SUFFIXES = {"s": "_s", "J": "_j", "B": "_bytes"}


class _Loader(yaml.SafeLoader):
    """Safe YAML that refuses a key given twice; tags that would run code are refused by SafeLoader."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise InputError(f"line {node.start_mark.line + 1}: the key {key!r} is given twice")
        return super().construct_mapping(node, deep)


def load(path: Path, overrides: tuple[str, ...] = ()) -> settings.Experiment:
    """Read an experiment; `overrides` are `key.path=value` texts applied on top.

    Raises InputError naming the file, the key, the value and what to do.
    """
    if not path.is_file():
        raise InputError(f"there is no experiment file {str(path)!r}; give the path of a YAML file")
    try:
        data = parse(path.read_text(encoding="utf-8"))
        for override in overrides:
            _override(data, override)
        return experiment(data)
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: this is not a text file ({error.reason})") from error
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error


def parse(text: str) -> dict[str, Any]:
    """The mapping in a YAML text; raises InputError for anything that is not plain data."""
    try:
        data = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        reason = getattr(error, "problem", None) or "this is not valid YAML"
        raise InputError(f"{where}{reason}; an experiment is plain data, without tags or code") from error
    if not isinstance(data, dict):
        raise InputError("the file must hold keys and values, such as `name: quickstart`")
    return data


def _override(data: dict[str, Any], text: str) -> None:
    key, sign, value = text.partition("=")
    if not sign or not key:
        raise InputError(f"--set {text!r} must look like key.path=value")
    *parents, last = key.split(".")
    here: Any = data
    for name in parents:
        here = here.setdefault(name, {}) if isinstance(here, dict) else _item(here, name, text)
    if isinstance(here, list):
        _item(here, last, text)
        here[int(last)] = yaml.load(value, Loader=_Loader)
    elif isinstance(here, dict):
        here[last] = yaml.load(value, Loader=_Loader)
    else:
        raise InputError(f"--set {text!r}: {parents[-1]!r} holds no keys")


def _item(here: Any, name: str, text: str) -> Any:
    if not isinstance(here, list) or not name.isdigit() or int(name) >= len(here):
        raise InputError(f"--set {text!r}: there is no {name!r} here")
    return here[int(name)]


def experiment(data: Mapping[str, Any]) -> settings.Experiment:
    """The experiment that a mapping describes; raises InputError naming key, value, reason and what to do."""
    rest = dict(data)
    for key in ("data", "target", "budgets"):
        if key not in rest:
            raise InputError(f"`{key}` is missing; {_EXAMPLES[key]}")
    built: dict[str, Any] = {
        "data": part(rest.pop("data"), "data", "data"),
        "space": part(rest.pop("space", {"name": "mobile"}), "space", "space"),
        "latency_model": part(rest.pop("latency_model", {"name": "roofline"}), "latency model", "latency_model"),
        "target": _build(Target, rest.pop("target"), "target"),
        "budgets": _budgets(rest.pop("budgets")),
    }
    search = rest.pop("search", {})
    if not isinstance(search, dict):
        raise InputError(f"search: expected keys and values, got {search!r}")
    searcher = part(search.get("searcher", {"name": "nsga2"}), "searcher", "search.searcher")
    built["search"] = _build(
        settings.SearchSettings, {k: v for k, v in search.items() if k != "searcher"}, "search", {"searcher": searcher}
    )
    for name, kind in (
        ("splits", SplitFractions),
        ("calibration", settings.CalibrationSettings),
        ("supernet", settings.SupernetSettings),
        ("winners", settings.WinnerSettings),
        ("verify", settings.VerifySettings),
    ):
        built[name] = _build(kind, rest.pop(name, {}), name)
    return typing.cast(settings.Experiment, _build(settings.Experiment, rest, "", built))


_EXAMPLES = {
    "data": "write for example `data: {name: digits}`",
    "target": "write for example `target: {device: host, runner: onnxruntime}`",
    "budgets": "write for example `budgets: [{latency: 8 ms}]`",
}


def _budgets(data: Any) -> tuple[settings.Budget, ...]:
    if not isinstance(data, list):
        raise InputError(f"budgets: expected a list such as `- latency: 8 ms`, got {data!r}")
    budgets = []
    for number, item in enumerate(data):
        where = f"budgets[{number}]"
        if isinstance(item, dict) and isinstance(item.get("target"), dict):
            item = {**item, "target": _build(Target, item["target"], f"{where}.target")}
        budget = typing.cast(settings.Budget, _build(settings.Budget, item, where))
        if not budget.name:
            name = f"{budget.of}-{item['latency']}".replace(" ", "").replace("_case", "")
            budget = dataclasses.replace(budget, name=name)
        budgets.append(budget)
    return tuple(budgets)


def part(data: Any, kind: str, where: str) -> settings.Part:
    """A named implementation with arguments checked against its signature; a text is the name alone."""
    if isinstance(data, str):
        data = {"name": data}
    if not isinstance(data, dict) or not isinstance(data.get("name"), str):
        raise InputError(f"{where}: expected `name:` and its arguments, got {data!r}")
    try:
        reference = registry.resolve(data["name"], _REGISTRIES[kind], kind)
    except InputError as error:
        raise InputError(f"{where}.name: {error}") from error
    arguments = {key: value for key, value in data.items() if key != "name"}
    values = _validated(registry.load(reference), arguments, where, _GIVEN[kind], data["name"])
    return settings.Part(data["name"], reference, values)


def _build(target: Callable[..., Any], data: Any, where: str, given: Mapping[str, Any] | None = None) -> Any:
    if not isinstance(data, dict):
        raise InputError(f"{where}: expected keys and values, got {data!r}")
    values = _validated(target, data, where, frozenset(given or ()), where or "an experiment")
    return target(**values, **(given or {}))


def _validated(
    target: Callable[..., Any], data: Mapping[str, Any], where: str, given: frozenset[str], what: str
) -> dict[str, Any]:
    """Check `data` against the parameters of `target` and return its keyword arguments."""
    hints = typing.get_type_hints(target.__init__ if inspect.isclass(target) else target, include_extras=True)
    parameters = {
        _key(name, hints.get(name)): name
        for name, parameter in inspect.signature(target).parameters.items()
        if name not in given and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }
    prefix = f"{where}." if where else ""
    for key in data:
        if key not in parameters:
            takes = ", ".join(parameters) or "no keys"
            near = registry.nearest(str(key), list(parameters))
            raise InputError(f"{prefix}{key}: {what} has no key {key!r}{near} It takes {takes}")
    result = {}
    for key, name in parameters.items():
        if key in data:
            result[name] = _value(hints.get(name, Any), data[key], f"{prefix}{key}")
        elif inspect.signature(target).parameters[name].default is inspect.Parameter.empty:
            raise InputError(f"{prefix}{key} is missing; {what} needs it")
    return result


def _unit(hint: Any) -> str | None:
    """The unit in an annotation, also inside an optional one."""
    for part_ in (hint, *typing.get_args(hint)):
        for mark in getattr(part_, "__metadata__", ()):
            if isinstance(mark, Unit):
                return mark.symbol
    return None


def _key(name: str, hint: Any) -> str:
    unit = _unit(hint)
    return name.removesuffix(_SUFFIXES[unit]) if unit else name


def _value(hint: Any, value: Any, where: str) -> Any:
    unit = _unit(hint)
    if unit is not None and value is not None:
        return parse_quantity(value, unit, where)
    nested = _dataclass_in(hint)
    if nested is not None and isinstance(value, list):
        return tuple(_build(nested, item, f"{where}[{i}]") for i, item in enumerate(value))
    if nested is not None and isinstance(value, dict):
        return _build(nested, value, where)
    if dataclasses.is_dataclass(value):
        return value
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(
            typing.Annotated[hint, BeforeValidator(_tuples)], config=ConfigDict(strict=True)
        )
        return adapter.validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        inner = "".join(f"[{i}]" for i in first["loc"] if isinstance(i, int))
        raise InputError(f"{where}{inner}: {first['msg'].lower()}, got {first['input']!r}") from error


def _dataclass_in(hint: Any) -> Any:
    """The dataclass in `X`, `tuple[X, ...]` or `X | None`, if there is one."""
    if inspect.isclass(hint) and dataclasses.is_dataclass(hint):
        return hint
    if typing.get_origin(hint) in (tuple, typing.Union, types.UnionType):
        return next((found for arg in typing.get_args(hint) if (found := _dataclass_in(arg))), None)
    return None


def _tuples(value: Any) -> Any:
    """YAML has lists only; the settings are frozen and take tuples."""
    if isinstance(value, list):
        return tuple(_tuples(item) for item in value)
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return value


def dump(value: settings.Experiment) -> str:
    """The experiment as YAML, every default spelled out; `load` of it gives an equal experiment."""
    return yaml.safe_dump(_plain(value), sort_keys=False, allow_unicode=True)


def _plain(value: Any) -> Any:
    if isinstance(value, settings.Part):
        return {"name": value.name, **{key: _plain(item) for key, item in value.arguments.items()}}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        hints = typing.get_type_hints(type(value).__init__, include_extras=True)
        result = {}
        for f in dataclasses.fields(value):
            item = getattr(value, f.name)
            unit = _unit(hints[f.name])
            result[_key(f.name, hints[f.name])] = f"{item!r} {unit}" if unit and item is not None else _plain(item)
        return result
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value
