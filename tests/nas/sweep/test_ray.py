"""Sweeps on Ray clusters of this machine: nothing is lost when nodes and drivers are killed, and what is refused.

Readings follow from genomes, so that cells that are run again, elsewhere or by another executor find the same.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nas.process.facts import cores_used
from nas.process.files import read_json, read_jsonl
from nas.process.lock import holder
from nas.sweep import results
from nas.sweep.layout import SweepFiles
from nas.sweep.state import Watcher
from tests.nas.small_runs import small
from tests.nas.sweep.ray_clusters import ROOT, Rays, cluster, descendants
from tests.nas.sweep.small_sweeps import HOPELESS, write_sweep

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install hwnas[ray]"),
]

#: Two groups of six cells, each of which shares weights; the tighter budget is broken by the larger networks.
AXES = {
    "seed": [0, 1],
    "budgets.0.latency": ["0.13 ms", "1 ms"],
    "search.searcher": ["nsga2", "random", "local"],
}
MEASURED = small(
    data={"name": "made_up:digits"}, target={"device": "rpi4b", "runner": "onnxruntime", "threads": 1},
    budgets=[{"name": "worst", "latency": "1 ms"}],
)  # fmt: skip
CELLS = 12
#: 127.0.0.1, the same as an address of IPv6, and ::1.
LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


def sweeping(place: Path, file: Path, out: str, *options: str, **environment: str) -> subprocess.Popen[str]:
    """Start `nas sweep` on one core, as the cells of these clusters have."""
    command = [sys.executable, "-P", "-m", "nas", "sweep", str(file), "--out", out, "--plugins", "made_up", *options]
    return subprocess.Popen(
        command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )  # fmt: skip


def written(place: Path, axes: Any = AXES, base: dict[str, Any] = MEASURED, **keys: Any) -> Path:
    """A sweep, and the device beside it."""
    path = write_sweep(place, axes, base, **keys)
    shutil.copy(Path(__file__).with_name("made_up.py"), place / "made_up.py")
    return path


def table(files: SweepFiles) -> list[Any]:
    """The rows of the sweep's page."""
    rows = results.rows(results.repeated(Watcher(files).look().cells))
    return [
        (row.repeated.values, row.budget.name, row.complete, row.kept, row.broken, row.accuracy, row.latency_s,
         row.parameters)
        for row in rows
    ]  # fmt: skip


def ends(files: SweepFiles, name: str) -> int:
    """How often the run of a cell came to its end."""
    log = read_jsonl(files.cell(name).log)
    return sum((row["event"], row.get("stage")) == ("end", "report") for row in log)


def beginnings(files: SweepFiles, name: str) -> int:
    """How often the run of a cell was begun, or gone on with."""
    log = read_jsonl(files.cell(name).log)
    return sum((row["event"], row.get("stage")) == ("begin", "calibrate") for row in log)


def names(files: SweepFiles) -> list[str]:
    return sorted(path.name for path in files.cell("x").root.parent.iterdir())


def wait_for(files: SweepFiles, complete: int, process: subprocess.Popen[str], of: int) -> list[str]:
    """Wait until so many cells are complete and others under way in processes that `of` has begun; returns these."""
    end = time.monotonic() + 300
    while time.monotonic() < end and process.poll() is None:
        begun = names(files) if files.cell("x").root.parent.is_dir() else []
        workers = descendants(of)
        there = [name for name in begun if holder(files.cell(name).root) in workers and beginnings(files, name)]
        if there and sum(ends(files, name) for name in begun) >= complete:
            return there
        time.sleep(0.05)
    raise AssertionError(process.communicate()[0])


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> SweepFiles:
    """The same sweep on this machine, undisturbed, with one core for each cell."""
    place = tmp_path_factory.mktemp("local")
    process = sweeping(place, written(place), "out", "--workers", str(len(cores_used())))
    said, _ = process.communicate(timeout=900)
    assert process.returncode in (0, 3) and f"{CELLS} of {CELLS} cells complete" in said, said
    return SweepFiles(place / "out")


def require_equal(files: SweepFiles, local: SweepFiles) -> None:
    """All cells complete, each once, with what the local ones found."""
    assert names(files) == names(local) and len(names(local)) == CELLS
    assert [ends(files, name) for name in names(files)] == [1] * CELLS
    for name in names(files):
        for path in ("trials", "front"):
            mine, theirs = (getattr(each.cell(name), path) for each in (files, local))
            assert mine.read_bytes() == theirs.read_bytes(), (name, path)
    assert table(files) == table(local)
    # Shared weights are there once, whoever trained them.
    trained = [name for name in names(files) if not any(
        row["event"] == "reused" for row in read_jsonl(files.cell(name).log)
    )]  # fmt: skip
    assert len(trained) == 2


def test_a_node_that_is_killed_midway_costs_nothing(local: SweepFiles, tmp_path: Path) -> None:
    files = SweepFiles(tmp_path / "out")
    with cluster(2) as rays:
        process = sweeping(
            tmp_path, written(tmp_path), "out", "--executor", "ray", "--address", rays.address, **rays.environment
        )
        (cut,) = wait_for(files, 3, process, rays.nodes[1].process.pid)
        rays.nodes[1].kill()
        said, _ = process.communicate(timeout=600)
    assert process.returncode in (0, 3) and f"{CELLS} of {CELLS} cells complete" in said, said
    require_equal(files, local)
    assert beginnings(files, cut) == 2 and sum(beginnings(files, name) for name in names(files)) == CELLS + 1
    for name in names(files):
        assert files.cell(name).output.is_file()
        assert read_json(files.cell(name).environment, "")["facts"]["cores_used"] == 1


@pytest.mark.parametrize("begun_here", [False, True])
def test_a_driver_that_is_killed_midway_costs_nothing(begun_here: bool, local: SweepFiles, tmp_path: Path) -> None:
    files, path = SweepFiles(tmp_path / "out"), written(tmp_path)
    with Rays() as rays:
        if not begun_here:
            rays.add()
            rays.add()
        options = ("--executor", "ray", "--resume", *(() if begun_here else ("--address", rays.address)))
        environment = {} if begun_here else rays.environment
        process = sweeping(tmp_path, path, "out", *options, **environment)
        cut = wait_for(files, 3, process, process.pid if begun_here else rays.nodes[1].process.pid)
        process.kill()
        process.communicate()
        process = sweeping(tmp_path, path, "out", *options, **environment)
        said, _ = process.communicate(timeout=600)
    assert process.returncode in (0, 3) and f"{CELLS} of {CELLS} cells complete" in said, said
    require_equal(files, local)
    assert all(beginnings(files, name) == 2 for name in cut)


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


def test_cells_go_where_the_board_is(rays: Rays, tmp_path: Path) -> None:
    """They wait for the machine with the board, and others are left alone."""
    board = rays.add('--resources={"board": 1}')
    keys = {"name": "ray", "address": "auto", "resources": {"cpus": 1, "board": 1}}
    path = written(tmp_path, {"seed": [0, 1]}, HOPELESS, executor=keys)
    process = sweeping(tmp_path, path, "out", RAY_ADDRESS=rays.address, **rays.environment)
    said, _ = process.communicate(timeout=300)
    board.kill()
    assert process.returncode == 3 and "2 of 2 cells complete" in said, said


def listening(processes: Iterable[int]) -> set[str]:
    """The addresses, as the kernel writes them, at which some processes wait for others."""
    sockets = set[str]()
    for number in processes:
        with contextlib.suppress(OSError):
            sockets |= {os.readlink(path) for path in Path(f"/proc/{number}/fd").iterdir()}
    rows = (line.split() for table in ("tcp", "tcp6") for line in Path(f"/proc/net/{table}").read_text().splitlines())
    return {row[1].partition(":")[0] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in sockets}


def test_a_sweep_begins_a_cluster_that_others_cannot_reach_and_ends_it(tmp_path: Path) -> None:
    path = written(tmp_path, {"seed": [0, 1, 2]}, HOPELESS)
    process = sweeping(tmp_path, path, "out", "--executor", "ray")
    others, reached = set[int](), set[str]()
    while process.poll() is None:
        others |= {*descendants(process.pid)}
        reached |= listening(others)
        time.sleep(0.1)
    said, _ = process.communicate()
    assert process.returncode == 3 and "3 of 3 cells complete" in said, said
    assert len(others) > 2 and reached and reached <= LOOPBACK
    end = time.monotonic() + 30
    while left := [number for number in others if Path(f"/proc/{number}/exe").exists()]:
        assert time.monotonic() < end, left
        time.sleep(0.1)


def test_a_cell_that_kills_its_process_is_begun_again_and_then_given_up(rays: Rays, tmp_path: Path) -> None:
    """And it stops no other."""
    path = written(
        tmp_path, {"seed": [0, 1]}, {**HOPELESS, "data": {"name": "made_up:digits"}},
        executor={"name": "ray", "address": rays.address, "max_failures": 1},
    )  # fmt: skip
    with (tmp_path / "made_up.py").open("a") as module:
        module.write(
            "\n\nimport os, signal\nfrom nas.run.layout import RunFiles\nfrom nas.stages import calibrate\n"
            "whole = calibrate.calibrate\n\n"
            "def deadly(context):\n"
            "    if context.experiment.seed == 1:\n        os.kill(os.getpid(), signal.SIGKILL)\n"
            "    whole(context)\n\ncalibrate.calibrate = deadly\n"
        )
    process = sweeping(tmp_path, path, "out", **rays.environment)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 3 and "1 of 2 cells complete, 0 kept, 1 failed" in said, said
    assert "seed-1: failed; its process died, 2 times (executor.max_failures is 1)" in said
    assert beginnings(SweepFiles(tmp_path / "out"), "seed-1") == 2


def test_an_interrupted_sweep_lets_its_cells_stop(rays: Rays, tmp_path: Path) -> None:
    base = {**MEASURED, "supernet": {"epochs": 10_000}}
    path = written(tmp_path, {"seed": [0]}, base)
    files = SweepFiles(tmp_path / "out")
    process = sweeping(
        tmp_path, path, "out", "--executor", "ray", "--address", rays.address, **rays.environment
    )  # fmt: skip
    end = time.monotonic() + 180
    while not (files.cell("seed-0").log.exists() and '"supernet"' in files.cell("seed-0").log.read_text()):
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 4, said
    assert said.splitlines()[-1] == "nas: interrupted; the same command with --resume goes on from here"
    assert (files.cell("seed-0").root / ".lock").read_text() == "", "it was ended, and did not stop"
