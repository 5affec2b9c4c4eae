"""The folder of one run: who may write in it, and its log."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from nas.process.files import TEMPORARY, RunFolderError, append_jsonl
from nas.process.lock import LOCK, lock, unlock
from nas.run.layout import EXPERIMENT, LOG


@dataclass(frozen=True)
class RunFolder:
    """One run's folder, locked for this process until `close`; files in it are named `folder.path / "front.json"`."""

    path: Path
    _lock: int | None

    @classmethod
    def open(cls, path: str | os.PathLike[str], resume: bool) -> RunFolder:
        """Create the folder of a new run, or with `resume` take up an existing one, and lock it.

        Temporary files of a killed run are removed. Raises RunFolderError, and leaves everything as it was, for a path
        that is a file, a folder that holds something (without `resume`), a folder that is no run (with `resume`), and
        a folder that another process has locked.
        """
        folder = Path(path)
        _check(folder, resume)
        return cls(folder, lock(folder, lambda: _check(folder, resume)))

    @classmethod
    def shared(cls, path: Path) -> RunFolder:
        """The folder of a run that another process has locked for this one's sake: it is read, and not logged to."""
        return cls(path, None)

    def close(self) -> None:
        """Release the lock; closing twice is an error of the caller."""
        if self._lock is not None:
            unlock(self._lock)

    def log(self, event: str, **fields: object) -> None:
        """Append one event, with the time of day in seconds, to the run's log."""
        if self._lock is None:
            raise AssertionError("a run that another process has locked is only read here")
        append_jsonl(self.path / LOG, [{"time": round(time.time(), 3), "event": event, **fields}])

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _check(folder: Path, resume: bool) -> None:
    if os.path.lexists(folder) and not folder.is_dir():
        raise RunFolderError(f"{folder} is a file, and a run needs a folder; choose another one with --out")
    try:
        names = set(os.listdir(folder)) if folder.is_dir() else set()
    except OSError as error:
        raise RunFolderError(f"cannot read {folder}: {error.strerror}; choose another folder with --out") from error
    if resume and not names & {EXPERIMENT, LOCK}:
        reason = f"it has no {EXPERIMENT}" if names else "there is nothing in it"
        raise RunFolderError(f"{folder} is not a run that could be resumed: {reason}; leave --resume out to start one")
    # A run that was killed before it wrote its experiment has nothing to lose.
    content = {name for name in names if name not in (LOCK, LOG) and not name.startswith(TEMPORARY)}
    if content and not resume:
        raise RunFolderError(f"{folder} is not empty; continue the run in it with --resume, or choose another --out")
