"""What zero-cost scores say of accuracy, alone and beyond multiply-adds, on networks whose accuracies are known.

    python benchmarks/zero_cost.py --data CIFAR --accuracy ACCURACY.npz [--networks 1000 --seeds 3 --json OUT]

Random networks of NAS-Bench-201, at a reduced size (8 channels, one cell per stage, images 16 x 16), are scored with
weights and images that each seed draws anew. What is known of them are their accuracies in the benchmark, rows as in
the shipped latency table. `tau` is Kendall's rank correlation with accuracy, over all networks and within the better
half; `top 5 %` the share of the best twentieth by score that is among the most accurate twentieth. `beyond macs` is the
correlation of what multiply-adds leave unexplained of the ranks of score and accuracy (cubic fits). Then scores and
multiply-adds together: the mean of their ranks, and a ridge regression on their normal scores, squares and products,
judged on networks that it was not fitted to (five folds); beside it the same with multiply-adds alone, and by how much
it is better than multiply-adds as they are, with an interval over networks drawn anew. Seconds are those of the
processor for one thousand networks, after compiling.

`scored`, `agreement`, `beyond` and `fitted` can be imported.
"""

from __future__ import annotations

from kept_heap import KEPT

# isort: split

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import figures
import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau, rankdata

from latency_models.table import nb201
from nas.search.evaluators.table import load_accuracy
from nas.searchers.surrogate import normal_scores
from nas.seeds import derive_seed
from nas.tasks.image_classification.cifar import cifar10
from nas.zero_cost.scoring import SCORES, ZeroCost
from search_spaces.nasbench201 import nasbench201
from search_spaces.slots import Genomes, SearchSpace

Floats = NDArray[np.float64]

CHANNELS, CELLS, SIZE, IMAGES = 8, 1, 16, 64
FOLDS: Final = 5
DRAWS: Final = 500
#: Weight of the ridge, in networks.
RIDGE: Final = 1.0
TOP: Final = 0.05


def inputs(data: Path, count: int, seed: int) -> NDArray[np.float32]:
    """Some training images [count, 3, 16, 16], by means of 2 x 2 pixels, each channel with mean 0 and variance 1."""
    images = np.asarray(cifar10(str(data)).train_x)
    chosen = images[np.random.default_rng(derive_seed(seed, "images")).permutation(len(images))[:count]]
    small = chosen.reshape(count, 3, SIZE, 2, SIZE, 2).mean(axis=(3, 5))
    centred = small - small.mean(axis=(0, 2, 3), keepdims=True)
    return np.asarray(centred / centred.std(axis=(0, 2, 3), keepdims=True), np.float32)


def scored(
    space: SearchSpace, genomes: Genomes, images: NDArray[np.float32], seed: int, names: Sequence[str] = tuple(SCORES)
) -> tuple[dict[str, Floats], dict[str, float]]:
    """The scores of genomes [n, genes] by name [n], and the processor seconds of 1,000 networks, without compiling."""
    found: dict[str, Floats] = {}
    seconds: dict[str, float] = {}
    for name in names:
        score = ZeroCost(space, (name,), [images], seed)
        score(genomes[:1])
        begun = time.process_time()
        found[name] = score(genomes)[:, 0]
        # Equal networks are scored once.
        different = len(np.unique(space.canonical(genomes), axis=0))
        seconds[name] = 1000 * (time.process_time() - begun) / different
    return found, seconds


def multiply_adds(space: SearchSpace, genomes: Genomes) -> Floats:
    """The multiply-adds of each network [n]."""
    return np.array([space.decode(genome).macs for genome in space.canonical(genomes)], np.float64)


def agreement(values: Floats, accuracy: Floats) -> dict[str, float]:
    """How well values rank accuracies [n]: over all, within the better half, and at the top."""
    half, top = accuracy >= np.median(accuracy), max(1, round(TOP * len(accuracy)))
    best, chosen = (set(np.argsort(-each, kind="stable")[:top].tolist()) for each in (accuracy, values))
    return {
        "tau": float(kendalltau(values, accuracy).statistic),
        "tau_best_half": float(kendalltau(values[half], accuracy[half]).statistic),
        "top_5": len(best & chosen) / top,
    }


def beyond(values: Floats, known: Floats, accuracy: Floats) -> float:
    """Kendall's tau of what the ranks of `known` leave of those of values and accuracies [n]."""
    x = rankdata(known) / len(known)

    def rest(of: Floats) -> Floats:
        ranks = rankdata(of)
        return np.asarray(ranks - np.polyval(np.polyfit(x, ranks, 3), x))

    return float(kendalltau(rest(values), rest(accuracy)).statistic)


def fitted(columns: Sequence[Floats], accuracy: Floats, seed: int = 0) -> Floats:
    """What a regression on columns, each [n], expects of each network [n] that was fitted to other ones."""
    x = np.column_stack([normal_scores(column) for column in columns])
    pairs = [x[:, i] * x[:, j] for i in range(x.shape[1]) for j in range(i + 1)]
    x, y = np.column_stack((np.ones(len(x)), x, *pairs)), normal_scores(accuracy)
    fold = np.random.default_rng(seed).permutation(len(y)) % FOLDS
    result = np.empty(len(y))
    for number in range(FOLDS):
        train = fold != number
        inner = x[train].T @ x[train] + RIDGE * np.eye(x.shape[1])
        result[~train] = x[~train] @ np.linalg.solve(inner, x[train].T @ y[train])
    return result


def gain(values: Floats, others: Floats, accuracy: Floats) -> tuple[float, float, float]:
    """How much better values rank than others, by tau, and its 95 % interval over networks drawn anew."""
    rng, drawn = np.random.default_rng(0), []
    for _ in range(DRAWS):
        rows = rng.integers(len(accuracy), size=len(accuracy))
        taus = [kendalltau(each[rows], accuracy[rows]).statistic for each in (values, others)]
        drawn.append(taus[0] - taus[1])
    low, high = np.quantile(drawn, [0.025, 0.975])
    whole = kendalltau(values, accuracy).statistic - kendalltau(others, accuracy).statistic
    return float(whole), float(low), float(high)


def rows_of(seed: int, found: Mapping[str, Floats], macs: Floats, accuracy: Floats) -> list[dict[str, Any]]:
    """What one seed's scores say, a row per method."""
    together = {f"macs and {name}, fitted": fitted([macs, values], accuracy) for name, values in found.items()}
    together["macs and all scores, fitted"] = fitted([macs, *found.values()], accuracy)
    ranks = {
        f"macs and {name}, ranks": np.asarray(rankdata(macs) + rankdata(values), np.float64)
        for name, values in found.items()
    }
    return [
        {
            "method": method,
            "seed": seed,
            **agreement(values, accuracy),
            "beyond_macs": beyond(values, macs, accuracy) if method in found else None,
            "gain_over_macs": gain(values, macs, accuracy) if method in together else None,
        }
        for method, values in {**found, "macs, fitted": fitted([macs], accuracy), **ranks, **together}.items()
    ]


def show(rows: Sequence[Mapping[str, Any]], seconds: Mapping[str, Sequence[float]]) -> None:
    """Print means and standard deviations over seeds."""
    print(f"{'method':<30}{'tau':>16}{'better half':>16}{'top 5 %':>16}{'beyond macs':>16}{'cpu s / 1,000':>14}")
    for method in dict.fromkeys(row["method"] for row in rows):
        of = [row for row in rows if row["method"] == method]
        line = f"{method:<30}"
        for key in ("tau", "tau_best_half", "top_5", "beyond_macs"):
            values = [row[key] for row in of if row[key] is not None]
            text = "-" if not values else f"{np.mean(values):.3f}"
            line += f"{text + (f' +- {np.std(values, ddof=1):.3f}' if len(values) > 1 else ''):>16}"
        print(line + (f"{np.median(seconds[method]):>14.1f}" if method in seconds else ""))
    for row in rows:
        if row.get("gain_over_macs"):
            difference, low, high = row["gain_over_macs"]
            print(f"seed {row['seed']}: {row['method']}, over macs: {difference:+.3f} [{low:+.3f}, {high:+.3f}]")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of CIFAR-10's python version")
    parser.add_argument("--accuracy", type=Path, required=True, help="the accuracies of NAS-Bench-201's networks")
    parser.add_argument("--networks", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    table = nb201()
    known = load_accuracy(args.accuracy, table)[:, 0]
    chosen = np.sort(np.random.default_rng(0).permutation(len(table))[: args.networks])
    genomes, accuracy = table.ops[chosen], known[chosen]
    space = nasbench201((3, SIZE, SIZE), 10, channels=CHANNELS, cells=CELLS)
    macs = multiply_adds(space, genomes)
    rows: list[dict[str, Any]] = [{"method": "macs", "seed": None, **agreement(macs, accuracy), "beyond_macs": None}]
    seconds: dict[str, list[float]] = {name: [] for name in SCORES}
    for seed in range(args.seeds):
        found, taken = scored(space, genomes, inputs(args.data, IMAGES, seed), seed)
        rows += rows_of(seed, found, macs, accuracy)
        for name, value in taken.items():
            seconds[name].append(value)
    print(f"{len(chosen)} networks, {args.seeds} seeds; heap kept: {KEPT}")
    show(rows, seconds)
    if args.json:
        figures.write(args.json, {"networks": len(chosen), "rows": rows, "cpu_s_per_1000": seconds})


if __name__ == "__main__":
    main()
