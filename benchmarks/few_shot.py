"""Latency on a device of which a few networks were measured, given other devices' tables.

    python benchmarks/few_shot.py [--table T --sources A,B [--targets C,D]] [--samples 10] [--pool 900] [--seeds 10]
                                  [--json OUT]

Without a table: NAS-Bench-201 and the devices as HELP (Lee et al., NeurIPS 2021) divides them. Source devices are seen
on the first rows of the table only, the pool, and the measured networks are drawn from it at random, the same for all
methods. Judged on all networks that were not measured, and by Spearman on HELP's queries (the 1,000 rows after the
pool, the middle 80 % by latency). Means over seeds, with the standard deviation in the JSON.

Baselines: non-negative least squares on operator counts, and on multiply-adds where operators' names tell them; the
source that ranks the measured networks best, fitted in the logarithm; ridge on the principal factors of the sources'
log-latencies, which are predicted from one-hot columns and, in small spaces, their products.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import figures
import numpy as np
from scipy.optimize import nnls

from latency_models import metrics
from latency_models.few_shot import DevicePrior, learn
from latency_models.table import HELP_TEST, HELP_TRAIN, POOL, LatencyTable, load_table, nb201, queries

METRICS = (
    "spearman",
    "kendall",
    "median_error",
    "within_10",
    "coverage_90",
    "interval_width",
    "interval_score",
    "spearman_help_query",
)
#: Products of one-hot columns are added while there are at most so many.
MOST_PRODUCTS = 1000
RIDGES = np.geomspace(1e-3, 1e3, 13)
BASELINE_FLOOR = 0.1

Seconds = np.ndarray
Baseline = Callable[[np.ndarray, np.ndarray], np.ndarray]


def counts_baseline(features: np.ndarray) -> Baseline:
    """Seconds as a non-negative sum of features and a constant, by relative errors."""
    matrix = np.column_stack([features, np.ones(len(features))])

    def predict(index: np.ndarray, seconds: np.ndarray) -> np.ndarray:
        scale = np.maximum(seconds, BASELINE_FLOOR * np.median(seconds))
        weights = nnls(matrix[index] / scale[:, None], seconds / scale)[0]
        return np.asarray(np.maximum(matrix @ weights, 1e-3 * np.median(seconds)))

    return predict


def multiply_adds(table: LatencyTable) -> np.ndarray | None:
    """Relative multiply-adds of each network, K*K for a KxK convolution; None where names do not tell."""
    kernels = [re.search(r"conv\D*(\d+)x\1", name) for name in table.op_names]
    if not any(kernels) or table.ops.min() < 0 or table.ops.max() >= len(kernels):
        return None
    cost = np.array([int(found[1]) ** 2 if found else 0 for found in kernels], np.float64)
    return np.asarray(cost[table.ops].sum(axis=1))


def one_hot(ops: np.ndarray) -> np.ndarray:
    """A column for each position and value, and products of them while they are few."""
    columns = np.hstack([(ops[:, [i]] == np.unique(ops[:, i])).astype(float) for i in range(ops.shape[1])])
    pairs = [(i, j) for i in range(columns.shape[1]) for j in range(i)]
    if len(pairs) > MOST_PRODUCTS:
        return columns
    left, right = np.array(pairs).T
    products = columns[:, left] * columns[:, right]
    return np.hstack([columns, products[:, products.any(axis=0)]])


def source_logs(ops: np.ndarray, seconds: np.ndarray, pool: int) -> np.ndarray:
    """Standardised log-latency of each source for every network [n, sources], by ridge on the pool's rows."""
    features = one_hot(ops)
    features = features - features[:pool].mean(axis=0)
    found = np.empty((len(ops), seconds.shape[1]))
    for source, column in enumerate(seconds.T):
        rows = np.flatnonzero(np.isfinite(column[:pool]))
        logs = np.log(np.maximum(column[rows], 0.05 * np.median(column[rows])))
        logs = (logs - logs.mean()) / max(logs.std(), 1e-9)
        values, vectors = np.linalg.eigh(features[rows] @ features[rows].T)
        projected = vectors.T @ logs
        # Generalised cross-validation.
        scores = []
        for ridge in RIDGES:
            shrunk = ridge / (np.maximum(values, 0) + ridge)
            scores.append(((shrunk * projected) ** 2).sum() / shrunk.sum() ** 2)
        ridge = RIDGES[int(np.argmin(scores))]
        dual = vectors @ (projected / (np.maximum(values, 0) + ridge))
        found[:, source] = features @ (features[rows].T @ dual)
    return found


def nearest_baseline(logs: np.ndarray) -> Baseline:
    """The source that ranks the measured networks best, and a line from its log-latency."""

    def predict(index: np.ndarray, seconds: np.ndarray) -> np.ndarray:
        scores = [np.nan_to_num(metrics.spearman(column[index], seconds), nan=-1.0) for column in logs.T]
        column = logs[:, int(np.argmax(scores))]
        target = np.log(np.maximum(seconds, 0.05 * np.median(seconds)))
        slope = np.cov(column[index], target)[0, 1] / max(column[index].var(ddof=1), 1e-9)
        return np.asarray(np.exp(target.mean() + max(slope, 0.0) * (column - column[index].mean())))

    return predict


def factor_baseline(logs: np.ndarray) -> Baseline:
    """Ridge from the principal factors of the sources' log-latencies, its strength by leaving one network out."""
    centred = logs - logs.mean(axis=0)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    factors = left * values / np.sqrt(logs.shape[1])

    def predict(index: np.ndarray, seconds: np.ndarray) -> np.ndarray:
        target = np.log(np.maximum(seconds, 0.05 * np.median(seconds)))
        mean, middle = target.mean(), factors[index].mean(axis=0)
        near = factors[index] - middle
        best, found = np.inf, np.zeros(factors.shape[1])
        for ridge in RIDGES:
            inverse = np.linalg.inv(near.T @ near + ridge * np.eye(near.shape[1]))
            weights = inverse @ near.T @ (target - mean)
            leverage = np.einsum("ij,jk,ik->i", near, inverse, near) + 1 / len(index)
            error = (((target - mean - near @ weights) / (1 - np.minimum(leverage, 0.999))) ** 2).sum()
            if error < best:
                best, found = error, weights
        return np.asarray(np.exp(np.clip(mean + (factors - middle) @ found, target.min() - 3, target.max() + 3)))

    return predict


def score(
    mean: Seconds, low: Seconds | None, high: Seconds | None, measured: Seconds, chosen: np.ndarray, pool: int
) -> dict[str, float]:
    """All metrics of one prediction."""
    rest = np.setdiff1d(np.arange(len(measured)), chosen)
    asked = np.setdiff1d(queries(measured, pool), chosen)
    found = dict.fromkeys(METRICS, float("nan"))
    found["spearman"] = metrics.spearman(mean[rest], measured[rest])
    found["kendall"] = metrics.kendall(mean[rest], measured[rest])
    found["median_error"] = metrics.median_relative_error(mean[rest], measured[rest])
    found["within_10"] = metrics.within(mean[rest], measured[rest])
    found["spearman_help_query"] = metrics.spearman(mean[asked], measured[asked])
    if low is not None and high is not None:
        found["coverage_90"] = metrics.coverage(low[rest], high[rest], measured[rest])
        found["interval_width"] = metrics.interval_width(low[rest], high[rest], measured[rest])
        found["interval_score"] = metrics.interval_score(low[rest], high[rest], measured[rest])
    return found


def bootstrap(differences: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """95 % interval of the mean over devices, devices drawn with replacement."""
    draws = np.random.default_rng(seed).integers(0, len(differences), (10_000, len(differences)))
    low, high = np.quantile(differences[draws].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def run(
    table: LatencyTable, sources: list[str], targets: list[str], samples: list[int], pool: int, seeds: int
) -> tuple[list[dict[str, object]], dict[str, float]]:
    """The rows of the result, and the seconds that learning and adapting took."""
    known = table.columns(sources)
    start = time.perf_counter()
    prior: DevicePrior = learn(table.ops[:pool], known[:pool])
    learn_s = time.perf_counter() - start
    candidates = prior.candidates(table.ops)
    candidates_s = time.perf_counter() - start - learn_s
    values = np.unique(table.ops)
    logs = source_logs(table.ops, known, pool)
    baselines = {
        "operator_counts": counts_baseline(np.stack([(table.ops == v).sum(axis=1) for v in values], axis=1)),
        "nearest_device": nearest_baseline(logs),
        "factor_ridge": factor_baseline(logs),
    }
    proxy = multiply_adds(table)
    if proxy is not None:
        baselines = {"flops": counts_baseline(proxy[:, None] / max(proxy.mean(), 1e-9)), **baselines}
    adapt_s = []
    rows: list[dict[str, object]] = []
    for target in targets:
        measured = table.column(target)
        there = np.flatnonzero(np.isfinite(measured[:pool]))
        for count in sorted({*samples, 20}):
            if count > len(there):
                print(f"{target}: only {len(there)} networks of the pool were measured, none with {count} samples")
                continue
            found: dict[str, list[dict[str, float]]] = {}
            for seed in range(seeds):
                chosen = np.random.default_rng([seed, count]).choice(there, count, replace=False)
                start = time.perf_counter()
                belief = prior.adapt(candidates, chosen, measured[chosen])
                adapt_s.append(time.perf_counter() - start)
                low, high = belief.quantile_s(0.05), belief.quantile_s(0.95)
                found.setdefault("ours", []).append(score(belief.mean_s, low, high, measured, chosen, pool))
                for name, predict in baselines.items() if count in samples else ():
                    mean = predict(chosen, measured[chosen])
                    found.setdefault(name, []).append(score(mean, None, None, measured, chosen, pool))
            for name, each in found.items():
                row: dict[str, object] = {"target": target, "method": name, "samples": count}
                for metric in METRICS:
                    of = np.array([one[metric] for one in each])
                    known_values = of[np.isfinite(of)]
                    row[metric] = float(known_values.mean()) if len(known_values) else None
                    row[metric + "_std"] = float(known_values.std()) if len(known_values) else None
                rows.append(row)
    times = {
        "learn_s": learn_s,
        "candidates_s": candidates_s,
        "adapt_s": float(np.median(adapt_s)) if adapt_s else float("inf"),
    }
    return rows, times


def show(rows: list[dict[str, Any]], times: dict[str, float], samples: list[int]) -> None:
    """Print the table, the means, the paired differences and the times."""
    short = ("spearman", "kendall", "med.err", "within10", "cover90", "width", "score", "queries")
    print(f"{'target':>16} {'method':>16} {'k':>4} " + " ".join(f"{name:>9}" for name in short))

    def line(target: str, method: str, count: object, cells: list[float | None]) -> None:
        shown = " ".join(f"{'-' if cell is None else format(cell, '.3f'):>9}" for cell in cells)
        print(f"{target:>16} {method:>16} {count:>4} {shown}")

    for row in rows:
        line(str(row["target"]), str(row["method"]), row["samples"], [row[metric] for metric in METRICS])
    by: dict[tuple[str, int], dict[str, dict[str, Any]]] = {}
    for row in rows:
        by.setdefault((str(row["method"]), int(str(row["samples"]))), {})[str(row["target"])] = row
    for (method, count), of in by.items():
        cells = [[row[metric] for row in of.values()] for metric in METRICS]
        line("mean", method, count, [None if None in cell else float(np.mean(cell)) for cell in cells])
    print("\nours minus baseline, mean over devices and 95 % interval by drawing devices with replacement")
    for count in samples:
        ours = by.get(("ours", count), {})
        for (method, other), of in by.items():
            if other != count or method == "ours":
                continue
            for metric in ("spearman", "within_10", "spearman_help_query"):
                pairs = [(ours[t][metric], row[metric]) for t, row in of.items()]
                differences = np.array([a - b for a, b in pairs if a is not None and b is not None])
                if len(differences):
                    low, high = bootstrap(differences)
                    print(f"{method:>16} {count:>4} {metric:>20} {differences.mean():+.4f} ({low:+.4f}, {high:+.4f})")
    print("\n" + ", ".join(f"{name[:-2]} {value:.3f} s" for name, value in times.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, help="a latency table; NAS-Bench-201's without")
    parser.add_argument("--sources", help="source devices, by commas")
    parser.add_argument("--targets", help="target devices, by commas; all that are no sources without")
    parser.add_argument("--samples", type=int, nargs="+", default=[10], help="networks measured; ours also at 20")
    parser.add_argument("--pool", type=int, default=POOL)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.table and not args.sources:
        parser.error("--table needs --sources")
    try:
        table = load_table(args.table) if args.table else nb201()
        sources = [name.strip() for name in args.sources.split(",")] if args.sources else list(HELP_TRAIN)
        others = HELP_TEST if not args.sources else [d for d in table.devices if d not in sources]
        targets = [name.strip() for name in args.targets.split(",")] if args.targets else list(others)
        if both := sorted(set(sources) & set(targets)):
            parser.error(f"{', '.join(both)}: both a source and a target; a target's latencies must not be known")
        rows, times = run(table, sources, targets, sorted(set(args.samples)), min(args.pool, len(table)), args.seeds)
    except ValueError as problem:
        parser.error(str(problem))
    if not rows:
        parser.error("no target has enough measured networks in the pool")
    show(rows, times, args.samples)
    if args.json:
        figures.write(args.json, {"rows": rows, **times})


if __name__ == "__main__":
    main()
