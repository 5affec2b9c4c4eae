"""Ray clusters that a sweep cannot run on, which is said before it begins, and the one that it begins itself."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nas.config.plugins import NO_PLUGINS
from nas.errors import InputError
from nas.process.ray_cluster import Cluster, Node
from nas.sweep import ray_workers
from nas.sweep.executor import Executor
from tests.nas.sweep.ray_clusters import Rays, cluster, descendants, sweeping, written
from tests.nas.sweep.small_sweeps import HOPELESS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install hwnas[ray]"),
]

#: 127.0.0.1, the same as an address of IPv6, and ::1.
LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


@pytest.fixture(scope="module")
def rays() -> Iterator[Rays]:
    """A cluster of one node."""
    with cluster(1) as made:
        yield made


@pytest.mark.parametrize(
    ("keys", "environment", "message"),
    [
        ({}, {"RAY_AUTH_TOKEN": "f" * 64}, "refuses the token: set RAY_AUTH_TOKEN to the one that the cluster was"),
        ({"resources": {"cpus": 64}}, {}, "a cell asks for cpus: 64 (executor.resources), and no machine of the Ray"),
        ({"resources": {"board": 1}}, {}, "a cell asks for cpus: 1, board: 1 (executor.resources), and no machine"),
    ],
)
def test_a_cluster_that_is_not_for_this_sweep_is_refused(
    keys: dict[str, Any], environment: dict[str, str], message: str, rays: Rays, tmp_path: Path
) -> None:
    path = written(tmp_path, {"seed": [0]}, HOPELESS, executor={"name": "ray", "address": rays.address, **keys})
    process = sweeping(tmp_path, path, "out", **{**rays.environment, **environment})
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 2 and said.count("\n") == 1 and message in said, said
    assert sorted(each.name for each in tmp_path.iterdir()) == ["base.yaml", "made_up.py", "sweep.yaml"]


@pytest.mark.parametrize("listens", ["nobody", "somebody else"])
def test_a_cluster_that_is_not_there_is_said_to_be_so(listens: str, tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        if listens != "nobody":
            other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        begun = time.monotonic()
        process = sweeping(
            tmp_path, written(tmp_path, {"seed": [0]}, HOPELESS), "out", "--executor", "ray", "--address", address,
            RAY_AUTH_TOKEN="x" * 64,
        )  # fmt: skip
        said, _ = process.communicate(timeout=180)
    assert process.returncode == 2 and said.count("\n") == 1 and address in said and "Traceback" not in said, said
    if listens == "nobody":
        assert 10 <= time.monotonic() - begun < 40
    assert not (tmp_path / "out").exists()


def test_storage_that_a_node_does_not_see_is_said_before_anything_runs(tmp_path: Path) -> None:
    """The second node has a mount of its own over the folder, as another machine would without the shared disk."""
    hidden = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', str(tmp_path)]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*hidden, "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("no mounts of one's own here")
    path = written(tmp_path, {"seed": [0]}, HOPELESS)
    before = sorted(tmp_path.iterdir())
    with cluster(1) as rays:
        rays.add(within=hidden)
        process = sweeping(
            tmp_path, path, "out", "--executor", "ray", "--address", rays.address, **rays.environment
        )  # fmt: skip
        said, _ = process.communicate(timeout=180)
    assert process.returncode == 2 and said.count("\n") == 1, said
    assert f"does not see {tmp_path} as this one does (No such file or directory): run folders have to lie" in said
    assert sorted(tmp_path.iterdir()) == before


def listening(processes: Iterable[int]) -> set[str]:
    """The addresses, as the kernel writes them, at which some processes wait for others."""
    sockets = set[str]()
    for number in processes:
        with contextlib.suppress(OSError):
            sockets |= {os.readlink(path) for path in Path(f"/proc/{number}/fd").iterdir()}
    rows = (line.split() for table in ("tcp", "tcp6") for line in Path(f"/proc/net/{table}").read_text().splitlines())
    return {row[1].partition(":")[0] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in sockets}


def priorities(processes: Iterable[int]) -> Iterator[int]:
    """How far workers of Ray that have a cell come after other processes."""
    for number in processes:
        with contextlib.suppress(OSError):
            if Path(f"/proc/{number}/cmdline").read_bytes().startswith(b"ray::nas cell"):
                yield os.getpriority(os.PRIO_PROCESS, number)


def test_a_sweep_begins_a_cluster_that_others_cannot_reach_and_ends_it(tmp_path: Path) -> None:
    path = written(tmp_path, {"seed": [0, 1, 2]}, HOPELESS)
    process = sweeping(tmp_path, path, "out", "--executor", "ray")
    others, reached, niceness = set[int](), set[str](), set[int]()
    while process.poll() is None:
        others |= {*descendants(process.pid)}
        reached |= listening(others)
        niceness |= {*priorities(others)}
        time.sleep(0.1)
    said, _ = process.communicate()
    assert process.returncode == 3 and "3 of 3 cells complete" in said, said
    assert len(others) > 2 and reached and reached <= LOOPBACK
    assert niceness == {os.getpriority(os.PRIO_PROCESS, 0)}, "cells come after what else runs here"
    end = time.monotonic() + 30
    while left := [number for number in others if Path(f"/proc/{number}/exe").exists()]:
        assert time.monotonic() < end, left
        time.sleep(0.1)


def test_a_cluster_that_lost_every_machine_for_its_cells_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many cells are begun as there is room for, and one; where there is none for long, that is said."""
    have = {"a": 2.0, "b": 1.0, "head": 0.0}

    class Shrinking(Cluster):
        def nodes(self) -> list[Node]:
            return [Node(name, name, {"CPU": count}) for name, count in have.items()]

    monkeypatch.setattr(ray_workers, "_COUNTED_EVERY_S", -1.0)
    workers = ray_workers.RayWorkers(Shrinking("here", None), Executor(), NO_PLUGINS)
    assert workers.free() == 4
    del have["a"], have["b"]
    assert workers.free() == 1
    monkeypatch.setattr(ray_workers, "_GONE_S", -1.0)
    with pytest.raises(
        InputError, match=r"no machine of the Ray cluster \(here\) has cpus: 1 any more; nothing is lost"
    ):
        workers.free()
