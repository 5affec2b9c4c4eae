"""Images that were decoded once and are kept in the user's cache folder, mapped into memory and not read into it."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap

from nas.errors import InputError
from nas.process.cache import cache_home
from nas.tasks.image_classification.source import Images

_PART = ".part"


def stored(made_of: str, shape: tuple[int, ...], fill: Callable[[Images], None]) -> Images:
    """Images uint8 [n, C, H, W] of that shape, mapped from disk; `fill` makes them, if nobody has of the same.

    `made_of` says all that they depend on. Raises InputError where the disk has no room.
    """
    folder = cache_home() / "images"
    path = folder / f"{hashlib.sha256(made_of.encode()).hexdigest()[:32]}.npy"
    with contextlib.suppress(OSError, ValueError, EOFError):
        found: Images = np.load(path, mmap_mode="r", allow_pickle=False)
        if found.shape == shape and found.dtype == np.uint8:
            return found
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _make(path, shape, fill)
    except OSError as error:
        raise InputError(
            f"{folder}: {np.prod(shape) / 1e9:.1f} GB of decoded images cannot be written there ({error.strerror}); "
            "make room, or set XDG_CACHE_HOME to a folder that has it"
        ) from error
    mapped: Images = np.load(path, mmap_mode="r", allow_pickle=False)
    return mapped


def _make(path: Path, shape: tuple[int, ...], fill: Callable[[Images], None]) -> None:
    """Write the images under a name of this process, and then give the file its own."""
    _remove_left_behind(path.parent)
    if (free := shutil.disk_usage(path.parent).free) < np.prod(shape):
        raise OSError(0, f"{free / 1e9:.1f} GB are free")
    part = path.with_name(f"{path.stem}.{os.getpid()}{_PART}")
    with part.open("wb") as held:
        # Held while it is written: one that nobody holds was left behind by a process that was killed.
        fcntl.flock(held, fcntl.LOCK_EX)
        try:
            images = open_memmap(part, mode="w+", dtype=np.uint8, shape=shape)
            fill(images)
            images.flush()
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


def _remove_left_behind(folder: Path) -> None:
    for part in folder.glob(f"*{_PART}"):
        with contextlib.suppress(OSError), part.open("rb") as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            part.unlink()
