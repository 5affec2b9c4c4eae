"""A process that does what another one asks for: `python -m nas.search.executors.worker DESCRIPTOR`.

The descriptor is that of a pipe. What comes is the path on which modules are found, and then a task and an item, again
and again; what goes back begins with a byte that says what it is. The process ends when the other one does.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import sys
from multiprocessing.connection import Connection
from typing import Final, NoReturn

from nas.process.heap import keep_heap
from nas.search.executors.work import Work

#: What is sent back: that an item has come, an outcome, or a warning that was given here.
REACHED: Final = b"r"
OUTCOME: Final = b"o"
WARNING: Final = b"w"
#: What a person ought to know while a task waits, as for the machine; all else belongs to the task's answer.
WARNS: Final = "nas.process"


class _Warns(logging.Handler):
    """Passes warnings on to whoever began this process."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(logging.WARNING)
        self._connection = connection

    def emit(self, record: logging.LogRecord) -> None:
        """Send the text."""
        self._connection.send_bytes(WARNING + record.getMessage().encode(errors="replace"))


def main(descriptor: int) -> NoReturn:
    """Work until the pipe is closed."""
    keep_heap()
    # Typed at the terminal, it is for the process that began this one, which then ends this one in its own way.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    connection, work = Connection(descriptor), Work()
    logging.getLogger(WARNS).addHandler(_Warns(connection))
    try:
        sys.path[:] = pickle.loads(connection.recv_bytes())
        while True:
            task, item = connection.recv_bytes(), connection.recv_bytes()
            connection.send_bytes(REACHED)
            connection.send_bytes(OUTCOME + work(task, item))
    except (EOFError, OSError):
        os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
