"""The process that is a Ray cluster of this machine: however much it says it goes on, and what it cannot do is told."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from nas.errors import InputError
from nas.process import ray_alone
from nas.process.ray_alone import Alone, alone

#: More than any pipe holds.
WORDS = 2**20
#: Stands in for it: talks before it is there, and afterwards, until its input ends.
CHATTY = f"""
import json, sys
from pathlib import Path

def talk():
    for _ in range({WORDS} // 64):
        sys.stderr.write("x" * 63 + "\\n")

talk()
place = Path(__file__).with_name("count")
place.write_text(place.read_text() + "." if place.exists() else ".")
print(json.dumps({{"address": f"127.0.0.1:{{len(place.read_text())}}", "needed": {{"RAY_AUTH_TOKEN": "secret"}}}}))
sys.stdout.flush()
talk()
Path(__file__).with_name("talked").touch()
sys.stdin.read()
Path(__file__).with_name("ended").touch()
"""
BROKEN = """
import sys
sys.stderr.write("first words\\n" * 10000 + "no room for it\\n\\n")
sys.exit(1)
"""


@pytest.fixture
def stands_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with modules that stand in for it."""
    (tmp_path / "chatty.py").write_text(CHATTY)
    (tmp_path / "broken.py").write_text(BROKEN)
    (tmp_path / "silent.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    for name in ("_process", "_alone"):
        monkeypatch.setattr(ray_alone, name, None)
    monkeypatch.setattr(ray_alone.atexit, "register", lambda *what: None)
    yield tmp_path
    if ray_alone._process is not None:
        ray_alone._end(ray_alone._process)


def test_a_cluster_that_talks_goes_on(stands_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_alone, "_PROGRAM", "chatty")
    assert alone() == alone() == Alone("127.0.0.1:1", {"RAY_AUTH_TOKEN": "secret"})
    assert ray_alone._process is not None
    ray_alone._end(ray_alone._process)
    assert (stands_in / "talked").exists() and (stands_in / "ended").exists()
    assert ray_alone._process.returncode == 0


def test_one_that_has_ended_is_followed_by_another(stands_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_alone, "_PROGRAM", "chatty")
    alone()
    process = ray_alone._process
    assert isinstance(process, subprocess.Popen)
    process.kill()
    process.communicate()
    assert alone().address == "127.0.0.1:2"


@pytest.mark.parametrize(("program", "said"), [("broken", "no room for it"), ("silent", "it says nothing")])
def test_why_it_cannot_begin_is_said(program: str, said: str, stands_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_alone, "_PROGRAM", program)
    with pytest.raises(InputError, match=f"^Ray cannot be started on this machine: {said}$"):
        alone()
