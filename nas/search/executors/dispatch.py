"""Which worker does which item, and what becomes of an item whose worker dies?

The same for processes of this machine and for actors of a cluster: a crew begins workers, gives them items and hears of
them. Each worker has one item at a time, the first that waits. A worker that dies is replaced and its item done again;
one that dies of the same item three times has shown that it is the item, which then has no answer, but a cause. The
death of a worker that no item had reached, such as one that was idle, is no item's fault.
"""

from __future__ import annotations

import pickle
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from nas.errors import InputError
from nas.process.interrupt import stop_if_asked
from nas.search.executors.base import Failure

_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")

#: Deaths of workers by the same item until it is given up, and deaths in a row before a worker could begin at all.
MOST_DEATHS: Final = 3
#: How long workers are waited for at a time: a signal is heard after that.
_PATIENCE_S: Final = 0.25


@dataclass(frozen=True)
class Answered:
    """What `work.Work` gave of the item that a worker had."""

    worker: int
    outcome: bytes


@dataclass(frozen=True)
class Died:
    """A worker is no more; `reached` says whether the item that it had had come to it, and may have been the reason."""

    worker: int
    cause: str
    reached: bool


class Crew(Protocol):
    """Workers, known by numbers that are not given twice."""

    def begin(self) -> int | None:
        """Begin a worker; None where there is room for no more of them now, though for some."""

    def give(self, worker: int, task: bytes, item: bytes) -> None:
        """Give an idle worker something to do, both pickled; where it has died, that is heard of later."""

    def heard(self, patience_s: float) -> Sequence[Answered | Died]:
        """What has come from workers since this was asked last; waits for the first of it, but no longer than that."""

    def end(self, worker: int) -> None:
        """End a worker, whatever it is doing; nothing is heard of it afterwards."""


class Dispatch:
    """Satisfies `base.Executor` with up to so many `workers` of a crew, which begin when there is something to do."""

    def __init__(self, crew: Crew, workers: int) -> None:
        self._crew, self._workers = crew, workers
        self._idle: list[int] = []
        self._busy: dict[int, int] = {}
        #: Workers that have answered: where they die before an item reaches them, others may still begin.
        self._proven: set[int] = set()
        self._stillborn = 0

    def map(self, task: Callable[[_Item], _Answer], items: Sequence[_Item]) -> Iterator[_Answer | Failure]:
        """An answer or a failure per item, in order."""
        pickled = pickle.dumps(task)
        waiting, answers, deaths = deque(range(len(items))), dict[int, Any](), Counter[int]()
        try:
            for number in range(len(items)):
                while number not in answers:
                    while waiting and (worker := self._free()) is not None:
                        self._busy[worker] = item = waiting.popleft()
                        self._crew.give(worker, pickled, pickle.dumps(items[item]))
                    for news in self._crew.heard(_PATIENCE_S):
                        if isinstance(news, Answered):
                            answers[self._done(news.worker)] = _answer(news.outcome)
                            continue
                        lost = self._lost(news)
                        if lost is None:
                            continue
                        deaths[lost] += news.reached
                        if deaths[lost] < MOST_DEATHS:
                            waiting.appendleft(lost)
                        else:
                            answers[lost] = Failure(f"{news.cause}, {MOST_DEATHS} times")
                    stop_if_asked()
                yield answers.pop(number)
        finally:
            # What is still being done is nobody's any more.
            for worker in self._busy:
                self._crew.end(worker)
            self._busy.clear()

    def close(self) -> None:
        """End all workers."""
        for worker in (*self._idle, *self._busy):
            self._crew.end(worker)
        self._idle.clear()
        self._busy.clear()

    def _free(self) -> int | None:
        """A worker that has nothing to do, None where all that there may be have something."""
        if self._idle:
            return self._idle.pop()
        return self._crew.begin() if len(self._busy) < self._workers else None

    def _done(self, worker: int) -> int:
        """The item that a worker has answered; it is idle now."""
        self._stillborn = 0
        self._proven.add(worker)
        self._idle.append(worker)
        return self._busy.pop(worker)

    def _lost(self, news: Died) -> int | None:
        """The item that a worker had when it died, None if it had none; raises InputError where none can begin."""
        lost = self._busy.pop(news.worker, None)
        if news.worker in self._idle:
            self._idle.remove(news.worker)
        if news.reached:
            self._stillborn = 0
        elif news.worker not in self._proven:
            self._stillborn += 1
        self._proven.discard(news.worker)
        if self._stillborn >= MOST_DEATHS:
            raise InputError(f"search.executor: no worker can begin: {news.cause}")
        return lost


def _answer(outcome: bytes) -> Any:
    raised, value = pickle.loads(outcome)
    if raised:
        raise value
    return value
