"""What an executor is: it has a task done for each of several items, here or elsewhere, and keeps their order.

What is done where changes no result: a task depends on its item alone. What it raises becomes a `Failure` of its item,
with the cause, and the others are done; only what asks the program to stop passes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar, runtime_checkable

from nas.errors import InputError

_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")

_LOG: Final = logging.getLogger("nas")
#: More workers, or threads of one, are a mistake.
_MOST: Final = 1000


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


@runtime_checkable
class HasWorkers(Protocol):
    """An executor of ours: how many `workers` it has at most, and whether they are `elsewhere`: in other processes.

    `remark` is what ought to be known of its numbers of workers and threads, None where there is nothing to say.
    """

    @property
    def workers(self) -> int: ...

    @property
    def elsewhere(self) -> bool: ...

    @property
    def remark(self) -> str | None: ...


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


def require_counts(workers: int | None, threads_per_worker: int | None) -> None:
    """Raise InputError for numbers of workers, or of threads of each, that cannot be."""
    for key, value in (("workers", workers), ("threads_per_worker", threads_per_worker)):
        if value is not None and not 1 <= value <= _MOST:
            raise InputError(f"{key} is {value}; give at least 1, and at most {_MOST:,}")


def crowded(workers: int, threads: int, cores: int) -> str | None:
    """A sentence where workers have more threads than there are cores, else None."""
    if workers * threads <= cores:
        return None
    return (
        f"search.executor: {workers} worker{'s' * (workers != 1)} of {threads} thread{'s' * (threads != 1)} each are "
        f"more than the {cores} core{'s' * (cores != 1)} that this process may use: they will wait for each other"
    )
