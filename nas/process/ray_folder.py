"""Where does a Ray cluster that is begun for one command keep its files, and who takes them away?

That command, when it ends. One that was killed leaves them, and the next one that begins such a cluster takes them
away: a folder is its owner's for as long as that has it locked, and a lock ends with its process. Ray's own processes
end by themselves then: those that run cells within seconds, and two agents, which do nothing more, a minute later.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from nas.process import machine
from nas.process.files import RunFolderError
from nas.process.lock import LOCK, lock

_PREFIX: Final = "nas-ray-"


def taken() -> tuple[Path, Callable[[], None]]:
    """A new folder, and what takes it away; those that killed commands of this user have left go before.

    Its path is short: sockets lie in it, whose paths have an end. Raises RunFolderError where it cannot be locked.
    """
    for folder in machine.FOLDER.glob(f"{_PREFIX}*"):
        _take_away_if_left(folder)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=machine.FOLDER))
    descriptor = lock(folder)
    return folder, lambda: _take_away(folder, descriptor)


def _take_away(folder: Path, descriptor: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    os.close(descriptor)


def _take_away_if_left(folder: Path) -> None:
    try:
        # Other users have their own, links lead elsewhere, and who has just made one has yet to write its number.
        ours = folder.is_dir() and not folder.is_symlink() and folder.stat().st_uid == os.getuid()
        if not ours or not (folder / LOCK).stat().st_size:
            return
        descriptor = lock(folder)
    except (OSError, RunFolderError):  # it is in use, or gone
        return
    _take_away(folder, descriptor)
