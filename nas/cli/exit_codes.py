"""What a command's exit code says."""

from __future__ import annotations

from typing import Final

from nas.process import interrupt

#: Every budget was kept, or there was nothing to keep.
OK: Final = 0
#: Malformed input; nothing was written.
MALFORMED: Final = 2
#: Well-formed, but a budget was not kept, could not be measured here, or nothing fits.
NOT_KEPT: Final = 3
#: Interrupted; the same command with --resume goes on.
INTERRUPTED: Final = interrupt.EXIT_CODE
