"""Which cores of a machine does a process have, where several want some and nobody else shares them out?

A core is taken by an exclusive `flock`, which ends with its process however that ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Sequence
from functools import cache

from nas.process import machine
from nas.process.facts import cores_used


@contextlib.contextmanager
def share(count: int) -> Iterator[Sequence[int]]:
    """Run on so many cores that no other share has, with all threads that there are and those that they begin.

    Where fewer are left, some that another one has are among them. Libraries that begin threads find these cores to be
    all there are.
    """
    with contextlib.ExitStack() as held:
        free: list[int] = []
        for core in _whole():
            if len(free) < count and _take(core, held):
                free.append(core)
        cores = [*free, *(core for core in _whole() if core not in free)][:count]
        _run_on(cores)
        try:
            yield cores
        finally:
            _run_on(_whole())


@cache
def _whole() -> tuple[int, ...]:
    """The cores that this process was begun with."""
    return cores_used()


def _take(core: int, held: contextlib.ExitStack) -> bool:
    """Take a core until `held` ends, unless another process has it."""
    descriptor = held.enter_context(machine.opened(f"hwnas-core-{core}.lock"))
    if descriptor is not None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def _run_on(cores: Sequence[int]) -> None:
    for thread in os.listdir("/proc/self/task"):
        with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
            os.sched_setaffinity(int(thread), cores)
