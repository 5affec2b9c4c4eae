"""How far searchers are from the best network within a latency budget, after 50, 100 and 200 evaluations.

    python benchmarks/search_tabular.py --latency LATENCY.npz --accuracy ACCURACY.npz [--seeds 10] [--json OUT]

A task is a device and a budget, a quantile of its latencies; its oracle is the best accuracy within the budget, all
read from the tables (`nas.search.evaluators.table`). Regret is the oracle less the best accuracy evaluated so far, in
points. Every searcher may ask the latency table for free; pymoo and Optuna get the same filter (`search_peers`), and a
row is left out with a sentence where one is not installed. Violations count evaluated networks beyond the budget;
`fall-back` is the share of a peer's networks that the filter drew at random because the peer proposed none. Differences
are paired over devices and seeds: Wilcoxon's signed-rank test on means over budgets, with Holm's correction, and the
ratio of mean regrets with a 95 % interval that draws devices and seeds anew. Without --devices: HELP's six test
devices, or all of the table where it lacks one of them.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import figures
import numpy as np
from numpy.typing import NDArray
from scipy.stats import wilcoxon
from search_peers import PEERS, Filtered

from latency_models.table import HELP_TEST, load_table
from nas.config.registry import load
from nas.search.evaluators.table import Rows, TableProblem, load_accuracy
from nas.searchers import SEARCHERS

QUERIES = (50, 100, 200)
QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9)
JUDGED = 100
#: Adapters of outside samplers: these stand among the peers.
OURS = [name for name in SEARCHERS if not name.startswith("optuna_")]
DRAWS = 10_000


@dataclass(frozen=True)
class Case:
    """One search: the files, a device, a budget as a quantile, a data set, a searcher and a seed."""

    latency: Path
    accuracy: Path
    device: str
    quantile: float
    dataset: int
    method: str
    seed: int
    batch: int


@cache
def tables(latency: Path, accuracy: Path) -> tuple[Any, NDArray[np.float64], Rows]:
    """The latency table, the accuracies in points, and the finder of rows."""
    table = load_table(latency)
    return table, 100 * load_accuracy(accuracy, table), Rows(table.ops)


def search(case: Case) -> tuple[list[float], int, float]:
    """The regret after each number of QUERIES, networks evaluated beyond the budget, and the share fallen back on."""
    table, accuracies, rows = tables(case.latency, case.accuracy)
    accuracy, latency_s = accuracies[:, case.dataset], table.column(case.device)
    budget_s = float(np.nanquantile(latency_s, case.quantile))
    within = np.flatnonzero(latency_s <= budget_s)
    problem = TableProblem(rows, latency_s, (budget_s,), case.seed)
    evaluated: list[int] = []
    outside: Filtered | None = None
    searcher: Any = None
    batch = case.batch
    if case.method in PEERS:
        _, make, batch = PEERS[case.method]
        outside = Filtered(make(problem), problem, table.ops[within])
    else:
        searcher = load(SEARCHERS[case.method])(problem)
    while len(evaluated) < QUERIES[-1]:
        size = min(batch, QUERIES[-1] - len(evaluated))
        genomes = (outside or searcher).ask(size)
        if not len(genomes):
            break
        found = rows.find(genomes)
        errors = 100 - accuracy[found]
        if outside is not None:
            outside.tell(genomes, errors)
        else:
            searcher.tell(genomes, errors[:, None], problem.free_objectives(genomes)[1])
        evaluated += found.tolist()
    if len(set(evaluated)) < len(evaluated):
        raise AssertionError(f"{case.method} evaluated a network twice")
    kept = np.where(latency_s[evaluated] <= budget_s, accuracy[evaluated], -np.inf)
    best = np.maximum.accumulate(np.append(kept, np.full(QUERIES[-1] - len(kept), -np.inf)))
    regrets = [float(accuracy[within].max() - best[n - 1]) for n in QUERIES]
    fallen_back = outside.fallen_back / len(evaluated) if outside is not None else 0.0
    return regrets, int((latency_s[evaluated] > budget_s).sum()), fallen_back


def holm(p_values: list[float]) -> list[float]:
    """Holm's step-down correction of p-values."""
    order = np.argsort(p_values)
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(
        np.maximum.accumulate(np.array(p_values)[order] * np.arange(len(p_values), 0, -1)), 1.0
    )
    return [float(value) for value in corrected]


def ratio(ours: NDArray[np.float64], peer: NDArray[np.float64]) -> tuple[float, float, float]:
    """Ratio of the mean regrets [devices, tasks, seeds] and its 95 % interval, devices and seeds drawn anew."""
    rng = np.random.default_rng(0)
    devices, _, seeds = ours.shape
    a, b = ours.mean(axis=1), peer.mean(axis=1)
    rows = rng.integers(devices, size=(DRAWS, devices, 1))
    columns = rng.integers(seeds, size=(DRAWS, devices, seeds))
    drawn = a[rows, columns].mean(axis=(1, 2)) / np.maximum(b[rows, columns].mean(axis=(1, 2)), 1e-12)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(a.mean() / max(b.mean(), 1e-12)), float(low), float(high)


def compare(regret: dict[str, NDArray[np.float64]]) -> None:
    """Print each of our searchers beside the best outside peer after JUDGED evaluations."""
    column = QUERIES.index(JUDGED)
    peers = [name for name in regret if name in PEERS]
    if not peers:
        print("No outside peer is installed; nothing to compare with.")
        return
    best = min(peers, key=lambda name: float(regret[name][..., column].mean()))
    print(f"\nAfter {JUDGED} evaluations, against the best outside peer, {best}:")
    mine = [name for name in regret if name not in PEERS]
    tests = []
    for name in mine:
        # Budgets of a device share its latencies and the oracle's surroundings: they are no draws of their own.
        difference = (regret[name][..., column] - regret[best][..., column]).mean(axis=1).ravel()
        tests.append(float(wilcoxon(difference).pvalue) if difference.any() else 1.0)
    for name, p in zip(mine, holm(tests), strict=True):
        middle, low, high = ratio(regret[name][..., column], regret[best][..., column])
        print(
            f"  {name:<14} ratio of mean regrets {middle:.2f} [{low:.2f}, {high:.2f}], Wilcoxon with Holm p = {p:.1e}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latency", type=Path, required=True)
    parser.add_argument("--accuracy", type=Path, required=True)
    parser.add_argument("--devices", help="comma-separated; default: HELP's six test devices")
    parser.add_argument("--methods", help=f"comma-separated; default: {','.join([*OURS, *PEERS])}")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--batch", type=int, default=5, help="networks our searchers ask for at a time")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    table, accuracies, _ = tables(args.latency, args.accuracy)
    known = HELP_TEST if set(HELP_TEST) <= set(table.devices) else table.devices
    devices = args.devices.split(",") if args.devices else list(known)
    methods = args.methods.split(",") if args.methods else [*OURS, *PEERS]
    for name, (package, _, _) in PEERS.items():
        if name in methods and find_spec(package) is None:
            print(f"{name} is left out: {package} is not installed (pip install {package}).")
            methods.remove(name)
    tasks = [(quantile, dataset) for quantile in QUANTILES for dataset in range(accuracies.shape[1])]
    print(f"{len(devices)} devices x {len(QUANTILES)} budgets x {accuracies.shape[1]} data sets x {args.seeds} seeds")
    print(
        f"{'regret, points':<16}"
        + "".join(f"{f'{n} evaluated':>18}" for n in QUERIES)
        + f"{'violations':>12}{'fall-back':>11}{'s/search':>10}"
    )
    rows: list[dict[str, Any]] = []
    regret: dict[str, NDArray[np.float64]] = {}
    with ProcessPoolExecutor(args.jobs) as pool:
        for method in methods:
            start = time.perf_counter()
            cases = [
                Case(args.latency, args.accuracy, device, quantile, dataset, method, seed, args.batch)
                for device in devices
                for quantile, dataset in tasks
                for seed in range(args.seeds)
            ]
            results = list(pool.map(search, cases) if args.jobs > 1 else map(search, cases))
            seconds = (time.perf_counter() - start) * args.jobs / len(cases)
            found = np.array([regrets for regrets, _, _ in results])
            fallen_back = float(np.mean([share for _, _, share in results]))
            regret[method] = found.reshape(len(devices), len(tasks), args.seeds, len(QUERIES))
            violations = sum(count for _, count, _ in results)
            line = f"{method:<16}"
            for column, queries in enumerate(QUERIES):
                per_seed = regret[method][..., column].mean(axis=(0, 1))
                error = float(per_seed.std(ddof=1) / np.sqrt(len(per_seed))) if len(per_seed) > 1 else float("nan")
                line += f"{f'{per_seed.mean():.3f} +- {error:.3f}':>18}"
                rows.append(
                    {
                        "method": method,
                        "ours": method not in PEERS,
                        "queries": queries,
                        "regret_mean": float(per_seed.mean()),
                        "regret_se": error if len(per_seed) > 1 else None,
                        "violations": violations,
                        "fall_back_share": fallen_back,
                        "seeds": args.seeds,
                    }
                )
            print(f"{line}{violations:>12}{fallen_back:>11.0%}{seconds:>10.2f}", flush=True)
    compare(regret)
    if args.json:
        figures.write(args.json, {"rows": rows})


if __name__ == "__main__":
    main()
