"""What an executor of sweeps costs: milliseconds of overhead per cell, and how far two workers take half the time.

    python benchmarks/sweep.py --repeats 3 --json sweep.json

Overhead: `--cells` trivial cells, which end at once because nothing fits them, one at a time on all cores. It is the
time from the end of the first cell to the end of the last one, per cell, less what stands between the first and the
last event in the cells' own logs. Cells of `local` follow each other in one process, those of `ray` on a cluster that
the command begins; `multiprocessing` maps the same function over the same cells with a pool of one process and nothing
else; with `--workers 1` each cell is a process, which starts Python and imports JAX (`--processes` cells).

Scaling: `--real` cells that train without measuring (a Raspberry Pi that is predicted), one worker of one thread on one
core, then two on two: the seconds of the first over twice those of the second, from the first cell's beginning to the
last one's end. Beside it what one process takes that has both cores. Repetitions are interleaved; the spread is
printed. Exits 1 where `ray` or `local` stays below 0.85.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import figures

from nas.config.plugins import NO_PLUGINS
from nas.process.facts import cores_used
from nas.sweep import folder
from nas.sweep.cells import cells_of
from nas.sweep.in_process import InThisProcess
from nas.sweep.layout import SweepFiles
from nas.sweep.sharing import planned
from nas.sweep.sweep_file import load
from nas.sweep.workers import Task

ROOT = Path(__file__).parents[1]
#: Two workers have to be this share of twice as fast as one.
GOAL = 0.85
STAGE = {"widths": [16, 24], "depths": [1, 2], "stride": 2, "options": {"kernel": [3], "expansion": [2], "se": [False]}}
REAL: dict[str, Any] = {
    "name": "real",
    "data": {"name": "digits"},
    "space": {"name": "mobile", "max_exits": 1, "stages": [STAGE, {**STAGE, "stride": 1}]},
    "target": {"device": "rpi4b", "runner": "onnxruntime", "threads": 1},
    "budgets": [{"latency": "100 ms"}],
    "supernet": {"epochs": 20, "random_subnets": 1},
    "search": {"evaluations": 40, "batch": 10, "images": 300, "calibration_images": 128},
    "winners": {"epochs": 10, "candidates": 2, "attempts": 1},
    "verify": {"parity_samples": 32, "tvm": False},
}
TRIVIAL: dict[str, Any] = {
    **REAL,
    "name": "trivial",
    "space": {"name": "toy", "width": 4},
    "budgets": [{"latency": "1 ns"}],
    "calibration": {"networks": 0},
}


@dataclass(frozen=True)
class Taken:
    """What a sweep took: from its first cell's beginning to its last one's end, and per cell beside the cells' own."""

    whole_s: float
    overhead_s: float


def by_command(options: Sequence[str], cores: int, path: Path) -> Taken:
    """What `nas sweep` takes with some options and so many cores."""
    out = path.parent / "out"
    command = [sys.executable, "-P", "-m", "nas", "sweep", str(path), "--out", str(out), *options]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)},
        preexec_fn=partial(os.sched_setaffinity, 0, cores_used()[:cores]),
    )  # fmt: skip
    if done.returncode not in (0, 3):
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    files = SweepFiles(out)
    log = events(files.log)
    begun = min(event["time"] for event in log if event["event"] == "begin")
    return taken(files, begun, [event["time"] for event in log if event["event"] == "end"])


def by_pool(workers: int, each: int, path: Path) -> Taken:
    """What a pool of processes takes that runs the same cells, each process on so many cores."""
    files = SweepFiles(path.parent / "out")
    cells = planned(cells_of(load(path)))
    folder.write(files, "sweep", cells)
    for cell in cells:
        folder.begin(files, cell, None)
    context = multiprocessing.get_context("spawn")
    cores = context.Queue()
    for number in range(workers):
        cores.put(cores_used()[number * each : (number + 1) * each])
    with context.Pool(workers, _take, (cores,)) as pool:
        begun = time.time()
        tasks = [Task(cell.name, files.cell(cell.name)) for cell in cells]
        ends = list(pool.imap_unordered(_run, tasks, chunksize=1))
    return taken(files, begun, ends)


def _take(cores: Any) -> None:
    os.sched_setaffinity(0, cores.get())


def _run(task: Task) -> float:
    """Run a cell; returns the time of day at its end."""
    workers = InThisProcess(NO_PLUGINS)
    workers.begin(task)
    (ended,) = workers.ended(0)
    if ended.cause:
        raise RuntimeError(ended.cause)
    return time.time()


def taken(files: SweepFiles, begun: float, ends: Sequence[float]) -> Taken:
    """What a sweep took that has ended."""
    own = []
    for path in files.cell("x").root.parent.iterdir():
        times = [event["time"] for event in events(files.cell(path.name).log)]
        own.append(times[-1] - times[0])
    per_cell = (max(ends) - min(ends)) / (len(ends) - 1)
    return Taken(max(ends) - begun, per_cell - statistics.fmean(own))


def events(log: Path) -> list[dict[str, Any]]:
    """The lines of a log."""
    return [json.loads(line) for line in log.read_text().splitlines()]


@dataclass(frozen=True)
class Way:
    """Cells that are carried out in some way: how many, with how many cores for each on a cluster, and how."""

    base: dict[str, Any]
    cells: int
    cpus: int
    take: Callable[[Path], Taken]

    def taken(self) -> Taken:
        """Carry them out, in a new folder."""
        with tempfile.TemporaryDirectory() as place:
            Path(place, "base.yaml").write_text(json.dumps(self.base))
            path = Path(place, "sweep.yaml")
            sweep = {"experiment": "base.yaml", "axes": {"seed": list(range(self.cells))}}
            path.write_text(json.dumps({**sweep, "executor": {"resources": {"cpus": self.cpus}}}))
            return self.take(path)


def repeated(ways: dict[str, Way], repeats: int) -> dict[str, list[Taken]]:
    """What each way takes, by name, so often; interleaved."""
    found: dict[str, list[Taken]] = {name: [] for name in ways}
    for number in range(repeats):
        for name, way in ways.items():
            last = way.taken()
            found[name].append(last)
            print(f"{number + 1}: {name:28}{way.cells:4} cells{last.whole_s:8.2f} s", flush=True)
    return found


def main() -> int:
    """Measure, print the table, write the JSON; 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=200, help="trivial cells")
    parser.add_argument("--processes", type=int, default=10, help="of them where each is a process")
    parser.add_argument("--real", type=int, default=6, help="cells that train")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    arguments = parser.parse_args()
    every = len(cores_used())
    if every < 2:
        parser.error("two workers need two cores")
    trivial, real = partial(Way, TRIVIAL, arguments.cells, every), partial(Way, REAL, arguments.real, 1)
    ray = ("--executor", "ray")
    each = Way(TRIVIAL, arguments.processes, every, partial(by_command, ("--workers", "1"), every))
    ways = {
        "multiprocessing": trivial(partial(by_pool, 1, every)),
        "local": trivial(partial(by_command, (), every)),
        "local, a process each": each,
        "ray": trivial(partial(by_command, ray, every)),
    }
    scaled = {"one process, all cores": real(partial(by_command, (), every))}
    for workers in (1, 2):
        scaled[f"multiprocessing {workers}"] = real(partial(by_pool, workers, 1))
        scaled[f"local {workers}"] = real(partial(by_command, ("--workers", str(workers)), workers))
        scaled[f"ray {workers}"] = real(partial(by_command, ray, workers))
    overheads = repeated(ways, arguments.repeats)
    seconds = repeated(scaled, arguments.repeats)
    rows = [row(name, way.cells, overheads[name], seconds) for name, way in ways.items()]
    alone = [taken.whole_s for taken in seconds["one process, all cores"]]
    print(f"{'executor':24}{'ms per cell':>14}{'least':>8}{'most':>8}{'scaling':>10}{'1 worker':>10}{'2 workers':>10}")
    for found in rows:
        low, high = found["overhead_ms_ends"]
        line = f"{found['executor']:24}{found['overhead_ms']:14.1f}{low:8.1f}{high:8.1f}"
        if found["scaling"] is not None:
            one, two = (statistics.median(found[key]) for key in ("one_worker_s", "two_workers_s"))
            line += f"{found['scaling']:10.2f}{one:8.1f} s{two:8.1f} s"
        print(line)
    print(f"{arguments.real} real cells in one process with {every} cores: {statistics.median(alone):.1f} s")
    if arguments.json:
        figures.write(arguments.json, {"rows": rows, "real_cells": arguments.real, "one_process_s": alone})
    return 0 if all(found["scaling"] >= GOAL for found in rows if found["executor"] in ("local", "ray")) else 1


def row(name: str, cells: int, overheads: Sequence[Taken], seconds: dict[str, list[Taken]]) -> dict[str, Any]:
    """An executor's figures: medians, and all that they are of."""
    overhead = sorted(1e3 * each.overhead_s for each in overheads)
    one, two = ([each.whole_s for each in seconds.get(f"{name} {workers}", [])] for workers in (1, 2))
    return {
        "executor": name,
        "cells": cells,
        "overhead_ms": statistics.median(overhead),
        "overhead_ms_ends": [overhead[0], overhead[-1]],
        "scaling": statistics.median(one) / (2 * statistics.median(two)) if one else None,
        "one_worker_s": one,
        "two_workers_s": two,
    }


if __name__ == "__main__":
    sys.exit(main())
