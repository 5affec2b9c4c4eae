"""The journal of a study: whole lines, however many write at a time and whoever is killed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nas.errors import InputError
from nas.sweep.journal import Journal


def test_a_journal_loses_no_line_and_goes_on_behind_a_torn_one(tmp_path: Path) -> None:
    path = tmp_path / "study.log"

    def append(number: int) -> None:
        journal = Journal(path)
        for at in range(5):
            journal.append_logs([{"number": number, "at": at}, {"number": number, "at": -1}])

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(append, range(32)))
    rows = list(Journal(path).read_logs(0))
    assert sorted((row["number"], row["at"]) for row in rows if row["at"] >= 0) == [
        (number, at) for number in range(32) for at in range(5)
    ]
    assert len(rows) == 320 and list(Journal(path).read_logs(318)) == rows[318:]
    with path.open("ab") as file:
        file.write(b'{"number": 3')
    assert list(Journal(path).read_logs(0)) == rows
    Journal(path).append_logs([{"number": 0}])
    assert list(Journal(path).read_logs(0)) == [*rows, {"number": 0}]


@pytest.mark.parametrize("damage", [b"\xff{}\n", b"{\n", b"nothing\n"])
def test_a_damaged_line_is_said_to_be(damage: bytes, tmp_path: Path) -> None:
    path = tmp_path / "study.log"
    Journal(path).append_logs([{"number": 0}])
    path.write_bytes(path.read_bytes() + damage + b'{"number": 1}\n')
    with pytest.raises(InputError, match=r"study\.log cannot be read .*restore it"):
        list(Journal(path).read_logs(0))
