"""The files that a board keeps: by the hash of their content, in a folder that does not grow beyond a size.

This file is sent to boards, with Python 3.8.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import tempfile
import time
from pathlib import Path
from typing import Final

LIMIT_BYTES: Final = 256 << 20
#: What the name of a file begins with that is not whole yet.
_PART: Final = ".part-"
#: How long such a file may be in writing: the process that began an older one is gone.
_WRITING_S: Final = 24 * 3600.0
#: How many of the files that this process kept or read last are not given up: a network needs all of its own at once,
#: also where they are larger than the limit.
_NEEDED: Final = 64
_needed: Final[dict[Path, None]] = {}


class Cut(ValueError):
    """What came is not what was announced."""


class Closed(Exception):
    """The folder cannot be written to, and the message says why."""


def folder() -> Path:
    """Where files are kept: `$XDG_CACHE_HOME/hwnas-board` or `~/.cache/hwnas-board`."""
    home = os.environ.get("XDG_CACHE_HOME")
    if home:
        return Path(home) / "hwnas-board"
    try:
        return Path.home() / ".cache" / "hwnas-board"
    except RuntimeError:  # no home
        return _own(Path(tempfile.gettempdir()) / f"hwnas-board-{os.getuid()}")


def _own(place: Path) -> Path:
    """A folder where everybody may write, if it is ours, or else another that is."""
    try:
        with contextlib.suppress(FileExistsError):
            place.mkdir(mode=0o700)
        for each in (place, *sorted(place.parent.glob(f"{place.name}-*"))):
            found = each.lstat()
            if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid():
                return each
    except OSError:  # whoever keeps a file there is told why
        return place
    return Path(tempfile.mkdtemp(prefix=f"{place.name}-"))


def kept(where: Path, sha256: str) -> bytes | None:
    """A file's content, None where it is not kept, or is not what it was."""
    path = where / sha256
    try:
        data = path.read_bytes()
        os.utime(path)
    except OSError:
        return None
    if hashlib.sha256(data).hexdigest() != sha256:
        return None
    _need(path)
    return data


def keep(where: Path, sha256: str, data: bytes, limit_bytes: int = LIMIT_BYTES) -> None:
    """Keep a file, and give up those that were not used for longest; raises Cut, Closed, and OSError without room.

    What this process used last is not given up: the limit is for what earlier ones left.
    """
    if hashlib.sha256(data).hexdigest() != sha256:
        raise Cut(f"{len(data)} bytes came that are not those with SHA-256 {sha256[:12]}")
    try:
        where.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=str(where)).close()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise Closed(f"{error.strerror}: {where}") from None
    _give_up(where, limit_bytes - len(data))
    part = where / f"{_PART}{os.getpid()}-{sha256[:12]}"
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(where / sha256)
    except OSError as error:
        if part.exists():
            part.unlink()
        if isinstance(error, IsADirectoryError):
            raise Closed(f"{error.strerror}: {where / sha256}") from None
        raise
    _need(where / sha256)


def _need(path: Path) -> None:
    _needed.pop(path, None)
    _needed[path] = None
    if len(_needed) > _NEEDED:
        del _needed[next(iter(_needed))]


def _give_up(where: Path, room_bytes: int) -> None:
    """Delete what was not used for longest until the rest takes `room_bytes` at most."""
    found, total = [], 0
    for path in where.iterdir():
        try:
            seen = path.lstat()
        except OSError:  # another session deleted it
            continue
        if not stat.S_ISREG(seen.st_mode):  # none of ours
            continue
        total += seen.st_size
        written = path.name.startswith(_PART) and time.time() - seen.st_mtime < _WRITING_S
        if not written and path not in _needed:
            found.append((seen.st_mtime, seen.st_size, path))
    for _, size, path in sorted(found):
        if total <= room_bytes:
            return
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        total -= size
