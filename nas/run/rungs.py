"""What is a run compared by while its shared weights are trained, where a sweep may stop those that are behind?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Judged:
    """A network by the weights that there are so far: its multiply-adds, and its accuracy on validation images."""

    genome: tuple[int, ...]
    macs: int
    accuracy: float


@dataclass(frozen=True)
class AtRung:
    """What a run is worth at a rung: `value` is the mean accuracy of `networks` within the budget of that name."""

    value: float
    budget: str
    networks: tuple[Judged, ...]


class Rungs(Protocol):
    """The epochs of the shared weights at which a run is compared with others, and what came of it."""

    def epochs(self, last: int) -> tuple[int, ...]:
        """Those at which a training of `last` epochs is compared, rising, all before its end."""

    def reported(self, epoch: int) -> float | None:
        """What this run was worth there, None where that was not reported yet."""

    def report(self, epoch: int, found: AtRung) -> None:
        """Write down what this run is worth there, for all others to read."""

    def stops(self, epoch: int) -> bool:
        """Whether this run, which has reported, is to stop there: the same answer whenever and wherever it is asked."""
