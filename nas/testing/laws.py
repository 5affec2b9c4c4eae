"""A law: one thing that every implementation of a kind promises, for a test suite or for `nas check`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

Subject = TypeVar("Subject")


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
