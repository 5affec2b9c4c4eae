"""One segment of an early-exit network on disk."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SegmentFile:
    """One segment on disk: it reads the tensors `takes` and gives the tensor `exit`, then the tensors `gives`."""

    file: str
    takes: tuple[str, ...]
    exit: str
    gives: tuple[str, ...]

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the outputs in order: the answer first, then what later segments read."""
        return (self.exit, *(name for name in self.gives if name != self.exit))
