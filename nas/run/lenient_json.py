"""JSON of any age, read without trust: what is missing or of another kind is simply not there.

The page shows runs that ended early, and runs of older and newer releases; a missing key leaves a gap on the page and
never stops it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class LenientJson:
    """A JSON value that answers every question, with None or nothing where it has no answer."""

    value: Any = None

    def __getitem__(self, key: str) -> LenientJson:
        """The value under `key`; an empty one where there is none."""
        return LenientJson(self.value.get(key)) if isinstance(self.value, Mapping) else LenientJson()

    @property
    def number(self) -> float | None:
        """A finite number, or None."""
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            return None
        # An integer may be larger than any float.
        return float(self.value) if abs(self.value) <= sys.float_info.max else None

    @property
    def text(self) -> str:
        """A text, or one made of a number; empty for anything else."""
        if isinstance(self.value, str):
            return self.value
        return "" if self.number is None else f"{self.value}"

    @property
    def flag(self) -> bool | None:
        """A truth value, or None."""
        return self.value if isinstance(self.value, bool) else None

    @property
    def items(self) -> tuple[LenientJson, ...]:
        """The members of a list; none for anything else."""
        return tuple(map(LenientJson, self.value)) if isinstance(self.value, list | tuple) else ()

    @property
    def pairs(self) -> dict[str, LenientJson]:
        """The members of an object in order; none for anything else."""
        return (
            {str(key): LenientJson(item) for key, item in self.value.items()} if isinstance(self.value, Mapping) else {}
        )

    @property
    def numbers(self) -> tuple[float | None, ...]:
        """The members of a list as numbers, None for those that are not."""
        return tuple(item.number for item in self.items)

    @property
    def genome(self) -> tuple[int, ...]:
        """A list of integers; empty where it holds anything else."""
        found = self.items
        if any(isinstance(item.value, bool) or not isinstance(item.value, int) for item in found):
            return ()
        return tuple(int(item.value) for item in found)

    @property
    def interval(self) -> tuple[float, float] | None:
        """A list of two numbers, or None."""
        match self.numbers:
            case (float(low), float(high)):
                return low, high
        return None

    def __bool__(self) -> bool:
        return self.value is not None
