"""What a run says while it goes on: events for whoever watches, and the same in the log of Python's `logging`.

Nothing below the command line prints. Someone who calls from Python passes a function of an `Event`, or none.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal

#: `stage`: one begins. `doing`, `done`: something that takes a while begins, and has ended. `step`: so many of `total`.
Kind = Literal["stage", "doing", "done", "step", "note", "warning"]
_LOG: Final = logging.getLogger("nas")
# Who wants the log says so; without this, Python would print warnings beside what a watcher shows.
_LOG.addHandler(logging.NullHandler())


@dataclass(frozen=True)
class Event:
    """Something that happened: what it is about, in words, and how far it has come where it has steps.

    `value` is what a step gave, such as a loss; None where there is nothing to say.
    """

    kind: Kind
    text: str
    step: int = 0
    total: int = 0
    value: float | None = None


Watcher = Callable[[Event], None]


def unwatched(event: Event) -> None:
    """Nobody watches."""


@dataclass(frozen=True)
class Voice:
    """Says what happens, to a watcher and to the log."""

    watcher: Watcher = unwatched

    def stage(self, name: str) -> None:
        """A stage begins."""
        _LOG.info("stage %s", name)
        self.watcher(Event("stage", name))

    def note(self, text: str) -> None:
        """Something that may interest."""
        _LOG.info("%s", text)
        self.watcher(Event("note", text))

    def warning(self, text: str) -> None:
        """Something that ought to be known."""
        _LOG.warning("%s", text)
        self.watcher(Event("warning", text))

    @contextmanager
    def doing(self, text: str) -> Iterator[None]:
        """Something that takes a while."""
        _LOG.debug("%s", text)
        self.watcher(Event("doing", text))
        try:
            yield
        finally:
            self.watcher(Event("done", text))

    @contextmanager
    def steps(self, text: str, total: int, begun: int = 0) -> Iterator[Callable[[int, float | None], None]]:
        """Something in so many steps, of which some were done before; gives the function (step, value) that counts."""
        self.watcher(Event("step", text, begun, total))
        try:
            yield lambda step, value: self.watcher(Event("step", text, step, total, value))
        finally:
            self.watcher(Event("done", text))
