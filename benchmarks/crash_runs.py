"""A run and two kinds of sweep that are killed: what they do, how they are started, and of which processes they are."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from crash_device import DIES_AT

from nas.process.facts import cores_used
from nas.run.layout import RunFiles
from nas.sweep.layout import SweepFiles

ROOT: Final = Path(__file__).parents[1]
_DEVICE: Final = Path(__file__).with_name("crash_device.py")
_POLL_S: Final = 0.01
#: Processes whose parent was killed stop by themselves, after what they are at.
_GONE_WITHIN_S: Final = 60.0
_COMMON: Final[dict[str, Any]] = {
    "data": {"name": "digits"},
    "space": {
        "name": "mobile",
        "max_exits": 1,
        "stages": [
            {
                "widths": [8, 12],
                "depths": [1, 2],
                "stride": 2,
                "options": {"kernel": [3], "expansion": [1, 2], "se": [False]},
            }
        ],
    },
    "target": {"device": "rpi4b", "runner": "onnxruntime", "threads": 1},
    "calibration": {"networks": 6},
    "winners": {"epochs": 4, "candidates": 4, "attempts": 3},
    "verify": {"blocks": 3, "block_time": "10 ms", "samples": 30, "parity_samples": 32, "tvm": False},
}
#: Exits, and an architecture that is searched in turns with the weights: every stage that there is.
RUN: Final[dict[str, Any]] = {
    **_COMMON,
    "name": "run",
    "budgets": [{"name": "tight", "latency": "0.17 ms"}, {"name": "mean", "latency": "0.16 ms", "of": "expected"}],
    "splits": {"arch": 0.15},
    "supernet": {"epochs": 8, "batch_size": 32, "random_subnets": 1},
    "search": {
        "optimiser": {"name": "differentiable", "steps": 120},
        "searcher": {"name": "joint", "population": 8},
        "evaluations": 20,
        "batch": 5,
        "images": 300,
        "calibration_images": 128,
    },
}
#: Two groups of two cells that share weights.
CELL: Final[dict[str, Any]] = {
    **_COMMON,
    "name": "cell",
    "budgets": [{"name": "mean", "latency": "0.16 ms", "of": "expected"}],
    "supernet": {"epochs": 4, "batch_size": 32, "random_subnets": 1},
    "search": {"evaluations": 15, "batch": 5, "images": 300, "calibration_images": 128},
}
AXES: Final[dict[str, Any]] = {"seed": [0, 1], "budgets.0.latency": ["0.15 ms", "0.2 ms"]}


@dataclass(frozen=True)
class Subject:
    """What is killed: a command of `nas`, whose folder is always `now`; a reference lies beside it."""

    name: str
    place: Path
    command: tuple[str, ...]

    @property
    def now(self) -> Path:
        """The folder of the run or sweep that is killed."""
        return self.place / self.name / "now"

    @property
    def reference(self) -> Path:
        """The folder of the one that nobody disturbed."""
        return self.place / self.name / "reference"

    @property
    def has_processes(self) -> bool:
        """Whether its cells are processes of their own."""
        return "--workers" in self.command

    @property
    def cells(self) -> tuple[RunFiles, ...]:
        """The runs that there are by now."""
        if self.command[0] == "run":
            return (RunFiles(self.now),)
        return tuple(RunFiles(path) for path in sorted(SweepFiles(self.now).cell("x").root.parent.glob("*")))


def subjects(place: Path) -> tuple[Subject, ...]:
    """The run, the sweep with processes beside each other, and the one within a process; writes their files."""
    site = place / "site"
    site.mkdir(parents=True)
    (place / "cache").mkdir()
    shutil.copy(_DEVICE, site / "sitecustomize.py")
    files = {"run": RUN, "cell": CELL, "sweep": {"experiment": "cell.yaml", "axes": AXES}}
    for name, content in files.items():
        (place / f"{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    sweep = ("sweep", str(place / "sweep.yaml"))
    return (
        Subject("run", place, ("run", str(place / "run.yaml"))),
        Subject("sweep of processes", place, (*sweep, "--workers", str(min(2, len(cores_used()))))),
        Subject("sweep", place, sweep),
    )


@dataclass(frozen=True)
class Life:
    """A process of a command, with those that it started, all of one session."""

    subject: Subject
    process: subprocess.Popen[bytes]

    @staticmethod
    def of(subject: Subject, dies_at: int = 0) -> Life:
        """Start a subject, or go on with it; it kills itself at its operation `dies_at` on a disk, if that is not 0."""
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join((str(subject.place / "site"), str(ROOT))),
            "XDG_CACHE_HOME": str(subject.place / "cache"),
            "XDG_CONFIG_HOME": str(subject.place / "config"),
            DIES_AT: str(dies_at),
        }
        command = [sys.executable, "-P", "-m", "nas", *subject.command, "--out", str(subject.now), "--resume"]
        said = (subject.place / f"{subject.name}.txt").open("ab")
        with said:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=environment, start_new_session=True,
            )  # fmt: skip
        return Life(subject, process)

    def children(self) -> list[int]:
        """The processes that it started, as far as they live."""
        return [number for number in _of_session(self.process.pid) if number != self.process.pid]

    def kill(self, kind: str, which: int = 0) -> bool:
        """SIGKILL: `all` processes, the `parent` alone, or one `cell` of it, of which there may be none.

        False where there was nothing left to kill.
        """
        children = self.children()
        if kind == "cell" and not children:
            return False
        if kind == "cell":
            victims = [children[which % len(children)]]
        else:
            victims = [self.process.pid, *(children if kind == "all" else ())]
        if self.process.poll() is not None:
            return False
        for victim in victims:
            try:
                os.kill(victim, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if kind != "cell":
            self.process.wait()
            self.wait_until_gone()
        return True

    def wait_until_gone(self) -> None:
        """Wait for processes that outlive their parent; raises RuntimeError for those that do so for long."""
        end = time.monotonic() + _GONE_WITHIN_S
        while left := self.children():
            if time.monotonic() > end:
                for number in left:
                    os.kill(number, signal.SIGKILL)
                raise RuntimeError(f"{self.subject.name}: processes outlived their parent")
            time.sleep(_POLL_S)


def _of_session(session: int) -> list[int]:
    """The processes of a session that live."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The state stands third, the session sixth.
            fields = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] not in "ZX":
            found.append(int(path.parent.name))
    return found


@dataclass(frozen=True)
class Stretch:
    """A stage of a run as it went undisturbed: in which log it stands, when it began, and how long it took."""

    log: Path
    stage: str
    began: float
    seconds: float


def events(log: Path) -> list[dict[str, Any]]:
    """The beginnings and ends of stages in a log, of which the last line may be torn."""
    lines = log.read_bytes().split(b"\n")[:-1] if log.exists() else []
    return [event for event in map(json.loads, lines) if "stage" in event]


def stretches(subject: Subject) -> list[Stretch]:
    """All stages of the run or sweep that is in `now`, in the order in which they began."""
    return sorted(
        (each for cell in subject.cells for each in _stretches(cell.log)), key=lambda each: (each.began, each.stage)
    )


def _stretches(log: Path) -> Iterator[Stretch]:
    began: dict[str, float] = {}
    for event in events(log):
        if event["event"] == "begin":
            began[event["stage"]] = event["time"]
        elif event["event"] == "end":
            yield Stretch(log, event["stage"], began[event["stage"]], event["seconds"])


def under_way(subject: Subject) -> str:
    """The stages that are under way, or that were when a process was killed; `start` before, `between` stages else."""
    last = [found[-1] for cell in subject.cells if (found := events(cell.log))]
    stages = {str(event["stage"]) for event in last if event["event"] == "begin"}
    return " and ".join(sorted(stages)) or ("between" if last else "start")


def wait_for(life: Life, stretch: Stretch) -> bool:
    """Wait until a stage begins once more; False where the command ends before."""
    before = _beginnings(stretch)
    while life.process.poll() is None:
        if _beginnings(stretch) > before:
            return True
        time.sleep(_POLL_S)
    return False


def _beginnings(stretch: Stretch) -> int:
    """How often a stage has begun."""
    return sum(event["event"] == "begin" and event["stage"] == stretch.stage for event in events(stretch.log))
