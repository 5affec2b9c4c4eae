"""Where the user's machine keeps what can be made again."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def cache_home() -> Path:
    """The folder of this program in `$XDG_CACHE_HOME` or `~/.cache`; it need not be there.

    Users without a home folder have one for temporary files.
    """
    return Path(os.environ.get("XDG_CACHE_HOME") or _cache()) / "hwnas"


def _cache() -> Path:
    try:
        return Path.home() / ".cache"
    except RuntimeError:
        return Path(tempfile.gettempdir()) / f"cache-{os.getuid()}"
