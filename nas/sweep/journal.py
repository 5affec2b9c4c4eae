"""Optuna's journal of a study in a file that may be killed over: whole lines, and a lock that ends with its process.

The file is Optuna's own format, which `optuna.load_study` and optuna-dashboard read. Optuna's own way of writing it
leaves a lock behind where its process is killed, and a torn line that no line may follow.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from nas.process.files import append_lines, understood

#: What to do without the study that cells were chosen by.
ANEW: Final = "restore it, or start anew with another --out"


class Journal:
    """Satisfies `optuna.storages.journal.BaseJournalBackend`, in any number of processes of this machine."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """The records from a number on; a torn line at the end was never written."""
        lines = self._path.read_bytes().split(b"\n")[:-1] if self._path.exists() else []
        with understood(self._path, ANEW):
            records = [json.loads(line) for line in lines[log_number_from:]]
        yield from records

    def append_logs(self, logs: Sequence[dict[str, Any]]) -> None:
        """Add records, on disk when it returns; raises RunFolderError where the disk refuses."""
        data = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()
        append_lines(self._path, lambda descriptor, end: data)
