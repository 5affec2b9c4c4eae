"""The laws of an executor: an answer or a failure for each item, in order, wherever it was found."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Final

from nas.errors import InputError
from nas.search.executors import Executor, Failure
from nas.testing.laws import BrokenLaw, laws, require

Make = Callable[[], Executor]
_ITEMS: Final = tuple(range(12))


def _squared(item: int) -> int:
    """A task that answers; tasks stand in modules, so that they can be pickled."""
    return item * item


def _sometimes(item: int) -> int:
    """A task that fails for some items, with a cause of two lines."""
    if item % 4 == 3:
        raise ValueError(f"no answer\nfor {item}")
    return item


def _refused(item: int) -> int:
    raise InputError(f"what the user gave cannot be used: {item}")


def answers_come_in_order(make: Make) -> None:
    """It gives the answer to each item, in the order of the items"""
    with closing(make()) as executor:
        found = list(executor.map(_squared, _ITEMS))
    require(found == list(map(_squared, _ITEMS)), f"the squares of {_ITEMS} are {found}", "keep the order of the items")


def it_maps_again(make: Make) -> None:
    """It can be asked again, and for nothing"""
    with closing(make()) as executor:
        for items in ((), _ITEMS[:3], (), _ITEMS):
            found = list(executor.map(_squared, items))
            require(len(found) == len(items), f"{len(items)} items have {len(found)} answers", "answer each item")


def failures_are_told_and_the_others_answered(make: Make) -> None:
    """What a task raises becomes a Failure of its item, with its cause in a line"""
    with closing(make()) as executor:
        found = list(executor.map(_sometimes, _ITEMS))
    for item, answer in zip(_ITEMS, found, strict=True):
        if item % 4 != 3:
            require(answer == item, f"item {item} has the answer {answer!r}", "go on with the others")
        elif not isinstance(answer, Failure) or answer.cause != f"ValueError: no answer for {item}":
            raise BrokenLaw(f"an item that failed has {answer!r}; call `nas.search.executors.attempted` where it runs")


def what_the_user_gave_ends_it(make: Make) -> None:
    """An InputError is no failure of an item: it ends the mapping"""
    with closing(make()) as executor:
        try:
            found = list(executor.map(_refused, _ITEMS))
        except InputError:
            return
    raise BrokenLaw(f"a task that raises InputError gives {found[:2]!r}; let it through")


def subject(make: Make) -> tuple[Make, str]:
    """What laws take: what makes an executor, tried once."""
    make().close()
    return make, ""


LAWS: Final = laws(
    answers_come_in_order,
    it_maps_again,
    failures_are_told_and_the_others_answered,
    what_the_user_gave_ends_it,
)
