"""How much faster several workers judge networks than one: in one run, with the same and with more threads.

    python benchmarks/workers.py [--workers 2] [--repeats 7] [--batch 32] [--ray] [--json OUT]

Networks of the quickstart's space are judged with shared weights, each on all validation images and after measuring its
batch-norm statistics, as a search does it; nothing is measured. One worker with one thread is the baseline; beside it
stand one worker with as many threads as there are workers, and so many workers with one thread, which use the same
cores. All are there at the same time and take turns, batch by batch, each with the same networks, none of which was
judged before. `begin_s` is what the first batch takes beyond the later ones: starting, opening the run and compiling,
or reading what was compiled. Seconds are those of the clock, which others on the machine prolong; the processor time of
a network, of all threads, says how much of it is waiting for each other, also on a machine that is not quiet. `equal`
says whether the trials are those of the baseline, byte for byte, which holds for the same number of threads.
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
from workers_task import Timed

from nas.config import parse
from nas.process.events import Voice
from nas.process.files import to_line
from nas.run.context import Context
from nas.run.folder import RunFolder
from nas.run.opening import materials, open_context
from nas.search.evaluation import Asked, Evaluation
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


#: An executor's name, its workers, and the threads of each.
Key = tuple[str, int, int]


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
    processor_s_median: float
    equal: bool


@dataclass(frozen=True)
class Batch:
    """One batch as an executor carried it out: seconds, processor seconds of each network, trials as a log has them."""

    seconds: float
    processor_s: list[float]
    trials: list[str]


def carried_out(executor: Executor, judge: Timed, items: list[Asked]) -> Batch:
    """Have a batch judged."""
    begin = time.perf_counter()
    answers: list[Any] = list(executor.map(judge, items))
    seconds = time.perf_counter() - begin
    return Batch(seconds, [spent for _, spent in answers], [to_line(asdict(trial)) for trial, _ in answers])


def compared(context: Context, executors: dict[Key, Executor], repeats: int, batch: int) -> list[Row]:
    """The executors in turn, on the same batches; the first one is the baseline."""
    judge = Timed(Evaluation(context, problem_of(context)))
    genomes = random_genomes(context.space, (repeats + 1) * batch, np.random.default_rng(0))
    done: dict[Key, list[Batch]] = {key: [] for key in executors}
    for number in range(repeats + 1):
        rows = genomes[number * batch : (number + 1) * batch].tolist()
        items = [Asked(tuple(row), number, slot, batch) for slot, row in enumerate(rows)]
        # Whoever is first in one turn is last in the next.
        keys = list(executors)
        for key in keys[number % len(keys) :] + keys[: number % len(keys)]:
            done[key].append(carried_out(executors[key], judge, items))
    baseline = next(iter(executors))
    return [_row(key, done[key], done[baseline]) for key in executors]


def _row(key: Key, done: list[Batch], baseline: list[Batch]) -> Row:
    rates = [len(each.trials) / each.seconds for each in done[1:]]
    first = statistics.median(len(each.trials) / each.seconds for each in baseline[1:])
    return Row(
        *key,
        begin_s=done[0].seconds - statistics.median(each.seconds for each in done[1:]),
        networks_per_s_min=min(rates),
        networks_per_s_median=statistics.median(rates),
        networks_per_s_max=max(rates),
        times_as_fast=statistics.median(rates) / first,
        processor_s_median=statistics.median(spent for each in done[1:] for spent in each.processor_s),
        equal=[each.trials for each in done] == [each.trials for each in baseline],
    )


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
        executors: dict[Key, Executor] = {
            ("serial", 1, 1): Serial(threads_per_worker=1),
            ("serial", 1, many): Serial(threads_per_worker=many),
            ("processes", many, 1): Processes(workers=many, threads_per_worker=1),
        }
        if args.ray:
            executors["ray", many, 1] = Ray(workers=many, threads_per_worker=1)
        for executor in executors.values():
            stack.callback(executor.close)
        rows = compared(context, executors, args.repeats, args.batch)
    print(
        f"{'executor':>10} {'workers':>8} {'threads':>8} {'begin':>7} {'networks/s':>22} {'times':>6} "
        f"{'processor':>10} {'equal':>6}"
    )
    for row in rows:
        spread = f"{row.networks_per_s_median:.1f} ({row.networks_per_s_min:.1f} to {row.networks_per_s_max:.1f})"
        print(
            f"{row.executor:>10} {row.workers:>8} {row.threads:>8} {row.begin_s:>5.1f} s {spread:>22} "
            f"{row.times_as_fast:>6.2f} {1e3 * row.processor_s_median:>7.1f} ms {row.equal!s:>6}"
        )
    if args.json:
        figures.write(args.json, {"batch": args.batch, "repeats": args.repeats, "rows": list(map(asdict, rows))})


if __name__ == "__main__":
    main()
