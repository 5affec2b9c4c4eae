"""YAML as plain data and nothing more: mappings, lists, texts, numbers; and single keys replaced from the command line.

PyYAML reads YAML 1.1; what differs here: a key given twice is refused, so are aliases and tags, because nothing in a
file is ever executed or expanded, and 1e-3 is a number, as in YAML 1.2.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from hardware_profiles.plain_yaml import PlainLoader, load
from nas.errors import InputError

_FLOAT = "tag:yaml.org,2002:float"
#: What of an option is repeated in a message.
_LONGEST_SAID = 120
_EXPONENT = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+\Z")


class _Loader(PlainLoader):
    """Reads 1e-3 as a number."""


class _Dumper(yaml.SafeDumper):
    """Quotes the texts that `_Loader` would read as numbers."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _class in (_Loader, _Dumper):
    _class.add_implicit_resolver(_FLOAT, _EXPONENT, list("-+.0123456789"))


def parse(text: str) -> dict[str, Any]:
    """The mapping in a YAML text; raises InputError, with the line, for anything that is not plain data."""
    data = _read(text)
    if not isinstance(data, dict):
        raise InputError("the file must hold keys and values, such as `name: quickstart`")
    return data


def read(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; raises InputError naming the file."""
    try:
        # Whoever opens a pipe waits for somebody to write into it.
        if path.exists() and not path.is_file():
            raise InputError("this is no regular file; give the path of a YAML file")
        return parse(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: this is not a text file ({error.reason})") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def dump(data: Any) -> str:
    """Plain data as YAML in the order of its keys; `parse` of it gives equal data."""
    text: str = yaml.dump(data, Dumper=_Dumper, sort_keys=False)
    return text


def override(data: dict[str, Any], text: str) -> None:
    """Replace in `data` what `text` names, such as "budgets.0.latency=5 ms"; raises InputError where it names nothing.

    Sections that are missing are created; whether their keys mean anything is not known here.
    """
    path, sign, value = text.partition("=")
    shown = text if len(text) <= _LONGEST_SAID else f"{text[:_LONGEST_SAID]}..."
    said = f"--set {shown!r}"
    if not sign or not path:
        raise InputError(f"{said} must look like key=value or section.key=value")
    try:
        read = _read(value)
    except InputError as error:
        raise InputError(f"{said}: {error}") from error
    replace(data, path, read, said)


def replace(data: dict[str, Any], path: str, value: Any, said: str) -> None:
    """Put a value where a dotted path leads; raises InputError, which begins with `said`, where it leads nowhere."""
    *parents, last = path.split(".")
    here: Any = data
    for name in parents:
        here = here.setdefault(name, {}) if isinstance(here, dict) else here[_index(here, name, said)]
    if isinstance(here, dict):
        here[last] = value
    else:
        here[_index(here, last, said)] = value


def _index(here: Any, name: str, said: str) -> int:
    if not isinstance(here, list):
        raise InputError(f"{said}: there is nothing that could hold {name!r}")
    if not name.isdecimal() or int(name) >= len(here):
        raise InputError(f"{said}: {name!r} is no place in a list of {len(here)}; the first is 0")
    return int(name)


def _read(text: str) -> Any:
    try:
        return load(text, _Loader)
    except ValueError as error:
        raise InputError(str(error)) from error
