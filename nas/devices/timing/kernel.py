"""What the kernel says of time that this process wanted and did not have: waiting for a core, or stolen by a host.

Of a stretch, it is evidence from outside the calls that were timed in it. Linux says it; others say nothing.
https://docs.kernel.org/scheduler/sched-stats.html, https://docs.kernel.org/filesystems/proc.html
"""

from __future__ import annotations

import os

_PROC = "/proc"


def waited_s(alone: bool, proc: str = _PROC) -> float | None:
    """Seconds so far for which whoever calls was ready to run and had no core; None where nobody says.

    With `alone` it is the calling thread that counts, else all threads of this process together. Reading takes some
    microseconds per thread.
    """
    folders = [f"{proc}/thread-self"] if alone else []
    total_ns = 0
    try:
        for folder in folders or [f"{proc}/self/task/{task}" for task in os.listdir(f"{proc}/self/task")]:
            total_ns += int(_read(f"{folder}/schedstat").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return 1e-9 * total_ns


def stolen_s(proc: str = _PROC) -> float | None:
    """Seconds of all cores that the host of this virtual machine gave to others, so far; None where nobody says."""
    try:
        return int(_read(f"{proc}/stat").split(b"\n")[0].split()[8]) / float(os.sysconf("SC_CLK_TCK"))
    except (OSError, ValueError, IndexError):
        return None


def _read(path: str) -> bytes:
    file = os.open(path, os.O_RDONLY)
    try:
        return os.read(file, 4096)
    finally:
        os.close(file)
