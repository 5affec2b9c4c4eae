"""How much faster several workers judge networks than one: in one run, with the same and with more threads.

    python benchmarks/workers.py [--workers 2] [--repeats 7] [--batch 32] [--ray] [--json OUT]

Networks of the quickstart's space are judged with shared weights, each on all validation images and after measuring its
batch-norm statistics, as a search does it; nothing is measured. One worker with one thread is the baseline; beside it
stand one worker with as many threads as there are workers, and so many workers with one thread, which use the same
cores. All are there at the same time and take turns, batch by batch, each with the same networks, none of which was
judged before. `begin_s` is what the first batch takes beyond the later ones: starting, opening the run and compiling,
or reading what was compiled. `equal` says whether the trials are those of the baseline, byte for byte, which holds for
the same number of threads.
"""

from __future__ import annotations

import argparse
import statistics
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import figures
import numpy as np

from nas.config import parse
from nas.process.events import Voice
from nas.process.files import to_line
from nas.run.context import Context
from nas.run.folder import RunFolder
from nas.run.opening import materials, open_context
from nas.search.evaluation import Asked, Evaluation, Judge
from nas.search.executors import Executor, Serial
from nas.search.executors.processes import Processes
from nas.search.executors.ray_actors import Ray
from nas.search.problem import problem_of
from nas.stages import calibrate, supernet
from search_spaces.slots import random_genomes

EXPERIMENT: dict[str, Any] = {
    "name": "workers",
    "data": "digits",
    "space": {"name": "mobile", "table": "8x8"},
    "target": {"device": "rpi4b", "runner": "onnxruntime"},
    "budgets": [{"latency": "10 s", "of": "expected"}],
    "calibration": {"networks": 0},
    "supernet": {"epochs": 1},
}


@dataclass(frozen=True)
class Row:
    """One executor: how long its first batch took beyond the others, and networks per second of these."""

    executor: str
    workers: int
    threads: int
    begin_s: float
    networks_per_s_min: float
    networks_per_s_median: float
    networks_per_s_max: float
    times_as_fast: float
    equal: bool


def taken(executor: Executor, judge: Judge, items: list[Asked]) -> tuple[float, list[str]]:
    """Seconds that a batch takes, and its trials as a log has them."""
    begin = time.perf_counter()
    trials: list[Any] = list(executor.map(judge, items))
    return time.perf_counter() - begin, [to_line(asdict(trial)) for trial in trials]


def compared(context: Context, executors: dict[tuple[str, int, int], Executor], repeats: int, batch: int) -> list[Row]:
    """The executors in turn, on the same batches; the first one is the baseline."""
    judge = Judge(Evaluation(context, problem_of(context)))
    genomes = random_genomes(context.space, (repeats + 1) * batch, np.random.default_rng(0))
    seconds: dict[tuple[str, int, int], list[float]] = {key: [] for key in executors}
    trials: dict[tuple[str, int, int], list[str]] = {key: [] for key in executors}
    for number in range(repeats + 1):
        rows = genomes[number * batch : (number + 1) * batch].tolist()
        items = [Asked(tuple(row), number, slot, batch) for slot, row in enumerate(rows)]
        # Whoever is first in one turn is last in the next.
        keys = list(executors)
        for key in keys[number % len(keys) :] + keys[: number % len(keys)]:
            took, found = taken(executors[key], judge, items)
            seconds[key].append(took)
            trials[key] += found
    baseline = next(iter(executors))
    median = {key: statistics.median(batch / took for took in each[1:]) for key, each in seconds.items()}
    return [
        Row(
            *key,
            begin_s=seconds[key][0] - statistics.median(seconds[key][1:]),
            networks_per_s_min=batch / max(seconds[key][1:]),
            networks_per_s_median=median[key],
            networks_per_s_max=batch / min(seconds[key][1:]),
            times_as_fast=median[key] / median[baseline],
            equal=trials[key] == trials[baseline],
        )
        for key in executors
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--ray", action="store_true", help="actors of a Ray cluster of this machine too")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    many = args.workers
    with TemporaryDirectory() as place, ExitStack() as stack:
        experiment = parse.experiment(EXPERIMENT)
        folder = stack.enter_context(RunFolder.open(Path(place) / "run", resume=False))
        context = open_context(experiment, materials(experiment), folder, Voice())
        calibrate.calibrate(context)
        supernet.train_supernet(context)
        executors: dict[tuple[str, int, int], Executor] = {
            ("serial", 1, 1): Serial(threads_per_worker=1),
            ("serial", 1, many): Serial(threads_per_worker=many),
            ("processes", many, 1): Processes(workers=many, threads_per_worker=1),
        }
        if args.ray:
            executors["ray", many, 1] = Ray(workers=many, threads_per_worker=1)
        for executor in executors.values():
            stack.callback(executor.close)
        rows = compared(context, executors, args.repeats, args.batch)
    print(f"{'executor':>10} {'workers':>8} {'threads':>8} {'begin':>7} {'networks/s':>22} {'times':>6} {'equal':>6}")
    for row in rows:
        spread = f"{row.networks_per_s_median:.1f} ({row.networks_per_s_min:.1f} to {row.networks_per_s_max:.1f})"
        print(
            f"{row.executor:>10} {row.workers:>8} {row.threads:>8} {row.begin_s:>5.1f} s {spread:>22} "
            f"{row.times_as_fast:>6.2f} {row.equal!s:>6}"
        )
    if args.json:
        figures.write(args.json, {"batch": args.batch, "repeats": args.repeats, "rows": list(map(asdict, rows))})


if __name__ == "__main__":
    main()
