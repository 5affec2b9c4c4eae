"""The C heap: told to keep what was freed, and asked what it would do next.

XLA on a CPU allocates one large buffer per call of a program and frees it afterwards. By default glibc maps and unmaps
it, so that every step of a training faults in each of its pages: a third to a half of the time of a small network's
step. A kept heap costs memory, though, where the next buffer does not fit where the last one was, because that is not
free yet or because something small settled at its edge: the heap grows by the whole buffer. `nas.nn.programs` sees to
that.
"""

from __future__ import annotations

import ctypes
import sys
import time
from functools import cache
from typing import Any, Final

#: From glibc's malloc.h.
_M_MXFAST, _M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = 1, -1, -2, -4, -8
#: What glibc asks for beside a buffer that is aligned to 64 bytes.
_ALIGNING: Final = 96
_POLL_S: Final = 0.0002


@cache
def keep_heap() -> bool:
    """Tell glibc, once, to keep freed memory; returns whether it did (False on other C libraries).

    Memory once used is not returned before the process ends, or `release`. Threads that allocated before this was said
    keep arenas of their own, which go on mapping, and XLA's threads come to share them: so it is said before numpy is
    imported.
    """
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        return False
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1), (_M_ARENA_MAX, 1), (_M_TOP_PAD, 1 << 26), (_M_MXFAST, 0))
    done = [bool(mallopt(option, value)) for option, value in settings]
    return all(done)


class _Mallinfo2(ctypes.Structure):
    """glibc's struct mallinfo2."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks"),
            *("uordblks", "fordblks", "keepcost"),
        )
    )


@cache
def _glibc() -> Any:
    """The C library if it is a glibc that keeps its heap and can say what is in use (2.33), else None."""
    if not keep_heap():
        return None
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallinfo2"):
        return None
    library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    library.free.argtypes = [ctypes.c_void_p]
    library.mallinfo2.restype = _Mallinfo2
    return library


def in_use() -> int:
    """Bytes of the heap that are in use; 0 where the C library does not say."""
    library = _glibc()
    return 0 if library is None else int(library.mallinfo2().uordblks)


def wait_until(in_use_bytes: int, patience_s: float) -> bool:
    """Wait until at most so much of the heap is in use; returns whether it came to that in time."""
    end = time.monotonic() + patience_s
    while in_use() > in_use_bytes:
        if time.monotonic() > end:
            return False
        time.sleep(_POLL_S)
    return True


def place_of(size: int) -> int | None:
    """Where on the heap the next buffer of `size` bytes would lie; None where the C library is another."""
    library = _glibc()
    if library is None:
        return None
    place: int | None = library.malloc(size + _ALIGNING)
    library.free(place)
    return place


def release() -> None:
    """Give the pages of all that is free back to the system."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)
