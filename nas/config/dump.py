"""An experiment back as YAML."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from nas.config import plain_yaml
from nas.config.component import ComponentSpec
from nas.config.settings import Experiment
from nas.config.signatures import Parameter, parameters, unit_of


def to_yaml(experiment: Experiment) -> str:
    """The experiment as YAML, every default spelled out; `parse.load` of it gives an equal experiment."""
    return plain_yaml.dump(plain(experiment))


def plain(value: Any) -> Any:
    """Settings as the plain data that a YAML holds, every default spelled out."""
    if isinstance(value, ComponentSpec):
        takes = {parameter.name: parameter for parameter in parameters(value.load(), value.name).values()}
        return {"name": value.name, **dict(_keyed(takes[name], item) for name, item in value.arguments.items())}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        known = parameters(type(value), type(value).__name__).values()
        return dict(_keyed(parameter, getattr(value, parameter.name)) for parameter in known)
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return value


def _keyed(parameter: Parameter, value: Any) -> tuple[str, Any]:
    unit = unit_of(parameter.hint)
    return parameter.key, f"{value!r} {unit}" if unit and value is not None else plain(value)
