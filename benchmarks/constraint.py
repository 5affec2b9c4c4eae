"""Do networks that were chosen for a latency budget on a new device keep it, and what accuracy does that cost?

    python benchmarks/constraint.py --latency T.npz --accuracy A.npz --sources A,B,C [--targets D,E] [--samples 10]
        [--extra 10] [--noise 0.0,0.01,0.03,0.05] [--unknown-noise] [--pool 900] [--seeds 3] [--json OUT]

`T` is a latency table (`latency_models/table.py`), `A` has `test_acc` [n] or [n, data sets] in points; with several
data sets each makes its own tasks. The accuracies are a deterministic oracle: choosing by them is easier than by a
prediction. A task is a device, a budget and a data set: every device that is no source (or those of --targets), and
budgets at the 10, 20, .. 90 % quantiles of its latencies and at 0.5, 0.9 and 1.0 times its fastest network. The prior
sees the sources' rows of the pool only, and --samples random networks of the pool are read on the device.

    open_loop         the most accurate network whose predicted latency is within the budget
    margin_1, _2      the same with one or two standard deviations added to the prediction
    closed_loop       `nas.search.budget_loop`: up to --extra further readings, one at a time

Readings are the table's value times log-normal noise, and every answer is judged by the table's value. The loop is told
the noise, as a measuring tool tells its spread; with --unknown-noise it has to find out.

Columns: broken answers; nothing-fits answers among the tasks where nothing fits (recall) and where something does
(false); the worst latency of an answer over its budget; regret in points against the best network that fits, over the
tasks where one exists and the answer is a network that keeps the budget; readings on the device, the samples included.
An answer without a network where one fits ("undecided", or a false "nothing fits") has no accuracy and is reported
apart: `empty` counts them, and the last regret has them at the whole gap between the best network that fits and the
least accurate of the table. Compare regrets only beside `broken` and `empty`: whoever answers less is asked less.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import NormalDist

import figures
import numpy as np
from budget_simulation import Conditions, Taken, noise_of, search

from latency_models.few_shot import LatencyPosterior, learn
from latency_models.table import load_table
from nas.search.budget_loop import Floats, Indices

QUANTILES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
OF_THE_FASTEST = (0.5, 0.9, 1.0)
MARGINS = {"open_loop": 0.0, "margin_1": 1.0, "margin_2": 2.0}

Adapt = Callable[[Indices, Floats, float], LatencyPosterior]


@dataclass(frozen=True)
class Device:
    """A device's true seconds [n] and the accuracies [n, data sets] of the same networks, and what to believe of it."""

    name: str
    seconds: Floats
    accuracies: Floats
    adapt: Adapt


@dataclass(frozen=True)
class Task:
    """A device's true seconds and a data set's accuracies of the same n networks, and a budget."""

    device: str
    seconds: Floats
    accuracy: Floats
    limit_s: float


@dataclass(frozen=True)
class Answer:
    """What a method said for a task, and the readings that it took."""

    task: Task
    index: int | None
    nothing_fits: bool
    readings: int


def budgets(seconds: Floats) -> list[float]:
    """The budgets of a device, in seconds."""
    return [*np.quantile(seconds, QUANTILES).tolist(), *(share * float(seconds.min()) for share in OF_THE_FASTEST)]


def answers(device: Device, pool: int, args: argparse.Namespace, noise: float) -> Iterator[tuple[str, Answer]]:
    """Each method's answer to every task of a device."""
    conditions = Conditions(measurements=args.extra, noise=None if args.unknown_noise else noise)
    for seed in range(args.seeds):
        rng = np.random.default_rng([seed, 0])
        measured: Indices = rng.choice(pool, min(args.samples, pool), replace=False)
        taken = Taken(measured, device.seconds[measured] * np.exp(noise * rng.standard_normal(len(measured))))
        belief = device.adapt(measured, taken.seconds, noise_of(measured, taken.seconds, conditions.noise))
        for accuracy in device.accuracies.T:
            for limit_s in budgets(device.seconds):
                task = Task(device.name, device.seconds, accuracy, limit_s)
                for method, sigmas in MARGINS.items():
                    yield method, predicted(task, belief, sigmas, len(measured))
                clock = partial(reading, device.seconds, noise, np.random.default_rng([seed, 1]))
                yield "closed_loop", looped(task, device.adapt, belief, clock, taken, conditions)


def reading(seconds: Floats, noise: float, rng: np.random.Generator, index: int) -> float:
    """One reading of a network, in seconds."""
    return float(seconds[index] * np.exp(noise * rng.standard_normal()))


def predicted(task: Task, belief: LatencyPosterior, sigmas: float, readings: int) -> Answer:
    """The most accurate network predicted to keep the budget with so many standard deviations to spare."""
    sure = NormalDist().cdf(sigmas)
    able = np.flatnonzero(belief.mean_s <= task.limit_s if sigmas == 0 else belief.quantile_s(sure) <= task.limit_s)
    index = int(able[np.argmax(task.accuracy[able])]) if len(able) else None
    return Answer(task, index, index is None, readings)


def looped(
    task: Task,
    adapt: Adapt,
    belief: LatencyPosterior,
    measure: Callable[[int], float],
    taken: Taken,
    conditions: Conditions,
) -> Answer:
    """The closed loop's answer; `belief` is that of the first readings, which all budgets share."""

    def adapt_again(index: Indices, seconds: Floats, noise: float) -> LatencyPosterior:
        return belief if len(index) == len(taken.measured) else adapt(index, seconds, noise)

    found = search(task.accuracy, task.limit_s, adapt_again, measure, taken, conditions)
    return Answer(task, found.index, found.found == "nothing fits", len(found.taken.measured))


def row(method: str, noise: float, given: list[Answer]) -> dict[str, object]:
    """The figures of a method at one noise; None where there is nothing to take them over."""
    impossible = [answer for answer in given if answer.task.seconds.min() > answer.task.limit_s]
    possible = [answer for answer in given if answer.task.seconds.min() <= answer.task.limit_s]
    excess = [float(a.task.seconds[a.index] / a.task.limit_s) for a in given if a.index is not None]
    returned = [regret(a) for a in possible if a.index is not None and a.task.seconds[a.index] <= a.task.limit_s]
    empty = [regret(a) for a in possible if a.index is None]
    every = returned + empty
    return {
        "method": method,
        "noise": noise,
        "tasks": len(given),
        "violations": sum(ratio > 1 for ratio in excess),
        "nothing_fits_recall": float(np.mean([a.nothing_fits for a in impossible])) if impossible else None,
        "nothing_fits_false": sum(a.nothing_fits for a in possible),
        "worst_excess": max(excess, default=None),
        "regret_mean": float(np.mean(returned)) if returned else None,
        "regret_p95": float(np.quantile(returned, 0.95)) if returned else None,
        "measurements_mean": float(np.mean([a.readings for a in given])),
        "undecided": sum(a.index is None and not a.nothing_fits for a in given),
        "empty": len(empty),
        "regret_with_empty_mean": float(np.mean(every)) if every else None,
    }


def show(rows: list[dict[str, object]]) -> None:
    """Print the rows as a table."""
    columns = {
        "method": "method",
        "noise": "noise",
        "tasks": "tasks",
        "violations": "broken",
        "nothing_fits_recall": "recall",
        "nothing_fits_false": "false",
        "worst_excess": "worst",
        "regret_mean": "regret",
        "regret_p95": "p95",
        "measurements_mean": "readings",
        "undecided": "undecided",
        "empty": "empty",
        "regret_with_empty_mean": "regret*",
    }
    print(" ".join(f"{title:>10}" for title in columns.values()))
    for found in rows:
        values = [found[name] for name in columns]
        print(" ".join(f"{v:>10.3f}" if isinstance(v, float) else f"{v if v is not None else '-':>10}" for v in values))


def regret(answer: Answer) -> float:
    """Points below the most accurate network that fits; without a network, down to the least accurate of all."""
    accuracy = answer.task.accuracy
    best = float(accuracy[answer.task.seconds <= answer.task.limit_s].max())
    return best - float(accuracy.min() if answer.index is None else accuracy[answer.index])


def accuracies_of(path: Path, n: int) -> Floats:
    """The accuracies [n, data sets] of a file; raises ValueError where they are not those of n networks."""
    with np.load(path, allow_pickle=False) as stored:
        if "test_acc" not in stored.files:
            raise ValueError(f"{path} has no array 'test_acc', only {', '.join(stored.files)}")
        found = np.asarray(stored["test_acc"], np.float64)
    found = found[:, None] if found.ndim == 1 else found
    if found.ndim != 2 or len(found) != n:
        raise ValueError(f"{path}: test_acc has shape {found.shape}; the latency table has {n} networks")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latency", type=Path, required=True)
    parser.add_argument("--accuracy", type=Path, required=True)
    parser.add_argument("--sources", required=True, help="names of devices, with commas")
    parser.add_argument("--targets", default="", help="names of devices; every device that is no source without it")
    parser.add_argument("--samples", type=int, default=10)
    parser.add_argument("--extra", type=int, default=10)
    parser.add_argument("--noise", default="0.0,0.01,0.03,0.05")
    parser.add_argument("--unknown-noise", action="store_true")
    parser.add_argument("--pool", type=int, default=900)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    sources = tuple(name.strip() for name in args.sources.split(","))
    try:
        table = load_table(args.latency)
        accuracies = accuracies_of(args.accuracy, len(table))
        targets = [name.strip() for name in args.targets.split(",")] if args.targets else list(table.devices)
        if both := sorted(set(sources) & set(targets)) if args.targets else []:
            parser.error(f"{', '.join(both)}: both a source and a target; a target's latencies must not be known")
        targets = [name for name in targets if name not in sources]
        prior = learn(table.ops[: args.pool], table.columns(sources)[: args.pool])
        table.columns(targets)
    except ValueError as problem:
        parser.error(str(problem))
    levels = [float(level) for level in args.noise.split(",")]
    given: dict[tuple[str, float], list[Answer]] = {}
    start = time.perf_counter()
    for device in targets:
        seconds = table.column(device)
        rows = np.flatnonzero(np.isfinite(seconds) & np.isfinite(accuracies).all(axis=1))
        adapt = partial(prior.adapt, prior.candidates(table.ops[rows]))
        for noise in levels:
            pool = int(np.searchsorted(rows, args.pool))
            if pool < args.samples:
                print(f"{device}: only {pool} networks of the pool were measured, {args.samples} are asked for")
                break
            for method, answer in answers(Device(device, seconds[rows], accuracies[rows], adapt), pool, args, noise):
                given.setdefault((method, noise), []).append(answer)
    print(f"{len(targets)} devices, {args.seeds} seeds, {time.perf_counter() - start:.0f} s")
    found = [row(method, noise, answers) for (method, noise), answers in given.items()]
    show(found)
    if args.json:
        figures.write(args.json, {"rows": found})


if __name__ == "__main__":
    main()
