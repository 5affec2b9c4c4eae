from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.boards import arm, sshd
from tests.boards.faults import faulty, own_settings
from tests.nas.conftest import nas

__all__ = ["faulty", "nas", "own_settings"]


@pytest.fixture(scope="session")
def over_ssh() -> Iterator[sshd.Board]:
    """An unprivileged user of this machine behind a real sshd."""
    if reason := sshd.missing():
        pytest.skip(reason)
    with sshd.board() as board:
        yield board


@pytest.fixture(scope="session")
def emulated_arm() -> arm.Emulated:
    """An aarch64 machine under qemu-user; for tests marked slow, as it may have to be made first."""
    if reason := arm.missing():
        pytest.skip(reason)
    try:
        return arm.make()
    except arm.Unavailable as error:
        pytest.skip(str(error))
