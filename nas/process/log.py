"""The part of Python's log that a person at the terminal has to see, where no watcher shows it."""

from __future__ import annotations

import logging
import sys


class _Stderr(logging.Handler):
    """Writes to standard error as it is now, and not as it was when this was made."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        sys.stderr.write(f"nas: {record.getMessage()}\n")


def to_stderr(name: str) -> None:
    """Show warnings of a logger and of those below it, once however often this is said."""
    logger = logging.getLogger(name)
    if not any(isinstance(handler, _Stderr) for handler in logger.handlers):
        logger.addHandler(_Stderr(logging.WARNING))
