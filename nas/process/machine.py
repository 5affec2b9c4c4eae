"""One machine, one measurement: while something is measured here, nothing of ours computes, in whatever process.

A measurement holds the machine alone, computing tasks share it. A task gives it back at least every ten seconds, and a
measurement that waits is served before tasks that come later: whoever wants the machine passes a turnstile first, and
a measurement keeps it shut until it is over. Locks are `flock`s, which end with their process.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Final

from nas.process.interrupt import stop_if_asked

#: Where the locks lie: the same place for all processes of a machine.
FOLDER = Path("/tmp") if os.path.isdir("/tmp") else Path(tempfile.gettempdir())
_TURNSTILE, _MACHINE = "hwnas-turnstile.lock", "hwnas-machine.lock"
#: A computing task lets measurements in after that long.
HELD_S = 10.0
#: How often a lock is asked for that somebody else has.
_POLL_S: Final = 0.02
#: A wait that is longer is spoken of.
_SAID_AFTER_S: Final = 5.0
_LOG: Final = logging.getLogger(__name__)


class _Share:
    """A computing task's share of the machine."""

    def __init__(self) -> None:
        self._files = contextlib.ExitStack()
        self._turnstile = self._files.enter_context(opened(_TURNSTILE))
        self._machine = self._files.enter_context(opened(_MACHINE))
        self._since = 0.0

    def take(self) -> None:
        """Wait for the machine, behind a measurement that waits."""
        _lock(self._turnstile, fcntl.LOCK_SH)
        try:
            _lock(self._machine, fcntl.LOCK_SH)
        finally:
            _unlock(self._turnstile)
        self._since = time.monotonic()

    def give_back(self) -> None:
        """Let go of the machine, for good."""
        _unlock(self._machine)
        self._files.close()

    def breathe(self) -> None:
        """Give it back for a moment, if it was held for long."""
        if time.monotonic() - self._since > HELD_S:
            _unlock(self._machine)
            self.take()


#: What this process holds: a measurement within a measurement, or a task within a task, is the same one; so are those
#: of several threads, and the last that ends lets go.
_measuring = False
_share: _Share | None = None
_tasks = 0
_counting = threading.RLock()


@contextlib.contextmanager
def measuring(ask: Callable[[], object] = stop_if_asked) -> Iterator[None]:
    """Have the machine alone; waits until tasks that compute have let go, and calls `ask` now and then meanwhile."""
    global _measuring
    if _share is not None:
        raise AssertionError("a task that computes cannot measure: end it first")
    if _measuring:
        yield
        return
    with opened(_TURNSTILE) as turnstile, opened(_MACHINE) as machine:
        _lock(turnstile, fcntl.LOCK_EX, ask)
        _lock(machine, fcntl.LOCK_EX, ask)
        _measuring = True
        try:
            yield
        finally:
            _measuring = False
            # A child that was forked meanwhile has the files open too: closing them here would not be enough.
            _unlock(machine)
            _unlock(turnstile)


@contextlib.contextmanager
def computing() -> Iterator[None]:
    """Compute while nothing is measured; within, `breathe` is to be called every few seconds."""
    if _measuring:
        yield
        return
    _begin()
    try:
        yield
    finally:
        _end()


def _begin() -> None:
    global _share, _tasks
    with _counting:
        if _share is None:
            share = _Share()
            share.take()
            _share = share
        _tasks += 1


def _end() -> None:
    global _share, _tasks
    with _counting:
        _tasks -= 1
        if not _tasks and _share is not None:
            _share.give_back()
            _share = None


def breathe() -> None:
    """Let a measurement in, if this process computes and did so for long."""
    share = _share
    if share is not None:
        share.breathe()


@contextlib.contextmanager
def opened(name: str) -> Iterator[int | None]:
    """A lock file, None where there can be none: then processes do not know of each other, which is said."""
    path = FOLDER / name
    try:
        try:
            # Without O_CREAT: systems refuse that for files of others in a folder that all may write to.
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            descriptor = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
            with contextlib.suppress(PermissionError):
                os.chmod(path, 0o666)
    except OSError as error:
        _warn_once(f"{path} cannot be opened ({error}): other processes may compute while something is measured")
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(descriptor: int | None, how: int, ask: Callable[[], object] = stop_if_asked) -> None:
    """Take a lock; waits for others, says so if it is long, and stops where this process was asked to."""
    if descriptor is None:
        return
    begun = time.monotonic()
    while True:
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            ask()
            if time.monotonic() - begun > _SAID_AFTER_S:
                what = "measures" if how == fcntl.LOCK_SH else "measures or computes"
                _warn_once(f"waiting: another run on this machine {what}, and nothing may disturb a measurement")
            time.sleep(_POLL_S)


def _unlock(descriptor: int | None) -> None:
    if descriptor is not None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


@lru_cache(maxsize=None)  # noqa: UP033 (new in 3.9, and this file is sent to boards)
def _warn_once(text: str) -> None:
    _LOG.warning("%s", text)


def _forget() -> None:
    """A child process holds nothing that its parent does."""
    global _measuring, _share, _tasks, _counting
    _measuring, _share, _tasks, _counting = False, None, 0, threading.RLock()


os.register_at_fork(after_in_child=_forget)
