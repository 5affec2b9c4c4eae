"""What the folder of a cell is called: by the values of its axes, short enough to read and to type."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

#: Letters of a value, and bytes of a whole name, that are written out; what is longer ends with a part of its hash.
_LONGEST_VALUE: Final = 40
_LONGEST_NAME: Final = 160
_HASH: Final = 8


def labels(keys: Sequence[str]) -> dict[str, str]:
    """What each key is called in names: its last word, with as many before it as tell it from the others."""
    parts = {key: key.split(".") for key in keys}
    taken = {key: _words(words) for key, words in parts.items()}
    while True:
        names = {key: ".".join(words[-taken[key] :]) for key, words in parts.items()}
        alike = [key for key, name in names.items() if list(names.values()).count(name) > 1]
        longer = [key for key in alike if taken[key] < len(parts[key])]
        if not longer:
            return names
        for key in longer:
            taken[key] += 1


def _words(words: Sequence[str]) -> int:
    """How many words of a key say something: an index alone does not."""
    return next((count for count in range(1, len(words) + 1) if not words[-count].isdecimal()), len(words))


def cell_name(values: Mapping[str, Any], called: Mapping[str, str]) -> str:
    """The name of a cell: `latency-2ms_seed-0`."""
    name = "_".join(f"{_plain(called[key])}-{short(value)}" for key, value in values.items())
    return _cut(name.lstrip("-_."), values, _LONGEST_NAME) or "cell"


def short(value: Any) -> str:
    """A value in a name: letters, digits, '-', '_' and '.' only."""
    return _cut(_plain(_text(value)), value, _LONGEST_VALUE)


def _text(value: Any) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return str(value).lower()
        case Mapping():
            named = [_text(value["name"])] if "name" in value else []
            return "-".join([*named, *(f"{key}-{_text(item)}" for key, item in value.items() if key != "name")])
        case list() | tuple():
            return "-".join(map(_text, value))
        case _:
            return str(value)


def _plain(text: str) -> str:
    return re.sub(r"[^\w.-]+", "-", re.sub(r"\s+", "", text))


def _cut(text: str, whole: Any, longest: int) -> str:
    if len(text.encode()) <= longest:
        return text
    digest = hashlib.sha256(json.dumps(whole, default=str).encode()).hexdigest()[:_HASH]
    kept = text.encode()[: longest - _HASH - 1].decode(errors="ignore")
    return f"{kept}-{digest}"
