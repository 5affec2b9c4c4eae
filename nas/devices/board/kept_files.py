"""The files that a board keeps: by the hash of their content, in a folder that does not grow beyond a size.

This file is sent to boards, with Python 3.8.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import tempfile
from pathlib import Path
from typing import Final

LIMIT_BYTES: Final = 256 << 20
#: What the name of a file begins with that is not whole yet.
_PART: Final = ".part-"


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
        return Path(tempfile.gettempdir()) / f"hwnas-board-{os.getuid()}"


def kept(where: Path, sha256: str) -> bytes | None:
    """A file's content, None where it is not kept, or is not what it was."""
    path = where / sha256
    try:
        data = path.read_bytes()
        os.utime(path)
    except OSError:
        return None
    return data if hashlib.sha256(data).hexdigest() == sha256 else None


def keep(where: Path, sha256: str, data: bytes, limit_bytes: int = LIMIT_BYTES) -> None:
    """Keep a file, and give up those that were not used for longest; raises Cut, Closed, and OSError without room."""
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
    except OSError:
        if part.exists():
            part.unlink()
        raise


def _give_up(where: Path, room_bytes: int) -> None:
    """Delete what was not used for longest until the rest takes `room_bytes` at most."""
    found = []
    for path in where.iterdir():
        try:
            found.append((path.stat().st_mtime, path.stat().st_size, path))
        except OSError:  # another session deleted it
            continue
    total = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if total <= room_bytes:
            return
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        total -= size
