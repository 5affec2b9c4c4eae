"""YAML to Experiment and back: the only place where pydantic is used.

A section's schema is generated from the signature of what it configures, so there is no second list of keys: fields of
the frozen settings, parameters of a data loader, a space or a searcher. Unknown keys name the nearest known one, and
bare numbers are refused where a unit is due.
"""

from __future__ import annotations

import dataclasses
import inspect
import reprlib
import types
import typing
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from pydantic import BeforeValidator, ConfigDict, PydanticUserError, TypeAdapter, ValidationError

from hardware_profiles import Target
from latency_models import LATENCY_MODELS
from nas import plain_yaml, registry, settings
from nas.errors import InputError
from nas.optimisers import OPTIMISERS
from nas.searchers import SEARCHERS
from nas.tasks.image_classification import DATASETS
from nas.units import Unit, parse_quantity
from search_spaces import SPACES

#: Parameters that the program fills in, by kind of part: every part of that kind has them, a YAML may not give them.
_GIVEN: Mapping[str, tuple[str, ...]] = {
    "data": (),
    "space": ("input_shape", "classes"),
    "latency model": ("profile", "target"),
    "searcher": ("problem",),
    "optimiser": (),
}
#: Parameters that are nobody's to configure.
_HIDDEN = ("calibration", "call_s", "decision_s")
_REGISTRIES: Mapping[str, Mapping[str, str]] = {
    "data": DATASETS,
    "space": SPACES,
    "latency model": LATENCY_MODELS,
    "searcher": SEARCHERS,
    "optimiser": OPTIMISERS,
}
_SUFFIXES = {"s": "_s", "J": "_j", "B": "_bytes"}
_EXAMPLES = {
    "data": "write for example `data: {name: digits}`",
    "target": "write for example `target: {device: host, runner: onnxruntime}`",
    "budgets": "write for example `budgets: [{latency: 8 ms}]`",
}
_Shown = reprlib.Repr()
_Shown.maxstring = _Shown.maxother = 80


@dataclasses.dataclass(frozen=True)
class _Parameter:
    """One thing that can be configured: how Python calls it, its annotation and its default."""

    name: str
    hint: Any
    default: Any

    @property
    def key(self) -> str:
        """What it is called in YAML: without the suffix of its unit."""
        unit = _unit(self.hint)
        return self.name.removesuffix(_SUFFIXES[unit]) if unit else self.name


def load(path: Path, overrides: tuple[str, ...] = ()) -> settings.Experiment:
    """Read an experiment; `overrides` are `key.path=value` texts applied on top.

    Raises InputError naming the file, the key, the value and what to do.
    """
    if not path.is_file():
        raise InputError(f"there is no experiment file {str(path)!r}; give the path of a YAML file")
    try:
        data = plain_yaml.parse(path.read_text(encoding="utf-8"))
        for override in overrides:
            plain_yaml.override(data, override)
        return experiment(data)
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: this is not a text file ({error.reason})") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error


def experiment(data: Mapping[str, Any]) -> settings.Experiment:
    """The experiment that a mapping describes; raises InputError naming key, value, reason and what to do."""
    rest = dict(data)
    _refuse_unknown(rest, _parameters(settings.Experiment, "an experiment"), "", "an experiment")
    for key, example in _EXAMPLES.items():
        if key not in rest:
            raise InputError(f"`{key}` is missing; {example}")
    built: dict[str, Any] = {
        "data": part(rest.pop("data"), "data", "data"),
        "space": part(rest.pop("space", "mobile"), "space", "space"),
        "latency_model": part(rest.pop("latency_model", "roofline"), "latency model", "latency_model"),
        "target": _build(Target, rest.pop("target"), "target"),
        "budgets": _budgets(rest.pop("budgets")),
        "search": _search(rest.pop("search", {})),
    }
    return typing.cast(settings.Experiment, _build(settings.Experiment, rest, "", built))


def _search(data: Any) -> settings.SearchSettings:
    if not isinstance(data, dict):
        raise InputError(f"search: expected keys and values, got {_shown(data)}")
    _refuse_unknown(data, _parameters(settings.SearchSettings, "search"), "search.", "search")
    parts: dict[str, Any] = {"searcher": part(data.get("searcher", "nsga2"), "searcher", "search.searcher")}
    optimiser = data.get("optimiser")
    parts["optimiser"] = None if optimiser is None else part(optimiser, "optimiser", "search.optimiser")
    rest = {key: value for key, value in data.items() if key not in parts}
    return typing.cast(settings.SearchSettings, _build(settings.SearchSettings, rest, "search", parts))


def _budgets(data: Any) -> tuple[settings.Budget, ...]:
    if not isinstance(data, list):
        raise InputError(f"budgets: expected a list such as `- latency: 8 ms`, got {_shown(data)}")
    budgets = []
    for number, item in enumerate(data):
        budget = typing.cast(settings.Budget, _build(settings.Budget, item, f"budgets[{number}]"))
        if not budget.name:
            name = f"{budget.of}-{item['latency']}".replace(" ", "").replace("_case", "")
            budget = dataclasses.replace(budget, name=name)
        budgets.append(budget)
    return tuple(budgets)


def part(data: Any, kind: str, where: str) -> settings.Part:
    """A named implementation with arguments checked against its signature; a text is the name alone.

    `kind` is a key of _REGISTRIES. Defaults that a YAML can hold stand among the arguments.
    """
    if isinstance(data, str):
        data = {"name": data}
    if not isinstance(data, dict) or not isinstance(data.get("name"), str):
        raise InputError(f"{where}: expected `name:` and its arguments, got {_shown(data)}")
    name = data["name"]
    try:
        reference = registry.resolve(name, _REGISTRIES[kind], kind)
        made = registry.load(reference)
    except InputError as error:
        raise InputError(f"{where}.name: {error}") from error
    takes = _parameters(made, name)
    _check_kind(made, takes, kind, f"{where}.name: {name}")
    free = {key: parameter for key, parameter in takes.items() if parameter.name not in (*_GIVEN[kind], *_HIDDEN)}
    given = {key: value for key, value in data.items() if key != "name"}
    defaults = {p.name: p.default for p in free.values() if _is_plain(p.default)}
    return settings.Part(name, reference, {**defaults, **_validated(free, given, where, name)})


def _check_kind(made: Callable[..., Any], takes: Mapping[str, _Parameter], kind: str, what: str) -> None:
    """Refuse what cannot be a part of that kind before it is called: a file must not be able to call just anything."""
    names = {parameter.name for parameter in takes.values()}
    if missing := [name for name in _GIVEN[kind] if name not in names]:
        raise InputError(f"{what} is no {kind}: it has no parameter {missing[0]!r}")
    if kind == "data":
        from nas.tasks.image_classification.dataset import RawData

        if typing.get_type_hints(made).get("return") is not RawData:
            raise InputError(
                f"{what} is no loader of data: it has to be annotated to return nas.tasks.image_classification.dataset.RawData"
            )
    if kind == "optimiser" and not callable(getattr(made, "begin", None)):
        raise InputError(f"{what} is no optimiser: it has no method `begin` (nas.optimisers.base.Optimiser)")


def _build(target: Callable[..., Any], data: Any, where: str, built: Mapping[str, Any] | None = None) -> Any:
    """Call `target` with checked `data`, and with what is `built` already."""
    if not isinstance(data, dict):
        raise InputError(f"{where}: expected keys and values, got {_shown(data)}")
    what, built = where or "an experiment", built or {}
    takes = {key: parameter for key, parameter in _parameters(target, what).items() if parameter.name not in built}
    values = _validated(takes, data, where, what)
    try:
        return target(**values, **built)
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{where}: {error}") from error


def _parameters(target: Callable[..., Any], what: str) -> dict[str, _Parameter]:
    """The parameters of a class or function by their keys in YAML."""
    try:
        hints = typing.get_type_hints(target.__init__ if inspect.isclass(target) else target, include_extras=True)
        signature = inspect.signature(target)
    except (NameError, TypeError, ValueError) as error:
        raise InputError(f"{what}: its parameters cannot be read ({error}); annotate them with known types") from error
    found = (
        _Parameter(name, hints.get(name, Any), parameter.default)
        for name, parameter in signature.parameters.items()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    )
    return {parameter.key: parameter for parameter in found}


def _refuse_unknown(data: Mapping[Any, Any], known: Collection[str], prefix: str, what: str) -> None:
    for key in data:
        if key not in known:
            takes = ", ".join(known) or "none"
            near = registry.nearest(str(key), known)
            raise InputError(f"{prefix}{key}: {what} has no key {str(key)!r}{near} Its keys: {takes}")


def _validated(takes: Mapping[str, _Parameter], data: Mapping[str, Any], where: str, what: str) -> dict[str, Any]:
    """Check `data` against parameters and return keyword arguments."""
    prefix = f"{where}." if where else ""
    _refuse_unknown(data, takes, prefix, what)
    result = {}
    for key, parameter in takes.items():
        if key in data:
            result[parameter.name] = _value(parameter.hint, data[key], f"{prefix}{key}")
        elif parameter.default is inspect.Parameter.empty:
            raise InputError(f"{prefix}{key} is missing; {what} needs it")
    return result


def _options(hint: Any) -> tuple[Any, ...]:
    """The members of a union, or the hint itself."""
    return typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)


def _unit(hint: Any) -> str | None:
    """The unit in an annotation, also inside an optional one."""
    marks = (mark for option in _options(hint) for mark in getattr(option, "__metadata__", ()))
    return next((mark.symbol for mark in marks if isinstance(mark, Unit)), None)


def _value(hint: Any, value: Any, where: str) -> Any:
    unit = _unit(hint)
    if value is not None:
        if unit is not None:
            return parse_quantity(value, unit, where)
        for option in _options(hint):
            inner, *_ = typing.get_args(option) or (None,)
            if _is_dataclass(option):
                return _build(option, value, where)
            if typing.get_origin(option) is tuple and _is_dataclass(inner) and isinstance(value, list):
                return tuple(_build(inner, item, f"{where}[{i}]") for i, item in enumerate(value))
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(
            typing.Annotated[hint, BeforeValidator(_tuples)], config=ConfigDict(strict=True, allow_inf_nan=False)
        )
        return adapter.validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        inside = "".join(f"[{i}]" for i in first["loc"] if isinstance(i, int))
        message = first["msg"][:1].lower() + first["msg"][1:]
        raise InputError(f"{where}{inside}: {message}, got {_shown(first['input'])}") from error
    except PydanticUserError as error:
        raise InputError(f"{where}: a value of type {hint} cannot be written in YAML; leave it out") from error


def _is_dataclass(hint: Any) -> bool:
    return isinstance(hint, type) and dataclasses.is_dataclass(hint)


def _tuples(value: Any) -> Any:
    """YAML has lists only; the settings are frozen and take tuples."""
    if isinstance(value, list):
        return tuple(_tuples(item) for item in value)
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return value


def _shown(value: Any) -> str:
    """A value in a message: as Python writes it, but short and on one line."""
    return _Shown.repr(value)


def _is_plain(value: Any) -> bool:
    """Whether YAML can hold a value."""
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    return value is None or isinstance(value, bool | int | float | str)


def dump(value: settings.Experiment) -> str:
    """The experiment as YAML, every default spelled out; `load` of it gives an equal experiment."""
    return plain_yaml.dump(_plain(value))


def _plain(value: Any) -> Any:
    if isinstance(value, settings.Part):
        hints = {p.name: p for p in _parameters(registry.load(value.reference), value.name).values()}
        return {"name": value.name, **dict(_keyed(hints[name], item) for name, item in value.arguments.items())}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        known = _parameters(type(value), type(value).__name__).values()
        return dict(_keyed(parameter, getattr(value, parameter.name)) for parameter in known)
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _keyed(parameter: _Parameter, value: Any) -> tuple[str, Any]:
    unit = _unit(parameter.hint)
    return parameter.key, f"{value!r} {unit}" if unit and value is not None else _plain(value)
