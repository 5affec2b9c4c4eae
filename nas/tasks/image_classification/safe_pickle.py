"""Unpickling arrays, strings, numbers, lists and dicts, and nothing that could run code.

A pickle names functions and calls them. Here the only names it can reach are stand-ins below for the five that
numpy arrays need, so a name outside that list stops the reading before anything is called. Not even numpy's own
`__setstate__` sees the file: stand-ins check the parts and call `np.frombuffer`.
"""

import io
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np

from nas.errors import InputError
from nas.tasks.image_classification.files import read_bytes


class _Forbidden(pickle.UnpicklingError):
    """The pickle asked for something beyond arrays and builtin containers."""


class _Type:
    """Stand-in for numpy.dtype: numbers and booleans only."""

    def __init__(self, code: str, *_: Any) -> None:
        if not isinstance(code, str) or not re.fullmatch(r"[biuf][1248]", code):
            raise _Forbidden(f"an array of type {code!r}")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.dtype = self.dtype.newbyteorder(">" if state[1] == ">" else "<")


class _Array:
    """Stand-in for an array under construction; `value` is the array once its state has arrived."""

    def __init__(self, *_: Any) -> None:
        self.value: np.ndarray[Any, Any] | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, fortran, content = state
        # Python 2 wrote the content as a string, which arrives decoded as Latin-1, one character per byte.
        content = content.encode("latin-1") if isinstance(content, str) else content
        self.value = np.frombuffer(content, kind.dtype).reshape(shape, order="F" if fortran else "C")


def _from_buffer(content: bytes, kind: _Type, shape: tuple[int, ...], order: str) -> _Array:
    array = _Array()
    array.__setstate__((1, shape, kind, order == "F", content))
    return array


def _encode(text: str, encoding: str) -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise _Forbidden(f"the encoding {encoding!r}")
    return text.encode("latin-1")


ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "dtype"): _Type,
    ("numpy", "ndarray"): "ndarray",
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("numpy._core.numeric", "_frombuffer"): _from_buffer,
    ("_codecs", "encode"): _encode,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise _Forbidden(f"{module}.{name}")
        return ALLOWED[module, name]


def load_pickle(file: Path, expected: str) -> Any:
    """Return the pickle's content: numpy arrays, str (also for Python 2's), bytes, numbers, lists, tuples, dicts.

    Raises InputError when the file is missing, damaged, or asks for anything else; nothing in it is ever executed.
    """
    content = read_bytes(file, expected)
    try:
        return _plain(_Unpickler(io.BytesIO(content), encoding="latin-1").load())
    except _Forbidden as error:
        raise InputError(
            f"{file}: refused, because this pickle asks for {error}; data files need numpy arrays, lists and strings "
            f"only, so it was not executed. {expected}"
        ) from error
    except (
        pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError,
        MemoryError, RecursionError,
    ) as error:  # fmt: skip
        raise InputError(f"{file}: is no pickle or a damaged one ({error}). {expected}") from error


def _plain(value: Any) -> Any:
    """Return `value` with every stand-in replaced by its array."""
    if isinstance(value, _Array):
        if value.value is None:
            raise pickle.UnpicklingError("an array without content")
        return value.value
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(item) for item in value)
    return value
