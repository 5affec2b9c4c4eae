"""Gradients, regression on losses, evolution, and both jointly, on one supernet whose networks' accuracies are known.

    python benchmarks/search_control.py --data FOLDER --accuracy T.npz --json OUT [--latency L.npz --seeds 5 --cpu-s 10]

Space, data and shared weights are those of `supernet_rank.py`, which trains and keeps them beside its own JSON in the
same folder; a seed is a supernet. A task is a budget, a quantile of the latencies of one of HELP's six test devices, or
none. Every method has the same CPU seconds per task, compilation not counted; what it learns and what it judges with
shared weights are paid from them. `differentiable` and `loss_regression` learn for 0.7 of the time and judge what they
propose; `joint` learns from gradients for 0.3 of it and then searches by evolution with a predictor from there;
`evolution` judges from the beginning. Each ends with the network that it judged best within the budget. Regret is the
table's best accuracy within the budget less that of this network, in points.

Rows are kept as they come, and the same command goes on after a kill.
"""

from __future__ import annotations

from kept_heap import KEPT

# isort: split

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import figures
import numpy as np
from numpy.typing import NDArray
from supernet_rank_runs import Control, Settings

from latency_models.table import HELP_TEST, load_table, nb201
from nas.config.registry import load
from nas.nn.batches import TrainingSet
from nas.optimisers import OPTIMISERS
from nas.optimisers.base import ByGradients, Loss
from nas.optimisers.gated import GatedLoss, GatedNetworks
from nas.optimisers.sampled import SampledLoss, SampledNetworks
from nas.process.files import append_jsonl, read_jsonl
from nas.search.evaluators.table import Rows, TableProblem, load_accuracy
from nas.searchers import SEARCHERS
from nas.searchers.seeded import Seeded
from nas.seeds import derive_seed
from search_spaces.nasbench201 import CellSpace
from search_spaces.slots import Genomes

Floats = NDArray[np.float64]
#: What learns, for which share of the time, and what searches then.
METHODS: dict[str, tuple[str | None, float, str]] = {
    "evolution": (None, 0.0, "regularised"),
    "loss_regression": ("loss_regression", 0.7, "random"),
    "differentiable": ("differentiable", 0.7, "random"),
    "joint": ("differentiable", 0.3, "joint"),
}
QUANTILES = (0.3, 0.7)
BATCH, AT_ONCE = 128, 10
#: Steps from which the seconds of one are known, and proposals of those that judge nothing else.
PRACTICE, PROPOSALS = 20, 64


@dataclass(frozen=True, eq=False)
class Bounded(TableProblem):
    """A table as optimisers see it too, its networks canonical; satisfies `Cost` as well."""

    space: CellSpace | None = None

    def canonical(self, genomes: Genomes) -> Genomes:
        assert self.space is not None
        return self.space.canonical(genomes)

    def active(self, genomes: Genomes) -> NDArray[np.bool_]:
        assert self.space is not None
        return self.space.active(genomes)

    def seconds(self, genomes: Genomes) -> Floats:
        return self.free_objectives(genomes)[0][:, 0]


class Ready:
    """What one seed's methods share, compiled before any clock starts."""

    def __init__(self, control: Control) -> None:
        self.control = control
        self.judge: Callable[[NDArray[np.int64]], tuple[float, float]] = control._judge()
        data: TrainingSet = control.training_set("arch", False)
        sampled = SampledNetworks(control.space, control.weights, data, BATCH, derive_seed(control.seed, "images"))
        self.sampled, self.gated = sampled, GatedNetworks(sampled)
        self.judge(control.genomes[0])

    def loss(self, optimiser: object, problem: Bounded) -> Loss:
        """Of the last exit, there is no other."""
        if isinstance(optimiser, ByGradients):
            return GatedLoss(self.gated, problem)
        return SampledLoss(self.sampled, lambda genome: np.ones(1, np.bool_))


def spent(since: float) -> float:
    return time.process_time() - since


def learned(ready: Ready, name: str, problem: Bounded, limit_s: float, cpu_s: float, proposals: int) -> Any:
    """What an optimiser leaves after so many CPU seconds."""
    kind = load(OPTIMISERS[name])
    practice = kind(steps=PRACTICE, warm_up=1)
    loss, search = ready.loss(practice, problem), practice.begin(problem, problem, limit_s)
    loss(search.sample(0), 0)
    since = time.process_time()
    for step in range(PRACTICE):
        genome = search.sample(step)
        search.update(genome, step, loss(genome, step))
    step_s = spent(since) / PRACTICE
    warm = kind(steps=1).begin(problem, problem, limit_s).steps - 1
    settings = kind(steps=max(1, int(cpu_s / step_s) - warm), proposals=proposals)
    return settings.run(problem, loss, problem, limit_s)


def searched(ready: Ready, method: str, problem: Bounded, limit_s: float, cpu_s: float) -> tuple[Any, int, float]:
    """The network judged best within the limit, how many were judged, and the CPU seconds that all took."""
    optimiser, share, name = METHODS[method]
    searcher: Any = load(SEARCHERS[name])(problem)
    found: Any = None
    since = time.process_time()
    if optimiser is not None:
        proposals = PROPOSALS if name == "random" else 8
        found = learned(ready, optimiser, problem, limit_s, share * cpu_s, proposals)
        if getattr(searcher, "wants_prior", False):
            rows = zip(found.probabilities.tolist(), problem.sizes.tolist(), strict=True)
            searcher.take_prior([row[:size] for row, size in rows], len(found.proposals))
        searcher = Seeded(problem, searcher, found.proposals)
    best, judged = (np.inf, None), 0
    while spent(since) < cpu_s:
        genomes = searcher.ask(AT_ONCE)
        if not len(genomes):
            break
        losses = np.array([ready.judge(genome)[1] for genome in genomes])
        searcher.tell(genomes, losses[:, None], problem.free_objectives(genomes)[1])
        judged += len(genomes)
        fits = problem.seconds(genomes) <= limit_s
        if fits.any() and (least := np.where(fits, losses, np.inf)).min() < best[0]:
            best = (float(least.min()), genomes[least.argmin()])
    return best[1], judged, spent(since)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--accuracy", type=Path, required=True)
    parser.add_argument("--latency", type=Path, help="a table with HELP's test devices; the package's without")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cpu-s", type=float, default=10.0)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--supernets", default="supernet_rank-runs", help="folder beside the JSON")
    for name, value in (("channels", 8), ("cells", 1), ("epochs", 20), ("images", 1000), ("calibration", 512)):
        parser.add_argument(f"--{name}", type=int, default=value)
    args = parser.parse_args()
    table = load_table(args.latency) if args.latency else nb201()
    accuracy = 100 * load_accuracy(args.accuracy, table)[:, 0]
    settings = Settings(args.channels, args.cells, args.epochs, args.images, args.calibration, 1000)
    rows_of = Rows(table.ops)
    tasks: list[tuple[str, float]] = [("none", 1.0), *((device, q) for device in HELP_TEST for q in QUANTILES)]
    path = args.json.with_suffix(".jsonl")
    for seed in range(args.seeds):
        control = Control(args.json.parent / args.supernets, args.data, table.ops, settings, seed)
        ready: Ready | None = None
        for device, quantile in tasks:
            for method in METHODS:
                key = {
                    "seed": seed,
                    "device": device,
                    "quantile": quantile,
                    "method": method,
                    "cpu_limit_s": args.cpu_s,
                }
                if any(all(row[name] == value for name, value in key.items()) for row in read_jsonl(path)):
                    continue
                ready = ready or Ready(control)
                column = table.column("raspi4" if device == "none" else device)
                latency_s = np.where(np.isfinite(column), column, np.inf)
                limit_s = float("inf") if device == "none" else float(np.nanquantile(column, quantile))
                limit_s = 10 * float(np.nanmax(column)) if device == "none" else limit_s
                problem = Bounded(rows_of, latency_s, (limit_s,), derive_seed(seed, device), space=control.space)
                chosen, judged, cpu_s = searched(ready, method, problem, limit_s, args.cpu_s)
                within = latency_s <= limit_s
                got = accuracy[rows_of.find(chosen[None])[0]] if chosen is not None else accuracy[within].mean()
                row = {
                    **key, "accuracy": float(got), "regret": float(accuracy[within].max() - got), "judged": judged,
                    "cpu_s": cpu_s,
                }  # fmt: skip
                append_jsonl(path, [row])
                print(row, flush=True)
    finished = summary([row for row in read_jsonl(path) if row["cpu_limit_s"] == args.cpu_s], args.seeds)
    for row in finished:
        print(row)
    figures.write(args.json, {"heap_kept": KEPT, "rows": finished})


def summary(rows: list[dict[str, Any]], seeds: int) -> list[dict[str, Any]]:
    """Per method: the accuracy that is derived without a budget, mean regret within budgets, and spreads over seeds."""
    found = []
    for method in METHODS:
        own = [row for row in rows if row["method"] == method and row["seed"] < seeds]
        free = np.array([row["accuracy"] for row in own if row["device"] == "none"])
        lost = np.array(
            [
                np.mean([r["regret"] for r in own if r["seed"] == seed and r["device"] != "none"])
                for seed in range(seeds)
            ]
        )
        found.append(
            {
                "method": method,
                "derived_accuracy": float(free.mean()), "derived_least": float(free.min()),
                "regret_mean": float(lost.mean()), "regret_std": float(lost.std(ddof=1)) if seeds > 1 else None,
                "judged": float(np.mean([row["judged"] for row in own])),
                "cpu_s": float(np.mean([row["cpu_s"] for row in own])),
            }
        )  # fmt: skip
    return found


if __name__ == "__main__":
    main()
