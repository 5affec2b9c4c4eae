"""One after the other: in this process, or in one of its own where the number of threads is given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

from nas.errors import InputError
from nas.search.executors.base import attempted, require_counts

if TYPE_CHECKING:
    from nas.search.executors.base import Failure
    from nas.search.executors.processes import Processes

_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")


class Serial:
    """Satisfies `base.Executor`: with the threads of this process, or with `threads_per_worker`.

    How many threads XLA has is settled when it is loaded, so that another number takes another process. `workers` is 1,
    so that a file can name another executor and leave the rest; raises InputError for any other number.
    """

    workers: Final = 1
    _alone: Processes | None = None

    def __init__(self, *, workers: int | None = None, threads_per_worker: int | None = None) -> None:
        require_counts(workers, threads_per_worker)
        if workers not in (None, 1):
            raise InputError(
                f"workers is {workers}, and serial has one: write `processes` for more, or leave the key out"
            )
        if threads_per_worker is not None:
            from nas.search.executors.processes import Processes

            self._alone = Processes(workers=1, threads_per_worker=threads_per_worker)

    @property
    def elsewhere(self) -> bool:
        """Whether tasks are done in a process of their own."""
        return self._alone is not None

    @property
    def remark(self) -> str | None:
        """A sentence where the process of its own has more threads than there are cores."""
        return None if self._alone is None else self._alone.remark

    def map(self, task: Callable[[_Item], _Answer], items: Sequence[_Item]) -> Iterator[_Answer | Failure]:
        """An answer or a failure per item, in order."""
        if self._alone is not None:
            yield from self._alone.map(task, items)
            return
        for item in items:
            yield attempted(task, item)

    def close(self) -> None:
        """End the process, if there is one."""
        if self._alone is not None:
            self._alone.close()
