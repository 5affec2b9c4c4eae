"""The thresholds of a winner, in a file of their own: they are settled after the network's files are, by measuring.

A bundle without it answers at its last exit. Folders of the first release have them in their manifest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from nas.deploy.names import MANIFEST, THRESHOLDS
from nas.errors import InputError
from nas.process.files import atomic_write_json, read_json, understood

SCHEMA: Final = 1
_REMEDY: Final = "verify the winners with `nas verify`"


def write(folder: Path, architecture: str, thresholds: Sequence[float]) -> None:
    """Write the thresholds of the early exits of network `architecture`; infinite: that exit never answers."""
    atomic_write_json(folder / THRESHOLDS, {"schema": SCHEMA, "architecture": architecture, "thresholds": thresholds})


def read(folder: Path, architecture: str, exits: int) -> tuple[float, ...]:
    """The thresholds of a winner's early exits, from their own file or from a manifest of the first release.

    Raises InputError where there are none yet, the file cannot be read, or they are not those of network `architecture`
    with so many `exits`.
    """
    path = folder / THRESHOLDS
    path = path if path.exists() else folder / MANIFEST
    record = read_json(path, _REMEDY)
    with understood(path, _REMEDY):
        found = tuple(math.inf if value is None else float(value) for value in record["thresholds"])
        about = record["architecture"]
    if about != architecture or len(found) != exits - 1:
        raise InputError(f"{path} has thresholds of another network; {_REMEDY}")
    return found
