"""Executors: judging the networks of a batch, in this process or in others, in the order in which they were asked for.

What is judged where changes no result: a task depends on its item alone. What it raises becomes a `Failure` of its
item, with the cause, and the others are judged; only what asks the program to stop passes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from nas.errors import InputError

_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")

_LOG: Final = logging.getLogger("nas")

#: Executors by name.
EXECUTORS: Final[dict[str, str]] = {"serial": "nas.search.executors:Serial"}


@dataclass(frozen=True)
class Failure:
    """An item has no answer; `cause` says why, in a line."""

    cause: str


class Executor(Protocol):
    """Maps a task over items. Made without arguments of the program's; its own are keys in YAML."""

    def map(self, task: Callable[[_Item], _Answer], items: Sequence[_Item]) -> Iterator[_Answer | Failure]:
        """An answer or a failure per item, in order, each as soon as it and those before it are there.

        Task and items can be pickled; a task that was, opens what it needs by itself in the process that it comes to.
        """

    def close(self) -> None:
        """End what was begun; nothing is mapped afterwards."""


class Serial:
    """One after the other, in this process."""

    def map(self, task: Callable[[_Item], _Answer], items: Sequence[_Item]) -> Iterator[_Answer | Failure]:
        """An answer or a failure per item, in order."""
        for item in items:
            yield attempted(task, item)

    def close(self) -> None:
        """Nothing was begun."""


def attempted(task: Callable[[_Item], _Answer], item: _Item) -> _Answer | Failure:
    """The answer of a task, or why there is none: for executors, which call it where the task runs.

    Raises InputError and AssertionError: what the user gave, or we got wrong, is not the item's fault.
    """
    try:
        return task(item)
    except (InputError, AssertionError):
        raise
    except Exception as error:  # noqa: BLE001 (whatever it is, it is this item's, and is told with it)
        _LOG.info("item %r has no answer", item, exc_info=error)
        words = " ".join(str(error).split())
        return Failure(f"{type(error).__name__}: {words}"[:500])
