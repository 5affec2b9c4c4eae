"""A law: one thing that every implementation of a kind promises, for a test suite or for `nas check`."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Generic, TypeVar

from nas.errors import InputError

Subject = TypeVar("Subject")
_LIBRARIES: Final = "site-packages"


class BrokenLaw(AssertionError):
    """A law does not hold: what was seen, and what to do."""


@dataclass(frozen=True)
class Law(Generic[Subject]):
    """`law(subject)` returns where the law holds and raises BrokenLaw, or what the subject raised, where it does not.

    `name` is short, as the id of a test; `statement` is a sentence.
    """

    name: str
    statement: str
    holds: Callable[[Subject], None]

    def __call__(self, subject: Subject) -> None:
        self.holds(subject)

    def __str__(self) -> str:
        return self.name


def laws(*functions: Callable[[Subject], None]) -> tuple[Law[Subject], ...]:
    """Laws with the names of functions, and the first lines of their docstrings for statements."""
    return tuple(
        Law(one.__name__, (one.__doc__ or one.__name__).strip().partition("\n")[0].rstrip("."), one)
        for one in functions
    )


def require(holds: object, seen: str, remedy: str) -> None:
    """Raise BrokenLaw unless `holds`."""
    if not holds:
        raise BrokenLaw(f"{seen}; {remedy}")


class Boundary:
    """A context in which code that is not ours runs; its exceptions become one InputError that begins with `what`.

    The one place where any exception is caught: it is the answer of a check, with its type, its text and the line that
    raised it. What asks a program to stop passes.
    """

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, BrokenLaw):
            raise InputError(f"{self._what}: {error}") from error
        if isinstance(error, Exception):
            frames = traceback.extract_tb(trace)
            # What failed inside a library was called by somebody, who is told where.
            last = ([frame for frame in frames if _LIBRARIES not in frame.filename] or frames)[-1]
            raise InputError(
                f"{self._what}: it raised {type(error).__name__}: {error} (line {last.lineno} of {last.filename})"
            ) from error
