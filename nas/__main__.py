"""The process of the command line: standard streams, one command, and the end."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import NoReturn

from nas.cli.main import main
from nas.process.streams import open_missing


def process() -> NoReturn:
    """What the `nas` script calls: `main`, and then leave without tearing down what was loaded.

    XLA may still be computing on threads of its own when a run is interrupted, and the end of the interpreter then
    crashes: the exit code would be that of a crash.
    """
    open_missing()
    code = main()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # a reader that went away
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    process()
