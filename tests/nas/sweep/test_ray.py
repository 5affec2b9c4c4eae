"""Sweeps on Ray clusters of this machine: nothing is lost when nodes and drivers are killed.

Readings follow from genomes, so that cells that are run again, elsewhere or by another executor find the same.
"""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nas.process.facts import cores_used
from nas.process.files import read_json, read_jsonl
from nas.process.lock import holder
from nas.sweep import results
from nas.sweep.layout import SweepFiles
from nas.sweep.state import Watcher
from tests.nas.sweep.ray_clusters import MEASURED, Rays, cluster, descendants, sweeping, written
from tests.nas.sweep.small_sweeps import HOPELESS

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
CELLS = 12


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
    process = sweeping(place, written(place, AXES), "out", "--workers", str(len(cores_used())))
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
            tmp_path, written(tmp_path, AXES), "out", "--executor", "ray", "--address", rays.address, **rays.environment
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
    files, path = SweepFiles(tmp_path / "out"), written(tmp_path, AXES)
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
    # Ray may have noticed after the end of a cell that its driver was gone.
    assert {beginnings(files, name) for name in cut} <= {1, 2}


@pytest.fixture(scope="module")
def rays() -> Iterator[Rays]:
    """A cluster of one node."""
    with cluster(1) as made:
        yield made


def test_cells_go_where_the_board_is(rays: Rays, tmp_path: Path) -> None:
    """They wait for the machine with the board, and others are left alone."""
    board = rays.add('--resources={"board": 1}')
    keys = {"name": "ray", "address": "auto", "resources": {"cpus": 1, "board": 1}}
    path = written(tmp_path, {"seed": [0, 1]}, HOPELESS, executor=keys)
    process = sweeping(tmp_path, path, "out", RAY_ADDRESS=rays.address, **rays.environment)
    said, _ = process.communicate(timeout=300)
    board.kill()
    assert process.returncode == 3 and "2 of 2 cells complete" in said, said


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
    base = {**MEASURED, "supernet": {"epochs": 1000}}
    path = written(tmp_path, {"seed": [0]}, base)
    files = SweepFiles(tmp_path / "out")
    process = sweeping(
        tmp_path, path, "out", "--executor", "ray", "--address", rays.address, **rays.environment
    )  # fmt: skip
    end = time.monotonic() + 180
    # While programs are compiled a run comes to no safe place, and is left where it is.
    while not files.cell("seed-0").supernet.exists():
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 4, said
    assert said.splitlines()[-1] == "nas: interrupted; the same command with --resume goes on from here"
    assert (files.cell("seed-0").root / ".lock").read_text() == "", "it was ended, and did not stop"


def test_cells_that_are_behind_stop_themselves_there_too(rays: Rays, tmp_path: Path) -> None:
    """By the file that all of them append to; who goes on with the sweep leaves them alone."""
    pytest.importorskip("optuna")
    rates, scheduler = [0.1, 0.0001, 0.0002], {"name": "asha", "min_epochs": 1}
    path, files = (
        written(tmp_path, {"supernet.learning_rate": rates}, scheduler=scheduler),
        SweepFiles(tmp_path / "out"),
    )
    for options in ((), ("--resume",)):
        process = sweeping(
            tmp_path, path, "out", "--executor", "ray", "--address", rays.address, *options, **rays.environment
        )  # fmt: skip
        said, _ = process.communicate(timeout=600)
        assert process.returncode == 0 and "complete, " in said, said
    told = {row["cell"]: row["value"] for row in read_jsonl(files.rungs)}
    stopped = [cell.cell.name for cell in Watcher(files).look().cells if cell.state == "stopped"]
    assert len(told) == 3 and stopped and told["learning_rate-0.1"] > max(map(told.__getitem__, stopped))
    assert [beginnings(files, name) for name in names(files)] == [1, 1, 1]
    assert f"{3 - len(stopped)} of 3 cells complete, {3 - len(stopped)} kept, {len(stopped)} stopped" in said
