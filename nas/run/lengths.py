"""How many lines had the logs of a run when a stage ended? Those that are lost at a log's end leave no other trace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from nas.errors import InputError
from nas.process.files import atomic_write_json, read_json, understood
from nas.run import layout
from nas.run.layout import RunFiles

SCHEMA: Final = 1
REMEDY: Final = "delete it, and what logs lack at their ends is not seen"
#: What was made of a log, and goes too where that lost lines, so that these are made again.
_MADE_OF: Final[Mapping[str, str]] = {layout.TRIALS: layout.FRONT}


def note(files: RunFiles) -> None:
    """Write down how many lines each log has, or had: they only grow, but for trials while the search is under way."""
    logs = [files.log, files.measurements, *([files.trials] if files.front.exists() else [])]
    now = {path.name: _lines(path) for path in logs if path.exists()}
    try:
        had = _had(files)
    except InputError:  # damaged: named when the run goes on, and until then it stays
        return
    lines = {name: max(had.get(name, 0), now.get(name, 0)) for name in {**had, **now}}
    atomic_write_json(files.lengths, {"schema": SCHEMA, "lines": lines})


def losses(files: RunFiles) -> Iterator[tuple[Path, str]]:
    """Each log that is shorter than it was, and a sentence about it; nothing is known of runs of older releases.

    Raises InputError where that is not to be read.
    """
    for name, had in _had(files).items():
        path = files.root / Path(name).name
        if (has := _lines(path)) < had:
            gone = [str(files.lengths), *([str(files.root / _MADE_OF[path.name])] if path.name in _MADE_OF else [])]
            yield (
                path,
                (
                    f"{path} has {has} line{'s' * (has != 1)}, and had {had} when a stage of the run ended: "
                    f"{had - has} at its end {'is' if had - has == 1 else 'are'} missing; restore it, or delete "
                    f"{' and '.join(gone)}, and --resume goes on with what is left"
                ),
            )


def require_whole(files: RunFiles) -> None:
    """Raise InputError, with what to do, for the first log that is shorter than it was."""
    for _, sentence in losses(files):
        raise InputError(sentence)


def _had(files: RunFiles) -> dict[str, int]:
    if not files.lengths.exists():
        return {}
    record = read_json(files.lengths, REMEDY)
    with understood(files.lengths, REMEDY):
        return {str(name): int(lines) for name, lines in record["lines"].items()}


def _lines(path: Path) -> int:
    """How many whole lines a log has: a torn last one was never written."""
    return path.read_bytes().count(b"\n") if path.exists() else 0
