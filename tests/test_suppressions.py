"""A check is switched off only where it would speak, for one rule, and with the reason beside it."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator

import pytest

from tests.house import FILES, of_package, shown

_MARK = re.compile(r"type:\s*ignore|noqa", re.IGNORECASE)
_FORM = re.compile(r"# (type: ignore\[[a-z-]+\]  # (?!noqa)\w.+|(type: ignore\[[a-z-]+\]  # )?noqa: [A-Z]+\d+ \(.+\))")
#: mypy does not read tests: what is switched off there cannot be found to be of no use any more.
_UNTYPED = {shown(path) for path in of_package("tests")}


def suppressions(text: str) -> Iterator[tuple[int, str]]:
    """Comments that switch a check off, with their lines."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and _MARK.search(token.string):
            yield token.start[0], token.string


def wrong(name: str, comment: str) -> bool:
    """Whether a comment in a file of that name is not as it must be."""
    return _FORM.fullmatch(comment) is None or (name in _UNTYPED and "type: ignore" in comment)


def test_every_check_that_is_switched_off_has_its_reason() -> None:
    found = [
        (shown(path), line, comment)
        for path in FILES
        for line, comment in suppressions(path.read_text(encoding="utf-8"))
    ]
    assert found, "nothing was looked at"
    assert not [f"{name}:{line}: {comment}" for name, line, comment in found if wrong(name, comment)]


@pytest.mark.parametrize(
    ("comment", "is_wrong"),
    [
        ("# noqa", True),
        ("# noqa: F401", True),
        ("# NOQA: F401", True),
        ("# type: ignore", True),
        ("# type: ignore[misc]", True),
        ("# type: ignore[misc]  # noqa: F401", True),
        ("# type: ignore  # because", True),
        ("# noqa: F401 (used by others)", False),
        ("# type: ignore[misc]  # its base is chosen late", False),
        ("# type: ignore[misc]  # noqa: F401 (used by others)", False),
    ],
)
def test_a_reason_and_a_rule_are_asked_for(comment: str, is_wrong: bool) -> None:
    assert [line for line, _ in suppressions(f"x = 1\nx = '# noqa'\nx = 2  {comment}\n")] == [3]
    assert wrong("nas/errors.py", comment) == is_wrong
    assert wrong("tests/house.py", "# type: ignore[misc]  # its base is chosen late")
