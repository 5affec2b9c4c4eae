from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.boards import sshd


@pytest.fixture(scope="session")
def over_ssh() -> Iterator[sshd.Board]:
    """An unprivileged user of this machine behind a real sshd."""
    if reason := sshd.missing():
        pytest.skip(reason)
    with sshd.board() as board:
        yield board
