"""What a builder leaves and a device opens: the segments of a network as files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nas.deploy.segment import SegmentFile
from nas.exits.base import ExitPolicy
from nas.exits.policies import MaxProbability


@dataclass(frozen=True)
class Artefact:
    """The segments of a network in a folder, in the order of its exits, and when the early ones answer.

    `thresholds` are held against the scores of the `policy`, which is made with `policy_arguments`; None: no early exit
    ever answers.
    """

    folder: Path
    segments: tuple[SegmentFile, ...]
    thresholds: Sequence[float | None] | None = None
    policy: ExitPolicy = field(default_factory=MaxProbability)
    policy_arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def leaving(self) -> list[float | None]:
        """One threshold per early exit, None or infinite where it never answers."""
        return [None] * (len(self.segments) - 1) if self.thresholds is None else list(self.thresholds)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files, in the order of the exits."""
        return tuple(self.folder / segment.file for segment in self.segments)
