"""Standard streams that whoever started the process has closed (`nas run ... >&-`, some supervisors)."""

from __future__ import annotations

import io
import os
import sys


def open_missing() -> None:
    """Put the null device in place of each standard stream that is closed.

    Otherwise the next file that is opened, by us or by a compiler we start, gets the number of the missing stream, and
    what native code prints is written into it.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free is given out: this one, since those below are open by now.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        # A terminal or a file of fewer letters than there are ends nothing: those that it lacks are written as numbers.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w", encoding="utf-8"))  # noqa: SIM115 (open to the end)


def lose(descriptor: int) -> None:
    """Put the null device in place of a stream whose reader went away, so that no flush fails any more."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
