"""The file of addresses: nobody else may read it at any instant, and of two changes at a time none is lost."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nas.devices.board import adding, addresses
from nas.devices.board.addresses import Address
from nas.errors import InputError
from nas.process import files
from nas.process.lock import locked
from tests.nas.small_runs import Command

DESK = Address("ssh pi@desk")


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A user without settings whose files are everybody's."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    before = os.umask(0)
    monkeypatch.setattr(adding, "Connection", Answering)
    yield tmp_path / "config" / "hwnas"
    os.umask(before)


class Answering:
    """A connection to a board that says what it is; `meanwhile` happens while it is reached."""

    meanwhile: Callable[[], None] = staticmethod(lambda: None)

    def __init__(self, name: str, address: Address) -> None:
        self.name = name

    def answered(self, work: Callable[[], Any]) -> Any:
        type(self).meanwhile()
        return work()

    def ask(self, what: str, **_: Any) -> dict[str, Any]:
        return {"identity": {"id": self.name, "name": self.name}, "runtime": "onnxruntime 1"}

    def close(self) -> None:
        """Nothing is open."""


def _add(name: str) -> None:
    adding.add(name, replace(DESK, at=f"ssh {name}"), "rpi4b")


@pytest.mark.parametrize("before", ["nothing", "a readable file", "a readable leftover"])
def test_the_file_is_never_readable_by_others(settings: Path, monkeypatch: pytest.MonkeyPatch, before: str) -> None:
    if before != "nothing":
        settings.mkdir(parents=True)
        name = "boards.json" if before == "a readable file" else f"{files.TEMPORARY}{os.getpid()}-boards.json"
        (settings / name).write_text('{"schema": 1, "boards": {}}')
    modes: list[int] = []

    def watched(descriptor: int, data: bytes) -> None:
        modes.append(os.fstat(descriptor).st_mode)
        files.write_bytes(descriptor, data)

    monkeypatch.setattr(addresses, "write_bytes", watched)
    _add("desk")
    modes.append(addresses.path().stat().st_mode)
    assert [stat.S_IMODE(mode) for mode in modes] == [0o600, 0o600]
    assert before != "nothing" or stat.S_IMODE(settings.stat().st_mode) == 0o700
    assert addresses.known()["desk"].at == "ssh desk"


@pytest.mark.parametrize("change", ["add", "remove"])
def test_a_change_made_meanwhile_is_kept(monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    """Between what was first read and what is written lies the time in which the board is reached."""
    if change == "add":
        monkeypatch.setattr(Answering, "meanwhile", staticmethod(_chair))
        _add("desk")
        assert set(addresses.known()) == {"desk", "chair"}
    else:
        _add("desk")
        real = addresses.held

        @contextlib.contextmanager
        def after_another() -> Iterator[dict[str, Address]]:
            _chair()
            with real() as known:
                yield known

        monkeypatch.setattr(addresses, "held", after_another)
        adding.remove("desk")
        assert set(addresses.known()) == {"chair"}


def _chair() -> None:
    addresses.write({**addresses.known(), "chair": DESK})


def test_changes_at_a_time_are_all_made() -> None:
    names = [f"board{number}" for number in range(6)]
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(_add, names))
    assert set(addresses.known()) == {*names}
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(adding.remove, names[1:]))
    assert set(addresses.known()) == {names[0]}


@pytest.mark.parametrize("change", [_add, adding.remove])
def test_a_change_that_does_not_end_is_said(
    settings: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[str], None]
) -> None:
    _add("desk")
    before = addresses.path().read_bytes()
    monkeypatch.setattr(addresses, "_WAIT_S", 0.05)
    said = f"another command changes {re.escape(str(addresses.path()))}; wait until it has ended"
    with locked(settings), pytest.raises(InputError, match=said):
        change("desk")
    assert addresses.path().read_bytes() == before


def test_settings_that_cannot_be_written_are_said(nas: Command, tmp_path: Path) -> None:
    (tmp_path / "config").write_text("")
    said = nas("devices", "add", "desk", "--at", "ssh pi@desk", "--profile", "rpi4b").error
    assert re.search(r"boards cannot be noted in .*hwnas: (Not a directory|File exists); give access to it", said), said


def test_an_unknown_name_makes_no_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no board is called 'desk'; there are none yet"):
        adding.remove("desk")
    assert not (tmp_path / "config").exists()
