"""The thresholds of a winner, in a file of their own: they are settled after the network's files are, by measuring.

A bundle without it answers at its last exit. Folders of the first release have them in their manifest.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from nas.deploy.names import MANIFEST, THRESHOLDS
from nas.errors import InputError
from nas.process.files import atomic_write_json

SCHEMA: Final = 1


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
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        found = tuple(math.inf if value is None else float(value) for value in record["thresholds"])
        about = record["architecture"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{folder / THRESHOLDS} cannot be read ({error}); verify the winners with `nas verify`"
        ) from error
    if about != architecture or len(found) != exits - 1:
        raise InputError(f"{path} has thresholds of another network; verify the winners with `nas verify`")
    return found
