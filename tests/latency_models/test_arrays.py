"""Reading arrays: whatever a file is, its values or one error, and no more memory than it is worth."""

from __future__ import annotations

import io
import os
import random
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latency_models.arrays import DAMAGED, array_names, read_arrays

WHOLE = {
    "a": np.arange(6.0).reshape(2, 3),
    "b": np.array(["x", "[/y]"]),
    "c": np.asfortranarray(np.eye(3, dtype=np.int8)),
}


def archive(**arrays: Any) -> bytes:
    data = io.BytesIO()
    np.savez_compressed(data, allow_pickle=True, **{**WHOLE, **arrays})
    return data.getvalue()


def with_header(text: str) -> bytes:
    data, header = io.BytesIO(), text.encode() + b"\n"
    with zipfile.ZipFile(data, "w") as out:
        out.writestr("a.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + b"\0" * 9)
    return data.getvalue()


def said_to_be(size: int) -> bytes:
    """An archive that says of its array `a` that it unfolds to so many bytes."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("a.npy", b"\0" * 1000)
        out.writestr("b.npy", b"\0" * 1000)
        out.infolist()[0].file_size = size
    return data.getvalue()


def test_what_numpy_wrote_is_read() -> None:
    found = read_arrays(io.BytesIO(archive()))
    assert all(np.array_equal(found[name], value) and found[name].dtype == value.dtype for name, value in WHOLE.items())
    found["a"][0] = 1  # a copy of one's own
    assert [*read_arrays(io.BytesIO(archive()), ("b", "d"))] == ["b"]
    assert array_names(io.BytesIO(archive())) == ("a", "b", "c")


@pytest.mark.parametrize(
    "content",
    [
        b"", b"PK", b"[" * 9999, archive()[:200], archive(d=np.array([None], object)), said_to_be(6 * 2**30),
        *map(with_header, (
            "{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000,), }",
            "{'descr': '|u1', 'fortran_order': False, 'shape': (-1,), }", "(" * 9000, "-" * 9000, "", "1",
        )),
    ],
    ids=range(12),
)  # fmt: skip
def test_what_is_no_archive_of_arrays_ends_in_one_of_few_errors(content: bytes) -> None:
    with pytest.raises(DAMAGED):
        read_arrays(io.BytesIO(content))


def test_what_nobody_asks_for_is_not_unpacked() -> None:
    with pytest.raises(DAMAGED, match=r"unfold to 6\.0 GiB"):
        read_arrays(io.BytesIO(said_to_be(6 * 2**30)), ("a",))
    with pytest.raises(DAMAGED, match="magic"):
        read_arrays(io.BytesIO(said_to_be(6 * 2**30)), ("b",))


def test_a_bit_that_is_another_is_seen_or_changes_nothing() -> None:
    content, draw = archive(), random.Random(0)
    for _ in range(200):
        where = draw.randrange(len(content))
        other = content[:where] + bytes([content[where] ^ (1 << draw.randrange(8))]) + content[where + 1 :]
        try:
            found = read_arrays(io.BytesIO(other))
        except DAMAGED:
            continue
        assert all(np.array_equal(found[name], value) for name, value in WHOLE.items() if name in found)


def test_nobody_waits_for_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.npz")
    with pytest.raises(ValueError, match="no regular file"):
        read_arrays(tmp_path / "a.npz")
