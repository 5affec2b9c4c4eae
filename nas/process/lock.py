"""A folder that one process at a time may write in."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Final

from nas.process.files import TEMPORARY, RunFolderError

LOCK: Final = ".lock"
#: Two clocks of a machine tell the same moment so exactly.
_CLOCK_S: Final = 1.0
#: What a lock file holds of an owner at most.
_OWNER_BYTES: Final = 128


def lock(folder: Path, check: Callable[[], None] = lambda: None) -> int:
    """Create the folder where it is missing, lock it, and remove the temporary files of a process that was killed.

    Returns the descriptor whose closing gives the folder back. `check` is called while the lock is held: others may
    have come and gone before. Raises RunFolderError where another process has the folder, and for one that cannot be.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise RunFolderError(f"cannot create {folder}: {error.strerror}; choose another folder with --out") from error
    # Whatever goes wrong, an interrupted start must not keep the folder locked.
    with contextlib.ExitStack() as undo:
        undo.callback(os.close, descriptor)
        _take(descriptor, folder)
        check()
        for leftover in folder.rglob(f"{TEMPORARY}*"):
            if not _is_used(leftover, folder):
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        undo.pop_all()
    return descriptor


def unlock(descriptor: int) -> None:
    """Give a folder back, and take this process's number out of it."""
    os.ftruncate(descriptor, 0)
    os.close(descriptor)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder; raises RunFolderError as `lock` does."""
    descriptor = lock(folder)
    try:
        yield
    finally:
        unlock(descriptor)


def holder(folder: Path) -> int | None:
    """The process of this machine that has a folder, None where none has; nothing is locked to find out.

    A process that began after the folder was taken only has the number of the one that took it, and so has one that
    counts among others than that one did: on another machine that sees the folder too, or in a container.
    """
    try:
        taken_s = (folder / LOCK).stat().st_mtime
        number, *among = (folder / LOCK).read_text(encoding="ascii").split()
        process = int(number)
        fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        up_s = float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
    except (OSError, ValueError):
        return None
    # The state stands third in /proc/PID/stat, the time since the machine started at which it began is the 22nd.
    began_s = time.time() - up_s + int(fields[19]) / os.sysconf("SC_CLK_TCK")
    if fields[0] in "ZX" or began_s > taken_s + _CLOCK_S or among not in ([], [_numbering()]):
        return None
    return process


@cache
def _numbering() -> str:
    """Among which processes this one has its number: those of this boot of the machine, and of this container."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return os.uname().nodename


def _is_used(path: Path, folder: Path) -> bool:
    """Whether a path lies in a folder within `folder` that some process has."""
    within = (parent for parent in path.parents if folder in parent.parents)
    return any(holder(parent) is not None for parent in within)


def _take(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        owner = next(iter(os.pread(descriptor, _OWNER_BYTES, 0).decode(errors="replace").split()), "unknown")
        raise RunFolderError(
            f"{folder} is in use by process {owner} or one that it started; "
            "wait until it has ended, end it, or choose another --out"
        ) from error
    except OSError as error:
        raise RunFolderError(
            f"{folder} cannot be locked ({error.strerror}); choose a folder on a local disk with --out"
        ) from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()} {_numbering()}\n".encode(), 0)
