"""Ray clusters of several nodes on this machine, each a group of processes that can be killed on its own."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.nas.small_runs import small
from tests.nas.sweep.small_sweeps import write_sweep

ROOT = Path(__file__).parents[3]
#: Ray's own command, which is installed beside Python.
RAY = str(Path(sys.executable).with_name("ray"))
#: A node that does not answer is taken for dead after seconds, and not after minutes.
_HEALTH = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}
_STARTS_WITHIN_S = 120.0
#: Cells whose readings follow from genomes.
MEASURED = small(
    data={"name": "made_up:digits"}, target={"device": "rpi4b", "runner": "onnxruntime", "threads": 1},
    budgets=[{"name": "worst", "latency": "1 ms"}],
)  # fmt: skip


@dataclass
class Node:
    """The processes of one node: `ray start --block`, and what it begins."""

    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        """SIGKILL, all of them at once."""
        for number in (*descendants(self.process.pid), self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        self.process.wait()


@dataclass
class Rays:
    """A cluster that nodes are added to; its token, its address and its folder are its own."""

    nodes: list[Node] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self.token = secrets.token_hex(32)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for node in self.nodes:
            node.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def environment(self) -> dict[str, str]:
        """What nodes and drivers of the cluster have in common."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        return {**kept, **_HEALTH, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token, "PYTHONPATH": str(ROOT)}

    def add(self, *options: str, within: Sequence[str] = ()) -> Node:
        """Start the head, or a node more, with one CPU; returns when it has joined. `within` begins the command."""
        place = ["--head", f"--port={self.address.partition(':')[2]}", "--include-dashboard=false"]
        if self.nodes:
            place = [f"--address={self.address}"]
        else:
            place.append(f"--temp-dir={self._folder}")
        command = [RAY, "start", "--block", "--num-cpus=1", "--node-ip-address=127.0.0.1", "--disable-usage-stats"]
        command += ["--object-store-memory=80000000", *place, *options]
        said = (self._folder / f"{len(self.nodes)}.txt").open("wb")
        with said:
            process = subprocess.Popen(
                [*within, *command], cwd="/", env=self.environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said,
                start_new_session=True,
            )  # fmt: skip
        node = Node(process)
        self.nodes.append(node)
        end = time.monotonic() + _STARTS_WITHIN_S
        while b"Ray runtime started" not in Path(said.name).read_bytes():
            if time.monotonic() > end or process.poll() is not None:
                node.kill()
                raise RuntimeError(Path(said.name).read_text(errors="replace"))
            time.sleep(0.2)
        return node


def descendants(process: int) -> list[int]:
    """The processes that a process has begun, and those that these have."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError):
            fields = path.read_text(errors="replace").rpartition(")")[2].split()
            parents.setdefault(int(fields[1]), []).append(int(path.parent.name))
    found, pending = [], [process]
    while pending:
        children = parents.get(pending.pop(), [])
        found += children
        pending += children
    return found


@contextlib.contextmanager
def cluster(nodes: int) -> Iterator[Rays]:
    """A cluster of so many nodes of one CPU each."""
    with Rays() as made:
        for _ in range(nodes):
            made.add()
        yield made


def sweeping(place: Path, file: Path, out: str, *options: str, **environment: str) -> subprocess.Popen[str]:
    """Start `nas sweep` in a folder with the device that is made up."""
    command = [sys.executable, "-P", "-m", "nas", "sweep", str(file), "--out", out, "--plugins", "made_up", *options]
    return subprocess.Popen(
        command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )  # fmt: skip


def written(place: Path, axes: Any, base: dict[str, Any] = MEASURED, **keys: Any) -> Path:
    """A sweep, and the device beside it."""
    path = write_sweep(place, axes, base, **keys)
    shutil.copy(Path(__file__).with_name("made_up.py"), place / "made_up.py")
    return path
