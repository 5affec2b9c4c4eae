"""A board may answer anything, or live without answering: one sentence, and no wait without end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from nas.devices.base import DeviceLost
from nas.devices.board import connection, frames
from nas.devices.board.addresses import Address
from nas.devices.board.connection import Connection


class Answers:
    """A pipe on which these messages come, the last of them for ever."""

    def __init__(self, *messages: Any) -> None:
        self._messages = messages
        self._left = self._bytes()
        self._read = b""

    def _bytes(self) -> Iterator[bytes]:
        for message in self._messages:
            yield frames.pack(message)
        while True:
            yield frames.pack(self._messages[-1])

    def write(self, data: bytes) -> None:
        pass

    def read(self, size: int) -> bytes:
        while len(self._read) < size:
            self._read += next(self._left)
        found, self._read = self._read[:size], self._read[size:]
        return found

    def close(self) -> None:
        pass


def answering(monkeypatch: pytest.MonkeyPatch, *messages: Any) -> Connection:
    made = Connection("desk", Address("ssh nobody", deadline_s=0.01))
    monkeypatch.setattr(made, "_started", lambda: Answers(*messages))
    return made


@pytest.mark.parametrize(
    "message",
    [{}, {"failure": {}}, {"failure": 3}, [1], 3, None, {"answer": {}}, {"answer": None}, {"answer": np.zeros(3)}],
    ids=repr,
)
def test_what_was_not_asked_for_is_said_to_be_so(monkeypatch: pytest.MonkeyPatch, message: Any) -> None:
    board = answering(monkeypatch, message)
    with pytest.raises(DeviceLost, match="desk answers what"):
        board.answered(lambda: board.ask("facts")["identity"]["name"])


def test_a_board_that_lives_and_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_LONGEST_S", 0.02)
    for what in ("facts", "time"):
        board = answering(monkeypatch, {"alive": ""})
        with pytest.raises(DeviceLost, match=f"lives, and does not answer `{what}`"):
            board.answered(lambda board=board, what=what: board.ask(what))


def test_nothing_that_a_board_says_steers_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    board = answering(monkeypatch, {"answer": {"name": "\x1b]0;title\x07 board", "lists": ["\x1b[2J"]}})
    assert board.ask("facts") == {"name": "?]0;title? board", "lists": ["?[2J"]}
