"""A board over a pipe, through the real commands: added, profiled, and measured in a run; here it is another Python."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from hardware_profiles import registry
from nas.devices.board import addresses
from tests.boards.faults import DESK, PROFILE, STREAM, readings, tiny
from tests.nas.small_runs import Command, write

#: Where older Pythons lie, if there are any.
VERSIONS = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"


pytestmark = pytest.mark.usefixtures("own_settings")


@pytest.fixture
def no_timing_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is timed in this process fails."""

    def refuse(*_: object) -> None:
        raise AssertionError("timed on the host")

    monkeypatch.setattr("nas.devices.local.time_cascades", refuse)


def bare_python(folder: Path, *packages: str) -> str:
    """The command of a Python that has these packages alone, and none of ours."""
    python = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    folder.mkdir()
    for package in packages:
        found = find_spec(package)
        assert found is not None and found.origin is not None
        inside = Path(found.origin).parent
        for part in (inside, inside.with_name(f"{package}.libs")):
            if part.is_dir():
                (folder / part.name).symlink_to(part)
    return shlex.join(["env", f"PYTHONPATH={folder}", "PYTHONNOUSERSITE=1", str(python)])


def test_added_profiled_and_kept(nas: Command, tmp_path: Path, no_timing_here: None) -> None:
    added = nas("devices", "add", "desk", "--at", bare_python(tmp_path / "packages", "numpy", "onnxruntime"))
    assert (added.code, added.err) == (0, "")
    assert added.out.startswith("desk answers\n") and "onnxruntime " in added.out and "nas profile desk" in added.out
    assert "desk" in nas("devices").out
    assert addresses.path().stat().st_mode & 0o077 == 0
    profiled = nas("profile", "desk", *PROFILE)
    assert profiled.code == 0 and "3 readings taken" in profiled.out
    experiment = write(tmp_path, tiny(target=DESK, budgets=[STREAM]))
    done = nas("run", experiment, "--out", "run")
    assert done.code == 0, done
    assert "kept" in done.out
    rows = [json.loads(line) for line in readings(tmp_path / "run", "desk")]
    assert len(rows) == (tmp_path / "run" / "measurements.jsonl").read_text().count("\n")
    # What `nas profile` measured there is its calibration.
    assert {row["purpose"] for row in rows} == {"candidate", "winner"}
    assert {row["conditions"]["reached"] for row in rows} == {"desk"}
    assert nas("devices", "remove", "desk").code == 0
    assert not addresses.known() and (tmp_path / "hardware_profiles" / "desk.yaml").exists()


def test_a_board_may_stand_for_a_shipped_device(nas: Command, tmp_path: Path) -> None:
    assert nas("devices", "add", "my_pi", "--at", sys.executable, "--profile", "rpi4b").code == 0
    shown = nas("devices", "my_pi").out
    assert "my_pi" in shown and registry.load("rpi4b").name in shown
    assert registry.load("my_pi").machine == addresses.known()["my_pi"].identity


WRONG: dict[str, tuple[Callable[[Path], tuple[str, ...]], str]] = {
    "no name": (lambda _: ("add",), "which board"),
    "no command": (lambda _: ("add", "desk"), "how is desk reached"),
    "two names": (lambda _: ("add", "desk", "chair", "--at", "ssh pi"), "not understood"),
    "no word": (lambda _: ("--at", "ssh pi"), "'ssh pi' is for a board"),
    "add is missing": (lambda _: ("rpi4b", "--at", "ssh pi"), "'ssh pi' is for a board"),
    "an address to remove": (lambda _: ("remove", "desk", "--profile", "rpi5"), "'rpi5' is for a board"),
    "this machine's name": (lambda _: ("add", "host", "--at", "ssh pi"), "'host' is this machine"),
    "a path for a name": (lambda _: ("add", "../desk", "--at", "ssh pi"), "'../desk'"),
    "an empty name": (lambda _: ("add", "", "--at", "ssh pi"), "''"),
    "no words": (lambda _: ("add", "desk", "--at", " "), "there is no command"),
    "an open quote": (lambda _: ("add", "desk", "--at", "ssh 'pi"), "closing quotation"),
    "an open quote in Python": (lambda _: ("add", "desk", "--at", "ssh pi", "--python", "'x"), "closing quotation"),
    "no deadline": (lambda _: ("add", "desk", "--at", "ssh pi", "--deadline", "0"), "a deadline of 0"),
    "a deadline of nothing": (lambda _: ("add", "desk", "--at", "ssh pi", "--deadline", "nan"), "a deadline of nan"),
    "an unknown profile": (lambda _: ("add", "desk", "--at", "ssh pi", "--profile", "rpi4bb"), "rpi4bb"),
    "an unknown board": (lambda _: ("remove", "desk"), "no board is called 'desk'"),
    "no such command": (lambda _: ("add", "desk", "--at", "/no/such/thing"), "cannot be reached: '/no/such/thing'"),
    "a folder": (lambda _: ("add", "desk", "--at", "/tmp"), "cannot be reached: '/tmp' cannot be started"),
    "no Python there": (lambda _: ("add", "desk", "--at", "env", "--python", "pythonn"), "code 127; its last words"),
    "not Python": (lambda _: ("add", "desk", "--at", "echo"), "cannot be reached: echo python3 .* ended with code 0"),
    "silence": (lambda _: ("add", "desk", "--at", "sh -c 'sleep 9'", "--deadline", "1"), "starts no Python"),
    "no numpy": (lambda tmp: ("add", "desk", "--at", bare_python(tmp / "none")), "lacks a package .*numpy"),
    "no runtime": (lambda tmp: ("add", "desk", "--at", bare_python(tmp / "one", "numpy")), "lacks a package .*onnxr"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_uses_cost_a_line_and_write_nothing(nas: Command, tmp_path: Path, name: str) -> None:
    arguments, words = WRONG[name]
    done = nas("devices", *arguments(tmp_path))
    assert re.search(words, done.error), done.error
    assert not (tmp_path / "config").exists()


@pytest.mark.parametrize("version", ["2.7", "3.6", "3.7"])
def test_an_old_python_is_told_by_its_version(nas: Command, version: str) -> None:
    found = sorted(VERSIONS.glob(f"{version}.*/bin/python"))
    if not found:
        pytest.skip(f"there is no Python {version} in {VERSIONS}")
    said = nas("devices", "add", "desk", "--at", str(found[0])).error
    assert "3.8 or later is needed: name another one with --python" in said


def test_another_machine_under_a_known_name_is_refused(nas: Command) -> None:
    nas("devices", "add", "desk", "--at", sys.executable)
    record = json.loads(addresses.path().read_text())
    del record["@crc32"]
    record["boards"]["desk"]["identity"]["id"] = "another"
    addresses.path().write_text(json.dumps(record))
    before = addresses.path().read_bytes()
    assert "was added as another machine" in nas("devices", "add", "desk", "--at", sys.executable).error
    assert addresses.path().read_bytes() == before
    assert "is another machine than was added" in nas("profile", "desk", *PROFILE).err


def test_addresses_that_were_damaged_are_said(nas: Command, tmp_path: Path) -> None:
    addresses.path().parent.mkdir(parents=True)
    for text in ("", "{", "[]", '{"schema": 9}', '{"schema": 1, "boards": {"desk": {"at": 3}}}'):
        addresses.path().write_text(text)
        assert "boards.json" in nas("profile", "desk", *PROFILE).error
