"""Messages between a host and a board: a few numbers, JSON, then arrays as they lie in memory.

    4 bytes   what every message begins with
    4 + 8     the length of the JSON and that of the arrays, most significant byte first
    4         the CRC-32 of all that, as a board may hang on a serial line
    JSON      arrays stand in it as {"#": number, "dtype": ..., "shape": ...}, dataclasses as {"@": name, "fields": ...}
    arrays    one after the other, little-endian

Either side may speak an older Python, so nothing is pickled; this file is sent to boards, with Python 3.8.
"""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

MAGIC: Final = b"\x89hwb"
HEAD: Final = struct.Struct("!4sIQI")
#: More than any message of ours has: what announces more is no message.
_MOST_JSON, _MOST_ARRAYS = 1 << 26, 1 << 31


class Garbled(Exception):
    """What was read is no message; carries its beginning."""


def pack(message: object) -> bytes:
    """A message as bytes: of dicts, lists, numbers, texts, bytes, arrays, and dataclasses of them."""
    arrays: list[bytes] = []
    text = json.dumps(_plain(message, arrays)).encode()
    payload = b"".join(arrays)
    return HEAD.pack(MAGIC, len(text), len(payload), _check(text, payload)) + text + payload


def lengths(head: bytes) -> tuple[int, int]:
    """The lengths of JSON and arrays behind a head; raises Garbled for what is none."""
    magic, text, payload, _ = HEAD.unpack(head)
    if magic != MAGIC or text > _MOST_JSON or payload > _MOST_ARRAYS:
        raise Garbled(repr(head))
    return text, payload


def unpack(head: bytes, text: bytes, payload: bytes, known: Mapping[str, type]) -> Any:
    """The message; dataclasses are made of those that are `known` by name. Raises Garbled for what is none."""
    if HEAD.unpack(head)[-1] != _check(text, payload):
        raise Garbled(f"{text[:80]!r}: bytes changed on the way")
    try:
        return _made(json.loads(text), payload, _Position(), known)
    except (ValueError, KeyError, TypeError) as error:
        raise Garbled(f"{text[:80]!r}: {error}") from None


def _check(text: bytes, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(text, zlib.crc32(b"%d %d" % (len(text), len(payload)))))


class _Position:
    """How many bytes of the arrays were read."""

    def __init__(self) -> None:
        self.at = 0


def _plain(value: object, arrays: list[bytes]) -> Any:
    if isinstance(value, bytes):
        arrays.append(value)
        return {"#": "bytes", "size": len(value)}
    if hasattr(value, "dtype"):
        import numpy as np  # a board without it is to say so

        array = np.asarray(value)
        array = array.astype(array.dtype.newbyteorder("<"))
        arrays.append(array.tobytes())
        return {"#": "array", "dtype": array.dtype.str, "shape": list(array.shape)}
    if is_dataclass(value) and not isinstance(value, type):
        return {
            "@": type(value).__name__,
            "fields": {f.name: _plain(getattr(value, f.name), arrays) for f in fields(value)},
        }
    if isinstance(value, dict):
        return {name: _plain(each, arrays) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each, arrays) for each in value]
    return value


def _made(value: Any, payload: bytes, position: _Position, known: Mapping[str, type]) -> Any:
    if isinstance(value, list):
        return [_made(each, payload, position, known) for each in value]
    if not isinstance(value, dict):
        return value
    if "#" in value:
        return _array(value, payload, position)
    if "@" in value:
        made = {name: _made(each, payload, position, known) for name, each in value["fields"].items()}
        kind = known[value["@"]]
        return kind(**{name: tuple(each) if isinstance(each, list) else each for name, each in made.items()})
    return {name: _made(each, payload, position, known) for name, each in value.items()}


def _array(value: Mapping[str, Any], payload: bytes, position: _Position) -> Any:
    if value["#"] == "bytes":
        end = position.at + value["size"]
        found: Any = payload[position.at : end]
        size = len(found)
    else:
        import numpy as np

        dtype, shape = np.dtype(value["dtype"]), tuple(value["shape"])
        end = position.at + dtype.itemsize * int(np.prod(shape, dtype=np.int64))
        found = np.frombuffer(payload[position.at : end], dtype).reshape(shape).astype(dtype.newbyteorder("="))
        size = found.nbytes
    if position.at + size != end:
        raise ValueError("an array is cut short")
    position.at = end
    return found
