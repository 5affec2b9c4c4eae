"""Evolution, differentiable, joint and random search on one supernet, for equal CPU seconds.

    python benchmarks/joint.py --out FOLDER [--seeds 5] [--cpu-s 60] [--epochs 12] [--networks 30] [--json OUT]

Fashion-MNIST with 10,000 training images, the `mobile` space for 28x28, ONNX Runtime on one thread of this machine, and
one budget of interest, 0.12 ms in the worst case, named before anything was run. For each seed a supernet is trained;
then each method has the same CPU seconds of its own (all threads; supernet, calibration and compilation not counted) to
find networks. Differentiable search spends seven tenths of them on its distribution and the rest on judging what it
proposes, joint search three tenths; evolution is NSGA-II with a population of 16. What a method found is judged anew on
test images, which no method saw, and measured.

    accuracy     of the network that the method would give: the best by validation whose prediction, error included, is
                 within the budget; `measured` its median, as a share of the budget
    hypervolume  of unseen accuracy against measured seconds over the method's front: the share of the area between the
                 least accuracy of all fronts and 1, and between 0 s and the budget, that it dominates
    judged       networks evaluated; `cpu_s` what was spent

Then --networks random networks are trained briefly from scratch, and Kendall's tau between their accuracy and the
supernet's is given with a bootstrap interval over networks, for each seed's supernet; some are trained again, because
no supernet can agree with one training better than another training does. Everything is kept in --out, and
the same command goes on where it was stopped. Accuracies are those of shared weights and not of trained networks.
"""

from __future__ import annotations

from kept_heap import KEPT

# isort: split

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import figures
import numpy as np
from joint_runs import BUDGET_S, agreement, opened, trained, unseen
from numpy.typing import NDArray
from rich.console import Console

from nas.config import parse
from nas.config.kinds import SEARCHER
from nas.devices.local import InProcess
from nas.devices.networks import BLOCKS, BLOCK_S, Untrained, time_networks
from nas.optimisers.differentiable import Differentiable
from nas.optimisers.searches import BudgetSearch, Networks, begin
from nas.process.files import append_jsonl, read_jsonl
from nas.run.context import Context
from nas.run.supernet import shared_weights
from nas.run.trial import Trial
from nas.search.evaluation import Evaluation
from nas.search.evaluators.base import ScoresEveryExit
from nas.search.problem import BudgetProblem, objective_columns, problem_of
from nas.searchers.base import Searcher
from nas.searchers.pareto import pareto_rank
from nas.searchers.seeded import Seeded
from search_spaces.slots import random_genomes

#: The share of the CPU seconds that goes into the distribution before anything is judged.
METHODS = {"random": 0.0, "evolution": 0.0, "differentiable": 0.7, "joint": 0.3}
SEARCHERS: dict[str, Any] = {"evolution": {"name": "nsga2", "population": 16}, "joint": "joint"}
#: Proposals of a differentiable search: more than can be judged where they are all that is judged.
PROPOSALS = {"differentiable": 64, "joint": 8}
FRONT, BATCH, PRACTICE = 8, 8, 20
Floats = NDArray[np.float64]


class Clock:
    """CPU seconds of this process, all threads, since it was made."""

    def __init__(self, limit_s: float) -> None:
        self.begin, self.limit_s = time.process_time(), limit_s

    @property
    def spent_s(self) -> float:
        return time.process_time() - self.begin

    @property
    def over(self) -> bool:
        return self.spent_s >= self.limit_s


def learn(
    method: str, context: Context, problem: BudgetProblem, networks: Networks, step_s: float, cpu_s: float
) -> tuple[NDArray[np.int64], tuple[tuple[float, ...], ...]]:
    """Proposals [n, genes] and probabilities of a differentiable search that takes about `cpu_s`."""
    warm_up = search_of(Differentiable(steps=1), context, problem, networks).steps.steps - 1
    settings = Differentiable(steps=max(1, int(cpu_s / step_s) - warm_up), proposals=PROPOSALS[method])
    search = search_of(settings, context, problem, networks)
    for step in range(search.steps.steps):
        search.step(step)
    result = search.steps.result()
    rows = zip(result.probabilities.tolist(), problem.sizes.tolist(), strict=True)
    return result.proposals, tuple(tuple(row[:size]) for row, size in rows)


def search_of(settings: Differentiable, context: Context, problem: BudgetProblem, networks: Networks) -> BudgetSearch:
    """A search for the only budget, which is about the worst case."""
    return begin(context, problem, 0, settings, networks)


def seconds_per_step(context: Context, problem: BudgetProblem, networks: Networks) -> float:
    """CPU seconds of one step of a differentiable search, compilation not counted."""
    search_of(Differentiable(steps=1, warm_up=1), context, problem, networks).step(0)
    clock = Clock(np.inf)
    search = search_of(Differentiable(steps=PRACTICE, warm_up=1), context, problem, networks)
    for step in range(search.steps.steps):
        search.step(step)
    return clock.spent_s / search.steps.steps


def found_by(
    method: str,
    context: Context,
    problem: BudgetProblem,
    evaluation: Evaluation,
    networks: Networks,
    step_s: float,
    cpu_s: float,
) -> tuple[list[Trial], float]:
    """What a method evaluated within its CPU seconds, and the seconds it took."""
    clock = Clock(cpu_s)
    arguments: dict[str, Any] = {}
    proposals: NDArray[np.int64] | None = None
    if METHODS[method]:
        proposals, prior = learn(method, context, problem, networks, step_s, METHODS[method] * cpu_s)
        # As a run does it (`nas.stages.search`): the model sees other networks beside the proposals.
        arguments = {"prior": prior, "initial": 16 + len(proposals)} if method == "joint" else {}
    part = parse.component(SEARCHERS.get(method, "random"), SEARCHER, "searcher")
    searcher: Searcher = part.load()(problem, **{**part.arguments, **arguments})
    if proposals is not None:
        searcher = Seeded(problem, searcher, proposals)
    objectives = context.experiment.search.objectives
    trials: list[Trial] = []
    while not (clock.over and trials):
        genomes = searcher.ask(BATCH)
        batch = []
        for slot, genome in enumerate(genomes):
            batch.append(evaluation.trial(genome, 0, slot, len(genomes)))
            if clock.over:
                break
        values = [
            objective_columns(objectives, t.metrics, t.budgets) if t.status == "complete" else [np.inf] * 2
            for t in batch
        ]
        told = np.array([t.genome for t in batch])
        searcher.tell(told, np.array(values), np.array([t.violation for t in batch]))
        trials += batch
    return trials, clock.spent_s


def front_of(trials: list[Trial]) -> list[Trial]:
    """The networks of a method's Pareto front of validation accuracy and predicted seconds, evenly thinned."""
    able = [trial for trial in trials if trial.budgets[0] is not None]
    values = np.array([[1 - t.budgets[0].accuracy, t.metrics["worst_case_latency_s"]] for t in able if t.budgets[0]])
    front = [able[i] for i in np.flatnonzero(pareto_rank(values) == 0)]
    front.sort(key=lambda trial: trial.metrics["worst_case_latency_s"])
    keep = np.unique(np.linspace(0, len(front) - 1, min(FRONT, len(front))).round().astype(int))
    return [front[i] for i in keep]


def best_of(trials: list[Trial]) -> Trial:
    """The most accurate network within the budget by validation and prediction, the faster one of equals."""
    able = [trial for trial in trials if trial.budgets[0] is not None]
    return min(able, key=lambda t: (-t.metrics["accuracy"], t.metrics["worst_case_latency_s"]))


def run_seed(args: argparse.Namespace, seed: int, console: Console) -> Iterator[dict[str, Any]]:
    """Rows of the methods of one seed that are not yet known."""
    path = args.out / "methods.jsonl"
    rows = list(read_jsonl(path)) if path.exists() else []
    if any(row["settings"] != [args.cpu_s, args.epochs] for row in rows):
        raise SystemExit(f"{path} has rows of other settings than --cpu-s {args.cpu_s} --epochs {args.epochs}")
    known = {row["method"] for row in rows if row["seed"] == seed}
    if known >= set(METHODS):
        return
    context = opened(args.out, seed, args.epochs)
    problem = problem_of(context)
    networks = Networks.of(context, Differentiable(), shared_weights(context))
    step_s = seconds_per_step(context, problem, networks)
    practice = random_genomes(context.space, 1, np.random.default_rng(seed))[0]
    for method in METHODS:
        if method in known:
            continue
        evaluation = Evaluation(context, problem)
        # Compiled before the clock starts.
        if isinstance(evaluation.evaluator, ScoresEveryExit):
            evaluation.evaluator.every_exit(practice, context.experiment.search.images)
        trials, spent_s = found_by(method, context, problem, evaluation, networks, step_s, args.cpu_s)
        front, best = front_of(trials), best_of(trials)
        chosen = np.array([trial.genome for trial in [*front, best]])
        target = context.experiment.target
        untrained = Untrained(context.space, context.builder(target), seed)
        timed = time_networks(InProcess(target), untrained, list(chosen), "calibration", BLOCKS, BLOCK_S)
        seconds = [measurement.cumulative_s[-1] for measurement in timed]
        accuracy = unseen(context, chosen)
        row = {
            "seed": seed,
            "method": method,
            "settings": [args.cpu_s, args.epochs],
            "judged": len(trials),
            "cpu_s": spent_s,
            "step_s": step_s,
            "accuracy": float(accuracy[-1]),
            "measured_s": seconds[-1],
            "predicted_s": best.metrics["worst_case_latency_s"],
            "front_accuracy": accuracy[:-1].tolist(),
            "front_s": seconds[:-1],
            "genomes": chosen.tolist(),
        }
        append_jsonl(path, [row])
        yield row


def hypervolume(accuracy: list[float], seconds: list[float], least: float) -> float:
    """The share of [least, 1] x [0, budget] that is dominated."""
    total, height = 0.0, least
    points = sorted((s, a) for s, a in zip(seconds, accuracy, strict=True) if s <= BUDGET_S and a > least)
    for s, a in points:
        total += max(a - height, 0.0) * (BUDGET_S - s)
        height = max(height, a)
    return total / ((1 - least) * BUDGET_S)


def error(values: Floats) -> float:
    """Standard error of the mean [n]; NaN for one value."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")


def show(rows: list[dict[str, Any]]) -> None:
    """Print means and standard errors over seeds, and the differences from evolution, seed by seed."""
    least = min(min(row["front_accuracy"]) for row in rows)
    for row in rows:
        row["hypervolume"] = hypervolume(row["front_accuracy"], row["front_s"], least)
    seeds = sorted({row["seed"] for row in rows})
    print(
        f"\n{len(seeds)} seeds, budget {BUDGET_S * 1e3:g} ms, least accuracy {least:.3f}\n{'method':>15} "
        f"{'judged':>7} {'cpu s':>6} {'hypervolume':>17} {'- evolution':>20} {'accuracy %':>15} {'- evolution':>18} "
        f"{'measured':>9} {'over':>5}"
    )
    for method in METHODS:
        own = sorted((row for row in rows if row["method"] == method), key=lambda row: row["seed"])
        base = [r for r in rows if r["method"] == "evolution" and r["seed"] in {row["seed"] for row in own}]
        base.sort(key=lambda row: row["seed"])
        cells = []
        for name, scale, digits in (("hypervolume", 1, 4), ("accuracy", 100, 2)):
            values = scale * np.array([row[name] for row in own])
            apart = values - scale * np.array([row[name] for row in base])
            cells += [f"{values.mean():.{digits}f} ±{error(values):.{digits}f}"]
            cells += [f"{apart.mean():+.{digits}f} ±{error(apart):.{digits}f}"]
        share = np.array([row["measured_s"] for row in own]) / BUDGET_S
        print(
            f"{method:>15} {np.mean([r['judged'] for r in own]):>7.0f} {np.mean([r['cpu_s'] for r in own]):>6.0f} "
            f"{cells[0]:>17} {cells[1]:>20} {cells[2]:>15} {cells[3]:>18} {share.mean():>9.3f} {(share > 1).sum():>5}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cpu-s", type=float, default=60.0)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--networks", type=int, default=30)
    parser.add_argument("--again", type=int, default=30, help="networks that are trained a second time")
    parser.add_argument("--scratch-epochs", type=int, default=3)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    console = Console(stderr=True)
    for seed in range(args.seeds):
        for row in run_seed(args, seed, console):
            console.print({key: row[key] for key in ("seed", "method", "judged", "cpu_s", "accuracy", "measured_s")})
    rows = list(read_jsonl(args.out / "methods.jsonl"))
    show(rows)
    record: dict[str, Any] = {"heap_kept": KEPT, "rows": rows}
    if args.networks:
        networks = trained(args.out, args.networks, args.again, args.scratch_epochs, args.epochs)
        record["agreement"] = agreement(args.out, args.seeds, args.epochs, networks)
    if args.json:
        figures.write(args.json, record)


if __name__ == "__main__":
    main()
