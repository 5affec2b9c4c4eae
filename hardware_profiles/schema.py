"""The file format of a device profile: plain data to a checked DeviceProfile.

A bad profile is refused with the file, the key and the reason; a wrong number would only show up as a wrong
latency.
"""

from __future__ import annotations

import difflib
import math
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any, NoReturn

from hardware_profiles.profile import (
    DTYPES,
    FUSIONS,
    GRADES,
    KINDS,
    QUANTITIES,
    QUANTITY_MAPS,
    SCHEMA,
    SCOPES,
    Cache,
    DeviceProfile,
    ProfileError,
    Quantity,
)

_QUANTITY_KEYS = ("value", "source", "grade")
_CACHE_KEYS = ("level", "bytes", "scope", "source", "grade")
_OPTIONAL = ("clock_hz", "core_flops_per_s", "core_bandwidth_bytes_per_s", "idle_w", "tdp_w", "aliases")
_KEYS = ("schema", *(field.name for field in fields(DeviceProfile)))
_REQUIRED = tuple(key for key in _KEYS if key not in (*_OPTIONAL, "tvm_target", "notes", "machine"))
_UNITS = {
    "cores": "a count",
    "clock_hz": "hertz",
    "peak_flops_per_s": "FLOP per second",
    "core_flops_per_s": "FLOP per second",
    "bandwidth_bytes_per_s": "bytes per second",
    "core_bandwidth_bytes_per_s": "bytes per second",
    "stream_fraction": "a fraction of the bandwidth between 0 and 1",
    "memory_bytes": "bytes",
    "bytes": "bytes",
    "launch_overhead_s": "seconds",
    "idle_w": "watts",
    "tdp_w": "watts",
}
#: What a number in the right unit can be; one outside was almost surely written in another unit (GHz, ms, GiB).
_RANGES = {
    "cores": (1, 1e6),
    "clock_hz": (1e6, 1e11),
    "peak_flops_per_s": (1e6, 1e18),
    "core_flops_per_s": (1e6, 1e18),
    "bandwidth_bytes_per_s": (1e6, 1e15),
    "core_bandwidth_bytes_per_s": (1e6, 1e15),
    "stream_fraction": (0.01, 1),
    "memory_bytes": (1e4, 1e15),
    "launch_overhead_s": (0, 0.1),
    "idle_w": (0, 1e5),
    "tdp_w": (1e-3, 1e5),
}


def parse(data: object, where: str = "profile") -> DeviceProfile:
    """Check plain data and build the profile; raises ProfileError naming `where`, the key and the reason."""
    table = _mapping(data, where, "")
    _known(table, _KEYS, where, "")
    if table.get("schema") != SCHEMA:
        _refuse(where, "schema", f"is {table.get('schema')!r}; this release reads schema {SCHEMA}")
    missing = [key for key in _REQUIRED if key not in table]
    if missing:
        _refuse(where, missing[0], "is missing; every profile needs it")
    sources = _texts(table["sources"], where, "sources")
    values: dict[str, Any] = {"sources": sources}
    for key in ("id", "name", "family"):
        values[key] = _text(table[key], where, key)
    if not re.fullmatch(r"[a-z0-9][a-z0-9_]*", values["id"]):
        _refuse(where, "id", f"is {values['id']!r}; use lower-case letters, digits and underscores")
    values["kind"] = _one_of(table["kind"], KINDS, where, "kind")
    for key in QUANTITIES:
        if table.get(key) is not None:
            values[key] = _quantity(table[key], sources, where, key)
    for key in QUANTITY_MAPS:
        if table.get(key) is not None:
            by_dtype = _mapping(table[key], where, key)
            _known(by_dtype, DTYPES, where, key)
            values[key] = {
                dtype: _quantity(value, sources, where, f"{key}.{dtype}") for dtype, value in by_dtype.items()
            }
    if "float32" not in values["peak_flops_per_s"]:
        _refuse(where, "peak_flops_per_s", "has no float32; every profile needs it")
    values["caches"] = tuple(
        _cache(item, sources, where, f"caches[{i}]") for i, item in enumerate(_list(table["caches"], where, "caches"))
    )
    fusions = _list(table["fusions"], where, "fusions")
    values["fusions"] = tuple(_one_of(item, FUSIONS, where, "fusions") for item in fusions)
    for key in ("aliases", "notes"):
        values[key] = tuple(_text(item, where, key) for item in _list(table.get(key) or [], where, key))
    if table.get("tvm_target") is not None:
        values["tvm_target"] = _tvm_target(table["tvm_target"], where)
    if table.get("machine") is not None:
        values["machine"] = _texts(table["machine"], where, "machine")
    return DeviceProfile(**values)


def nearest(word: str, known: Iterable[str], n: int = 3) -> list[str]:
    """Up to `n` of the known names that resemble `word`: those that contain it, then those spelled alike."""
    names = list(dict.fromkeys(known))
    inside = [name for name in names if len(word) > 2 and word in name]
    return list(dict.fromkeys(inside + difflib.get_close_matches(word, names, n=n, cutoff=0.6)))[:n]


def _refuse(where: str, key: str, reason: str) -> NoReturn:
    raise ProfileError(f"{where}: {key} {reason}" if key else f"{where}: {reason}")


def _mapping(data: object, where: str, key: str) -> Mapping[str, Any]:
    if not isinstance(data, Mapping) or not all(isinstance(name, str) for name in data):
        _refuse(where, key, f"is {_short(data)}; a table of 'key: value' lines is needed")
    return data


def _list(data: object, where: str, key: str) -> list[Any]:
    if not isinstance(data, list | tuple):
        _refuse(where, key, f"is {_short(data)}; a list is needed")
    return list(data)


def _text(data: object, where: str, key: str) -> str:
    if not isinstance(data, str) or not data.strip():
        _refuse(where, key, f"is {_short(data)}; a text is needed")
    return data


def _texts(data: object, where: str, key: str) -> dict[str, str]:
    return {name: _text(text, where, f"{key}.{name}") for name, text in _mapping(data, where, key).items()}


def _one_of(data: object, allowed: tuple[Any, ...], where: str, key: str) -> Any:
    if data not in allowed:
        _refuse(where, key, f"is {_short(data)}; choose from {', '.join(allowed)}")
    return data


def _known(table: Mapping[str, Any], allowed: tuple[str, ...], where: str, key: str) -> None:
    for name in table:
        if name not in allowed:
            close = nearest(name, allowed, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(allowed)}"
            _refuse(where, f"{key}.{name}" if key else name, f"is not a key of a device profile; {hint}")


def _number(data: object, unit: str, where: str, key: str) -> float:
    # YAML 1.1 reads 48e9 as a text; users mean the number.
    if isinstance(data, str) and re.fullmatch(r"[-+]?[0-9]*\.?[0-9]+[eE][-+]?[0-9]+", data):
        data = float(data)
    if isinstance(data, bool) or not isinstance(data, int | float):
        _refuse(where, key, f"is {_short(data)}; write a plain number, in {unit}")
    # An integer may be larger than any float, and have more digits than anyone wants to read.
    number = math.inf if abs(data) > sys.float_info.max else float(data)
    if not math.isfinite(number):
        _refuse(where, key, f"is {number}; a finite number is needed")
    if number < 0:
        _refuse(where, key, f"is {data}; it cannot be negative")
    return number


def _origin(table: Mapping[str, Any], sources: Mapping[str, str], where: str, key: str) -> tuple[str, Any]:
    for part in ("source", "grade"):
        if part not in table:
            _refuse(where, key, f"has no {part}; every number says where it comes from and how far to trust it")
    source = _text(table["source"], where, f"{key}.source")
    if source not in sources:
        _refuse(where, f"{key}.source", f"is {source!r}, which 'sources' does not explain; add a line for it there")
    return source, _one_of(table["grade"], GRADES, where, f"{key}.grade")


def _quantity(data: object, sources: Mapping[str, str], where: str, key: str) -> Quantity:
    name = key.split(".")[0]
    if not isinstance(data, Mapping):
        _refuse(where, key, f"is {_short(data)}; write {{value: ..., source: ..., grade: ...}}, in {_UNITS[name]}")
    table = _mapping(data, where, key)
    _known(table, _QUANTITY_KEYS, where, key)
    if "value" not in table:
        _refuse(where, key, "has no value")
    value = _number(table["value"], _UNITS[name], where, f"{key}.value")
    low, high = _RANGES[name]
    if not low <= value <= high:
        _refuse(where, f"{key}.value", f"is {value:g}, outside {low:g} to {high:g}; the unit is {_UNITS[name]}")
    return Quantity(value, *_origin(table, sources, where, key))


def _cache(data: object, sources: Mapping[str, str], where: str, key: str) -> Cache:
    table = _mapping(data, where, key)
    _known(table, _CACHE_KEYS, where, key)
    for part in ("level", "bytes", "scope"):
        if part not in table:
            _refuse(where, key, f"has no {part}")
    level, size = (
        _number(table[part], _UNITS.get(part, "a count"), where, f"{key}.{part}") for part in _CACHE_KEYS[:2]
    )
    if level not in (1, 2, 3, 4):
        _refuse(where, f"{key}.level", f"is {level:g}; cache levels are 1 to 4")
    if size < 1024 or size != int(size):
        _refuse(where, f"{key}.bytes", f"is {size:g}; write whole bytes, at least 1024 (not KiB)")
    scope = _one_of(table["scope"], SCOPES, where, f"{key}.scope")
    return Cache(int(level), int(size), scope, *_origin(table, sources, where, key))


def _tvm_target(data: object, where: str) -> Mapping[str, Any]:
    if not isinstance(data, Mapping) or "kind" not in data:
        _refuse(where, "tvm_target", f"is {_short(data)}; write a table with a 'kind', as tvm.target.Target takes it")
    return dict(_mapping(data, where, "tvm_target"))


def _short(data: object) -> str:
    text = repr(data)
    return text if len(text) <= 60 else text[:57] + "..."
