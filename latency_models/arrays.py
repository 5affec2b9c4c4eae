"""What arrays an .npz file holds, whatever else it may be: damaged, foreign, or made to unfold without end.

numpy's own reader believes what a file says of itself: it takes room for a shape before it looks for its numbers, and
leaves out the checksum where it stops exactly at the end.
"""

from __future__ import annotations

import io
import lzma
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

#: What zipfile, numpy, json and constructors raise at bytes that are not what they should be.
DAMAGED: Final[tuple[type[Exception], ...]] = (
    ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, OSError, RuntimeError, SyntaxError, TypeError,
    ValueError, lzma.LZMAError, struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
#: More bytes than that are read only from a file that is not much smaller itself.
_LARGE_BYTES: Final = 2**28
_MOST_UNFOLDED: Final = 50
_SUFFIX: Final = ".npy"


@contextmanager
def understood(what: str) -> Iterator[None]:
    """Within, bytes become values: whatever goes wrong becomes a ValueError that begins with `what`."""
    try:
        yield
    except KeyError as error:
        raise ValueError(f"{what} (it lacks {error.args[0]!r})") from error
    except DAMAGED as error:
        raise ValueError(f"{what} ({str(error) or type(error).__name__})") from error


def read_arrays(file: str | Path | IO[bytes], wanted: Collection[str] | None = None) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz file by name, all or those that are wanted and there; no other is unpacked.

    Raises one of DAMAGED where it is none, a bit is another, there are Python objects in it, or where it unfolds to
    much more than it is.
    """
    with _opened(file) as archive:
        members = {
            member.filename.removesuffix(_SUFFIX): member
            for member in archive.infolist()
            if member.filename.endswith(_SUFFIX)
        }
        chosen = {name: member for name, member in members.items() if wanted is None or name in wanted}
        size = sum(member.file_size for member in chosen.values())
        packed = sum(member.compress_size for member in chosen.values())
        if size > _LARGE_BYTES and size > _MOST_UNFOLDED * packed:
            raise ValueError(
                f"{packed:,} bytes unfold to {size / 2**30:.1f} GiB; if that is meant, write it with numpy.savez, "
                "which packs nothing"
            )
        return {name: read_array(archive.read(member)) for name, member in chosen.items()}


def array_names(file: str | Path | IO[bytes]) -> tuple[str, ...]:
    """The names of the arrays in an .npz file; raises one of DAMAGED."""
    with _opened(file) as archive:
        return tuple(name.removesuffix(_SUFFIX) for name in archive.namelist() if name.endswith(_SUFFIX))


def _opened(file: str | Path | IO[bytes]) -> zipfile.ZipFile:
    # Whoever opens a pipe waits for somebody to write into it.
    if isinstance(file, str | Path) and Path(file).exists() and not Path(file).is_file():
        raise ValueError("it is no regular file")
    return zipfile.ZipFile(file)


def read_array(content: bytes) -> NDArray[Any]:
    """The array of an .npy file's content; raises ValueError where it says of itself what is not so."""
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"an array of format {version}, which is not read")
    shape, is_fortran, dtype = readers[version](stream)
    if dtype.hasobject:
        raise ValueError("Object arrays could hold a program, and are not read, as with allow_pickle=False")
    if any(side < 0 for side in shape) or math.prod(shape) * dtype.itemsize > len(content) - stream.tell():
        raise ValueError(f"an array of shape {list(shape)} is said to be there, and its numbers are not")
    order: Literal["F", "C"] = "F" if is_fortran else "C"
    # Copied: what is read may be written to.
    return np.ndarray(shape, dtype, content, stream.tell(), order=order).copy(order)
