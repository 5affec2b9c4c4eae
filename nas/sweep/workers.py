"""Where cells run: what whoever carries out a sweep asks of that place, here or elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from nas.run.layout import RunFiles
from nas.sweep.layout import SweepFiles


@dataclass(frozen=True)
class Task:
    """A cell that is ready to run: its folder has its experiment, and what it has done before, if anything.

    `sweep` is the one whose scheduler may stop it early; None where nobody does.
    """

    name: str
    files: RunFiles
    sweep: SweepFiles | None = None


@dataclass(frozen=True)
class Ended:
    """A cell that runs no more; `cause` is what it said last, for where its files do not say that it is complete."""

    name: str
    cause: str = ""


class Workers(Protocol):
    """Runs cells; their folders are all that is heard of them meanwhile.

    A cell that fails, or whose process dies, is one that ended: nothing is raised for it.
    """

    def free(self) -> int:
        """How many more cells can begin now."""

    def begin(self, task: Task) -> None:
        """Begin a cell, where `free` is more than 0, or go on with it; may return when it has ended, or at once."""

    def ended(self, patience_s: float) -> list[Ended]:
        """Those that have ended since this was asked last; waits for the first of them, but no longer than that."""

    def close(self) -> None:
        """Ask those that still run to stop where they can go on from, and wait until they have."""
