"""Where the files of a sweep lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nas.run import layout
from nas.run.layout import RunFiles

CELLS: Final = "sweep.json"
#: The journal of Optuna, of a sweep whose cells are searched for.
STUDY: Final = "study.log"
#: What cells were worth while they trained, of a sweep with a scheduler.
RUNGS: Final = "rungs.jsonl"
_RUNS: Final = "cells"


@dataclass(frozen=True)
class SweepFiles:
    """The files of a sweep, all below `root`."""

    root: Path

    @property
    def cells(self) -> Path:
        """Which cells there are, with their experiments."""
        return self.root / CELLS

    @property
    def log(self) -> Path:
        """When cells began and ended, and how."""
        return self.root / layout.LOG

    @property
    def study(self) -> Path:
        """What Optuna asked and was told."""
        return self.root / STUDY

    @property
    def rungs(self) -> Path:
        """What cells were worth when they were compared."""
        return self.root / RUNGS

    @property
    def report(self) -> Path:
        """The page."""
        return self.root / layout.REPORT

    def cell(self, name: str) -> RunFiles:
        """The run of a cell."""
        return RunFiles(self.root / _RUNS / name)

    def link(self, name: str) -> str:
        """Where the page of a cell lies, as the sweep's page has it."""
        return f"{_RUNS}/{name}/{layout.REPORT}"


def is_sweep(folder: Path) -> bool:
    """Whether a folder is that of a sweep."""
    return SweepFiles(folder).cells.is_file()
