"""Every section and key of an experiment file with its type and default, read from the signatures behind it.

    python benchmarks/reference.py

Prints the tables of docs/experiment.md without their last column, which is written by hand; `tests/test_docs.py` holds
the page to them. A duration is text such as "8 ms".
"""

from __future__ import annotations

import copy
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from typing import Any

from nas.config import dump, parse, plain_yaml, registry, settings, signatures
from nas.config.component import ComponentSpec
from nas.config.kinds import Kind
from nas.errors import InputError

REQUIRED = "required"

#: The shortest experiment; what an experiment without a key means is read from it.
SHORTEST = """
name: shortest
data: digits
target: {device: host, runner: onnxruntime}
budgets: [{latency: 8 ms}]
"""
_WORDS: Mapping[Any, str] = {
    int: "integer",
    float: "number",
    bool: "true or false",
    str: "text",
    type(None): "null",
    Any: "value",
    ComponentSpec: "name, or its section",
}


@dataclass(frozen=True)
class Key:
    """One key: what it is called, what may be given, and what holds where it is not."""

    name: str
    type: str
    default: str


def sections() -> dict[str, tuple[Key, ...]]:
    """The keys of every section by the section's name, `experiment` (the file itself) first."""
    found = {"experiment": tuple(_of_experiment((), settings.Experiment))}
    for key, parameter in signatures.parameters(settings.Experiment, "experiment").items():
        for section in _sections_in(parameter.hint):
            is_list = typing.get_origin(signatures.options(parameter.hint)[0]) is tuple
            path: tuple[str | int, ...] = (key, 0) if is_list else (key,)
            found[key] = tuple(_of_experiment(path, section))
    for name, kind in _components(settings.Experiment):
        for component, reference in kind.known.items():
            found |= _of_signature(
                f"{name}: {component}", signatures.configurable(registry.load(reference), kind, name)
            )
    return found


def _components(section: Any, prefix: str = "") -> Iterator[tuple[str, Kind]]:
    """Where a component is named, and of which kind."""
    for key, parameter in signatures.parameters(section, prefix).items():
        if kind := signatures.kind_of(parameter.hint):
            yield f"{prefix}{key}", kind
        for inner in _sections_in(parameter.hint):
            yield from _components(inner, f"{prefix}{key}.")


def _of_experiment(path: tuple[str | int, ...], kind: Any) -> Iterator[Key]:
    """The keys of a section that every experiment has, at `path`; defaults are what leaving them out gives."""
    whole = plain_yaml.parse(dump.to_yaml(parse.experiment(plain_yaml.parse(SHORTEST))))
    for key, parameter in signatures.parameters(kind, str(kind)).items():
        without = copy.deepcopy(whole)
        del _at(without, path)[key]
        if key == "name" and path:
            # A budget without a name is named after its limit.
            _at(without, path)["latency"] = "8 ms"
        try:
            default = _written(_at(plain_yaml.parse(dump.to_yaml(parse.experiment(without))), path)[key])
        except InputError:
            default = REQUIRED
        yield Key(key, _type(parameter.hint), default)


def _at(data: Any, path: tuple[str | int, ...]) -> Any:
    for step in path:
        data = data[step]
    return data


def _of_signature(name: str, takes: Mapping[str, signatures.Parameter]) -> dict[str, tuple[Key, ...]]:
    """The keys of a section, and the sections within them."""
    keys: list[Key] = []
    within: dict[str, tuple[Key, ...]] = {}
    for key, parameter in takes.items():
        default = REQUIRED if parameter.required else _written(parameter.python_default)
        keys.append(Key(key, _type(parameter.hint), default))
        for kind in _sections_in(parameter.hint):
            within |= _of_signature(f"{name}, {key}", signatures.parameters(kind, name))
    return {name: tuple(keys), **within}


def _sections_in(hint: Any) -> Iterator[Any]:
    """The dataclasses in an annotation that a file writes as sections of their own."""
    if signatures.kind_of(hint):
        return
    if isinstance(hint, type) and is_dataclass(hint):
        yield hint
        return
    for inner in typing.get_args(hint):
        yield from _sections_in(inner)


def _type(hint: Any) -> str:
    allowed = signatures.options(hint)
    if signatures.unit_of(hint) is not None:
        return " or ".join(["duration", *(["null"] if type(None) in typing.get_args(hint) else [])])
    if len(allowed) > 1:
        return " or ".join(map(_type, allowed))
    (hint,) = allowed
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return ", ".join(f"`{choice}`" for choice in inner)
    if origin is tuple:
        return f"list of {_many(_type(inner[0]))}"
    if origin is not None and issubclass(origin, Mapping):
        return f"names, each with a {_type(inner[1])}"
    if is_dataclass(hint) and hint is not ComponentSpec:
        return "section"
    return _WORDS[hint]


def _many(word: str) -> str:
    if word.startswith("list of "):
        return word.replace("list", "lists", 1)
    return word if word.startswith("`") else f"{word}s"


def _written(value: Any) -> str:
    """A default as a file writes it; of a section its name or nothing, as its keys have defaults of their own."""
    if isinstance(value, Mapping):
        return str(value.get("name", "{}"))
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_written, value))}]"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return str(value)


def main() -> None:
    for name, keys in sections().items():
        print(f"\n## {name}\n")
        if keys:
            print("| key | type | default |\n|---|---|---|")
        for key in keys:
            print(f"| `{key.name}` | {key.type} | {key.default if key.default == REQUIRED else f'`{key.default}`'} |")


if __name__ == "__main__":
    main()
