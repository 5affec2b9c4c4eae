"""Where images are read from: arrays in memory, arrays on disk that are mapped into memory, and parts of either."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

Images: TypeAlias = npt.NDArray[np.uint8 | np.float32]
Indices: TypeAlias = npt.NDArray[np.int64]
Digests: TypeAlias = npt.NDArray[np.bytes_]

#: How much is read at a time where all images are looked at once.
_CHUNK_BYTES: Final = 2**24


@dataclass(frozen=True, eq=False)
class View:
    """Some images of an array, in an order of their own, read when they are asked for.

    It is indexed as an array is, by its first axis alone, and gives arrays in memory.
    """

    of: Images
    positions: Indices

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def shape(self) -> tuple[int, ...]:
        """[n, channels, height, width]."""
        return (len(self.positions), *self.of.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of the pixels."""
        return self.of.dtype

    @property
    def ndim(self) -> int:
        """That of the array."""
        return self.of.ndim

    def __getitem__(self, where: Any) -> Images:
        return np.asarray(self.of[self.positions[where]])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        if copy is False:
            raise ValueError("a part of a source is in no memory that could be shared")
        return np.asarray(self[:], dtype)


Source: TypeAlias = Images | View


def part_of(source: Source, positions: Indices) -> View:
    """The images at some positions; nothing is read."""
    if isinstance(source, View):
        return View(source.of, source.positions[positions])
    return View(source, positions)


def kept(source: Source, positions: Indices) -> Source:
    """The images at some positions where the others are not needed again: what is in memory is copied out of it."""
    on_disk = isinstance(source, (View, np.memmap)) or isinstance(source.base, np.memmap)
    return part_of(source, positions) if on_disk else source[positions]


def chunks(source: Source) -> Iterator[Images]:
    """All images in their order, as many at a time as are a matter of megabytes."""
    each = max(1, _CHUNK_BYTES // max(1, source.dtype.itemsize * int(np.prod(source.shape[1:]))))
    for begin in range(0, len(source), each):
        yield np.asarray(source[begin : begin + each])


def image_digests(source: Source) -> Digests:
    """The SHA-256 of every image's pixels, [n] of 32 bytes each."""
    found = [hashlib.sha256(image.tobytes()).digest() for chunk in chunks(source) for image in chunk]
    return np.array(found, "S32")
