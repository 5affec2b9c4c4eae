"""Boards behind a link that misbehaves, and what is asked of them."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pytest

from hardware_profiles import Target
from nas.deploy.artefact import Artefact
from nas.devices.base import Times, Wanted
from nas.devices.board import connection as connections
from nas.devices.board import sources
from nas.devices.board.addresses import Address
from nas.devices.board.connection import Connection
from nas.devices.board.device import Board
from nas.devices.runners import builder_for
from nas.devices.timing.plan import Plan
from nas.run.layout import RunFiles
from nas.run.verdict import Verdict
from nas.run.verdict_files import load_verdicts
from nas.testing import deployed
from tests.boards import proxy
from tests.nas.small_runs import small

#: Short: what is tried is that there are readings, not how good they are.
PLAN: Final = Plan(blocks=3, block_s=2e-3, warm_up_s=1e-3)
TARGET: Final = Target(device="host", runner="onnxruntime", threads=1)
#: The board's in experiments, and what `nas profile` is given.
DESK: Final = {"device": "desk", "runner": "onnxruntime", "threads": 1}
PROFILE: Final = ("--runner", "onnxruntime", "--networks", "3", "--space", "toy", "--input", "1x8x8", "--classes", "4")
#: A stream of images over the exits is timed, and calls to each of them too.
STREAM: Final = {"name": "mean", "latency": "200 ms", "of": "expected"}
_GONE_S: Final = 10.0
_PROXY: Final = Path(proxy.__file__)


class Faulty:
    """A board that is another Python of this machine; `rules` are those of `proxy`."""

    def __init__(self, folder: Path, python: str = sys.executable, **environment: str) -> None:
        self.file = folder / "rules.json"
        variables = ["env", *(f"{name}={value}" for name, value in environment.items())] if environment else []
        self.at = shlex.join([*variables, sys.executable, str(_PROXY), str(self.file), python])
        self.break_with()

    def break_with(self, *rules: Mapping[str, Any]) -> None:
        """From the next start on, these are what happens; without any, it is mended."""
        self.file.with_suffix(".starts").unlink(missing_ok=True)
        self.file.write_text(json.dumps(rules))

    @property
    def starts(self) -> int:
        """How often it was started since."""
        return int(self.file.with_suffix(".starts").read_text())

    def connection(self, deadline_s: float = 30.0) -> Connection:
        return Connection("desk", Address(self.at, deadline_s=deadline_s))

    def left(self) -> list[int]:
        """What still runs of it, on either side."""
        mark, found = f"{proxy.MARK}={self.file}".encode(), []
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                if not entry.name.isdecimal() or int(entry.name) == os.getpid():
                    continue
                there = (entry / "environ").read_bytes().split(b"\0")
                if mark in there or str(self.file).encode() in (entry / "cmdline").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
        return found

    def require_gone(self) -> None:
        """Wait until nothing runs of it any more; what was frozen goes on before."""
        for process in self.left():
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)
        until = time.monotonic() + _GONE_S
        while left := self.left():
            assert time.monotonic() < until, [Path(f"/proc/{each}/cmdline").read_bytes() for each in left]
            time.sleep(0.05)


@cache
def artefacts() -> dict[str, Artefact]:
    """Networks with one and two exits, built for ONNX Runtime."""
    builder = builder_for(TARGET, deployed.profile())
    folder = TemporaryDirectory()
    _KEPT.append(folder)
    return {
        name: builder.build(network, deployed.weights_of(network), Path(folder.name) / name)
        for name, network in deployed.networks().items()
    }


_KEPT: Final[list[TemporaryDirectory[str]]] = []


def timed(connection: Connection) -> Times:
    """The seconds of the network with two exits, and its stream, on a board."""
    samples = [sample[None] for sample in deployed.samples()]
    with Board(TARGET, connection).open(artefacts()) as session:
        found = session.time([Wanted("two exits", (1,), 2, None, stream=True)], samples, PLAN)["two exits"]
        deployed.require_same(session.run_all("two exits", deployed.samples()[:1]), "two exits", slice(0, 1), "run_all")
    assert len(found.to_exits) == 2 and min(exit_.median_s for exit_ in found.to_exits) > 0
    return found


def tiny(**sections: Any) -> dict[str, Any]:
    """An experiment of two networks that are trained for a moment: what is tried is where it measures."""
    return small(
        "supernet",
        space={"name": "toy", "width": 4, "max_exits": 1},
        calibration={"networks": 3},
        search={"evaluations": 2, "batch": 2, "evaluator": {"name": "train", "epochs": 1}},
        winners={"epochs": 1, "candidates": 1, "attempts": 1, "training": "scratch"},
        **sections,
    )


def verdicts(run: Path) -> dict[str, Verdict]:
    """What was found of each budget of a run, by name."""
    return {each.budget.name: each for each in load_verdicts(RunFiles(run)).winners}


def readings(run: Path, device: str) -> list[str]:
    """The lines of a run's measurements that are of a device."""
    lines = (run / "measurements.jsonl").read_text().splitlines()
    return [line for line in lines if json.loads(line)["target"].startswith(f"{device}-")]


def alone(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let boards that are this machine not wait for whoever else measures here; only the times need that."""
    sent, machine = sources.sources(), "nas.process.machine"
    text, line = sources.path_of(machine).read_text(), 'FOLDER = Path("/tmp")'
    assert line in text
    text = text.replace(line, f"FOLDER = Path({str(folder)!r})")
    monkeypatch.setattr("nas.process.machine.FOLDER", folder)
    monkeypatch.setattr(sources, "sources", lambda: {**sent, machine: text})


@pytest.fixture
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A user without boards, and a machine on which nobody else measures."""
    monkeypatch.setattr(connections, "_connections", {})
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(connections, "_PAUSE_S", 0.05)
    monkeypatch.setattr(connections, "_GIVEN_UP_S", 0.0)
    alone(monkeypatch, tmp_path)
    yield
    close_all()


def close_all() -> None:
    """End the connections that commands left open, as the end of a process does."""
    for made in connections._connections.values():
        made.close()


@pytest.fixture
def faulty(tmp_path: Path, own_settings: None) -> Iterator[Faulty]:
    """A board whose link can be broken, and its files are in the test's folder."""
    made = Faulty(tmp_path, XDG_CACHE_HOME=str(tmp_path / "cache"))
    yield made
    close_all()
    made.require_gone()
