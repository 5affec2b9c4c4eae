"""Stopping a run from outside: SIGINT and SIGTERM ask, and the run stops at its next safe place.

Python's own way, an exception wherever the program happens to be, does not do here: raised while native code is being
loaded it crashes the process, raised in a callback of native code it is printed and dropped. And since what is on disk
is whole at any instant, a run that comes to no safe place in time can simply be left.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

EXIT_CODE: Final = 4
MESSAGE: Final = "nas: interrupted; the same command with --resume goes on from here"
#: Seconds until a run that was asked to stop is left where it is.
GRACE_S: Final = 2.0

_asked = False
_message = MESSAGE


@contextmanager
def deferred(grace_s: float = GRACE_S, message: str = MESSAGE) -> Iterator[None]:
    """Within, a first signal makes `stop_if_asked` stop; `grace_s` later, or at a second one, the process ends.

    `message` is what a process that ends so says; who catches KeyboardInterrupt says it otherwise.
    """
    global _asked, _message
    _asked, _message = False, message

    def ask(signum: int, frame: object) -> None:
        global _asked
        if _asked:
            _leave()
        _asked = True
        signal.setitimer(signal.ITIMER_REAL, grace_s)

    handlers = {signal.SIGINT: ask, signal.SIGTERM: ask, signal.SIGALRM: lambda signum, frame: _leave()}
    # What the caller has made this process deaf to (nohup, a shell's background) stays ignored.
    heard = [number for number in handlers if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handlers[number]) for number in heard}
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
        _asked = False


def stop_if_asked() -> None:
    """Raise KeyboardInterrupt if a signal has asked for it: called where a run can stop, at least every few seconds."""
    if _asked:
        raise KeyboardInterrupt


def _leave() -> None:
    show_cursor = "\x1b[?25h" if sys.stderr.isatty() else ""  # a progress bar hides it
    os.write(2, f"{show_cursor}{_message}\n".encode())
    os._exit(EXIT_CODE)
