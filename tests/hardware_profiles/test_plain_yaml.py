"""Text that is no plain data: one error that says where and why, in a moment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hardware_profiles import ProfileError
from hardware_profiles.plain_yaml import MOST_CHARACTERS, load
from hardware_profiles.registry import read


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: !!bool maybe", "line 1: the tag !!bool has to be left out"),
        ("a: !!timestamp nope", "the tag !!timestamp"),
        ("b: 1\na: !!python/object/apply:os.system [ls]", "line 2: the tag !!python"),
        ("a: &b 1\nc: *b", r"line 2: the alias \*b has to be written out"),
        ("a: 2001-99-99", "a value cannot be read: month must be in"),
        ("a: 1" + "0" * 5000, r"line 1: the number 10+\.\.\. has 5,001 digits, and 1,000 are the most"),
        ("b: 1\na: -0x" + "f" * 5000, r"line 2: the number -0xf+\.\.\. has 5,003 digits"),
        ("a: 1\na: 2", "line 2: the key 'a' is given twice"),
        ("? [a]\n: 1", "unhashable"),
        ("=: 1", "line 1: could not determine a constructor"),
        ("[" * 5000, "nested too deeply"),
        ("{a: " * 50_000, "nested too deeply"),
        ("\n".join(f"k{i}: {i}" for i in range(100_000)), f"{MOST_CHARACTERS:,} are the most that are read"),
        ("a: [", "line 1: "),
    ],
    ids=range(14),
)
def test_what_is_no_plain_data_is_refused(text: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=reason):
        load(text)
    (tmp_path / "board.yaml").write_text(text)
    with pytest.raises(ProfileError, match=r"board\.yaml: is not valid YAML of a profile"):
        read(tmp_path / "board.yaml")


def test_nobody_waits_for_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "board.yaml")
    with pytest.raises(ProfileError, match="no regular file"):
        read(tmp_path / "board.yaml")
