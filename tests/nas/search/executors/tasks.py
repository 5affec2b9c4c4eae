"""What workers are asked to do: tasks stand in modules, so that other processes can import them."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nas.process.threads import limited_to


def double(item: int) -> int:
    return 2 * item


def settings(item: Any) -> dict[str, str | None]:
    """What stands in the environment about threads."""
    return {name: os.environ.get(name) for name in limited_to(1)}


def process(item: Any) -> int:
    return os.getpid()


def meets(place: Path) -> str:
    """Waits until another worker has come to the same place."""
    (place.parent / f"{place.name}-here").touch()
    deadline = time.monotonic() + 30
    while len(list(place.parent.glob("*-here"))) < 2:
        assert time.monotonic() < deadline, "nobody came"
        time.sleep(0.01)
    return place.name


class KilledOnce:
    """Kills its worker by the first item with a certain value, and doubles all others."""

    def __init__(self, mark: Path, deadly: int) -> None:
        self.mark, self.deadly = mark, deadly

    def __call__(self, item: int) -> int:
        if item == self.deadly and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return 2 * item


def kills(item: int) -> int:
    """Kills its worker by odd items: 1 by a signal, others with words and a code."""
    if item == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if item % 2:
        sys.stderr.write("first words\nno memory left\n")
        sys.stderr.flush()
        os._exit(item)
    return item


def secret(item: Any) -> Callable[[], None]:
    """Gives what cannot be pickled."""
    return lambda: None


def warns(item: Any) -> None:
    logging.getLogger("nas.process.machine").warning("waiting for %s", "something")


def sleeps(item: str) -> None:
    """Writes its process's number to a file, and sleeps."""
    Path(item).write_text(str(os.getpid()))
    time.sleep(120)


def is_alive(process: int) -> bool:
    """Whether a process still does something: one that has ended may stand in lists until somebody looks."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
