"""What the C heap has to be told before anything else allocates."""

from __future__ import annotations

import ctypes
import sys

# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8


def keep_heap() -> bool:
    """Tell glibc to keep freed memory; returns whether it did (False on other C libraries).

    XLA on a CPU allocates large buffers in each step. By default glibc maps and unmaps them, so that every step faults
    in each of their pages: a third to a half of the time of a small network's training step. The price is that memory
    once used is not returned before the process ends. Threads that allocated before this was said keep arenas of their
    own, which go on mapping, and XLA's threads come to share them: so it is said before numpy is imported.
    """
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        return False
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_ARENA_MAX, 1), (_M_TOP_PAD, 1 << 26))
    done = [bool(mallopt(option, value)) for option, value in settings]
    return all(done)
