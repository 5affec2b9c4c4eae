"""Whoever dies when, and however many workers there are: answers in order, and a failure after three deaths."""

from __future__ import annotations

from collections import Counter
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.errors import InputError
from nas.search.executors.base import Failure
from nas.search.executors.dispatch import MOST_DEATHS, Answered, Died, Dispatch
from nas.search.executors.work import Work
from tests.nas.search.executors import tasks


class Pretended:
    """A crew in this process: `fates` says whom to hear of next, and whether it answers or dies, and of its item.

    `idle`: it had died before its item reached it, if it has answered before; `stillborn`: in any case.
    """

    def __init__(self, fates: list[tuple[int, str]], room: int = 100) -> None:
        self.fates, self.room = fates, room
        self.given: dict[int, tuple[bytes, bytes]] = {}
        self.alive: list[int] = []
        self.deaths: Counter[bytes] = Counter()
        self.proven: set[int] = set()
        self.last = 0

    def begin(self) -> int | None:
        if len(self.alive) >= self.room:
            return None
        self.last += 1
        self.alive.append(self.last)
        return self.last

    def give(self, worker: int, task: bytes, item: bytes) -> None:
        assert worker in self.alive and worker not in self.given, "it has something to do"
        self.given[worker] = task, item

    def heard(self, patience_s: float) -> list[Answered | Died]:
        which, fate = self.fates.pop() if self.fates else (0, "answers")
        worker = sorted(self.given)[which % len(self.given)]
        task, item = self.given.pop(worker)
        if fate == "answers" or (fate == "idle" and worker not in self.proven):
            self.proven.add(worker)
            return [Answered(worker, Work()(task, item))]
        self.deaths[item] += fate == "dies"
        self.alive.remove(worker)
        return [Died(worker, "it was old", fate == "dies")]

    def end(self, worker: int) -> None:
        self.alive.remove(worker)
        self.given.pop(worker, None)


FATES = st.tuples(st.integers(0, 5), st.sampled_from(["answers", "answers", "answers", "dies", "idle"]))


@settings(max_examples=100, deadline=None)
@given(st.lists(FATES, max_size=60), st.integers(1, 4), st.integers(1, 4))
def test_every_item_has_its_answer_in_its_place(fates: list[tuple[int, str]], workers: int, room: int) -> None:
    crew = Pretended(fates, room)
    with closing(Dispatch(crew, workers)) as executor:
        for items in (range(7), range(0), range(3, 6)):
            crew.deaths.clear()
            done = list(executor.map(tasks.double, items))
            assert len(done) == len(items) and len(crew.alive) <= min(workers, room)
            for item, answer in zip(items, done, strict=True):
                assert answer in (2 * item, Failure(f"it was old, {MOST_DEATHS} times"))
            given_up = sum(isinstance(answer, Failure) for answer in done)
            assert given_up == sum(count >= MOST_DEATHS for count in crew.deaths.values())
            assert max(crew.deaths.values(), default=0) <= MOST_DEATHS
    assert not crew.alive


def test_what_dies_before_it_begins_is_no_item_s_fault() -> None:
    crew = Pretended([(0, "answers"), (0, "stillborn"), (0, "stillborn"), (0, "answers"), (0, "stillborn")])
    with closing(Dispatch(crew, 1)) as executor:
        assert list(executor.map(tasks.double, [1, 2, 3])) == [2, 4, 6]
    crew = Pretended([(0, "stillborn")] * MOST_DEATHS)
    with closing(Dispatch(crew, 1)) as executor, pytest.raises(InputError, match="no worker can begin: it was old"):
        list(executor.map(tasks.double, [1]))


def test_what_dies_while_it_is_idle_is_no_item_s_fault() -> None:
    """However many they are, and whatever the item did to others."""
    idle, dies = (0, "idle"), (0, "dies")
    for fates in ([idle] * 4, [idle, idle, idle, idle, dies, dies], [dies, idle, idle, dies, idle, idle]):
        crew = Pretended([*reversed(fates), *[(0, "answers")] * 4])
        with closing(Dispatch(crew, 4)) as executor:
            assert list(executor.map(tasks.double, range(4))) == [0, 2, 4, 6]
            assert list(executor.map(tasks.double, [9])) == [18]
    crew = Pretended([*reversed([idle, dies, idle, dies, dies]), *[(0, "answers")] * 4])
    with closing(Dispatch(crew, 4)) as executor:
        list(executor.map(tasks.double, range(4)))
        assert list(executor.map(tasks.double, [9])) == [Failure(f"it was old, {MOST_DEATHS} times")]


def test_who_stops_asking_leaves_nothing_to_do() -> None:
    crew = Pretended([])
    executor = Dispatch(crew, 3)
    answers = executor.map(tasks.double, range(9))
    assert next(answers) == 0 and crew.given
    answers.close()
    assert not crew.given
    assert list(executor.map(tasks.double, [5])) == [10]
    executor.close()
    assert not crew.alive
