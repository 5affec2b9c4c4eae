"""Reading IDX, the format of MNIST and its relatives, gzipped or plain.

Two zero bytes, a type code, the number of dimensions, each dimension as a big-endian uint32, then the values:
http://yann.lecun.com/exdb/mnist/.
"""

import gzip
import io
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nas.errors import InputError
from nas.tasks.image_classification.files import read_bytes

UNSIGNED_BYTE = 0x08
#: More is not unpacked: it is far more than all the sets of this format hold.
MOST_BYTES = 2**30


def read_idx(folder: Path, name: str, dimensions: int, expected: str) -> npt.NDArray[np.uint8]:
    """The uint8 array in `folder/name`.gz or `folder/name`, whichever is there (the gzipped one first).

    Raises InputError when the file is missing, is no IDX file of unsigned bytes with that many dimensions, or is
    shorter or longer than its header says.
    """
    file = folder / f"{name}.gz"
    if not file.exists() and (folder / name).exists():
        file = folder / name
    content = read_bytes(file, expected)
    if content[:2] == b"\x1f\x8b":
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(content)) as unpacked:
                content = unpacked.read(MOST_BYTES)
        except (EOFError, OSError, zlib.error) as error:
            raise InputError(f"{file}: the gzip data is truncated or damaged ({error}); fetch it again") from error
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != UNSIGNED_BYTE or content[3] != dimensions:
        raise InputError(
            f"{file}: starts with {content[:4].hex(' ') or 'nothing'}, an IDX file of unsigned bytes with {dimensions} "
            f"dimensions with 00 00 08 {dimensions:02x}; check that this is the right file"
        )
    header = 4 + 4 * dimensions
    if len(content) < header:
        raise InputError(f"{file}: {len(content)} bytes end inside the header of {header}; fetch the file again")
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", dimensions, offset=4))
    # Python's integers: a header of garbage must not overflow into a plausible size.
    size = 1
    for length in shape:
        size *= length
    if len(content) - header != size:
        raise InputError(
            f"{file}: the header says {' x '.join(map(str, shape))} = {size} values, the file holds "
            f"{len(content) - header}; it is truncated or damaged, fetch it again"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)
