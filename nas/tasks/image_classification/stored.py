"""Images that were decoded once and are kept in the user's cache folder, mapped into memory and not read into it."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.lib.format import write_array_header_1_0

from nas.errors import InputError
from nas.process.cache import cache_home
from nas.tasks.image_classification.source import Images

_PART = ".part"
_LOCK = ".lock"


def stored(name: str, made_of: str, shape: tuple[int, ...], fill: Callable[[Images], None]) -> Images:
    """Images uint8 [n, C, H, W] of that shape, mapped from disk; `fill` makes them, if nobody has yet.

    `name` says what they are: there is one copy of it, and a new one replaces it. `made_of` says all that their pixels
    depend on. Raises InputError where the disk has no room.
    """
    folder = cache_home() / "images" / _short(name)
    path = folder / f"{_short(made_of)}.npy"
    if (found := _mapped(path, shape)) is not None:
        return found
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / _LOCK).open("wb") as held:
            # Whoever else wants the same waits here, and then has them.
            fcntl.flock(held, fcntl.LOCK_EX)
            if (found := _mapped(path, shape)) is None:
                _make(path, shape, fill)
                found = _mapped(path, shape)
    except OSError as error:
        raise InputError(
            f"{folder}: {np.prod(shape) / 1e9:.1f} GB of decoded images cannot be written there ({error.strerror}); "
            "make room, or set XDG_CACHE_HOME to a folder that has it"
        ) from error
    if found is None:
        raise InputError(f"{path}: was changed while it was made; give the command again")
    return found


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _mapped(path: Path, shape: tuple[int, ...]) -> Images | None:
    with contextlib.suppress(OSError, ValueError, EOFError):
        found: Images = np.load(path, mmap_mode="r", allow_pickle=False)
        if found.shape == shape and found.dtype == np.uint8:
            return found
    return None


def _make(path: Path, shape: tuple[int, ...], fill: Callable[[Images], None]) -> None:
    """Write the images under another name, and then give the file its own; what was there goes, or was left behind."""
    for old in (*path.parent.glob("*.npy"), *path.parent.glob(f"*{_PART}")):
        old.unlink(missing_ok=True)
    part = path.with_suffix(_PART)
    try:
        with part.open("w+b") as file:
            write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
            begin = file.tell()
            # All of the room is taken now: a mapped page for which there is none would end the process.
            os.posix_fallocate(file.fileno(), 0, begin + int(np.prod(shape)))
            images = np.memmap(file, np.uint8, "r+", begin, shape)
            fill(images)
            images.flush()
        part.replace(path)
    finally:
        # Where all went well it has its own name by now.
        part.unlink(missing_ok=True)
