"""How well a supernet ranks networks whose accuracies are known, and what is found by it: NAS-Bench-201 on CIFAR-10.

    python benchmarks/supernet_rank.py --data FOLDER --accuracy T.npz [--latency L.npz --seeds 3 --json OUT]

FOLDER holds cifar-10-batches-py; T.npz has `test_acc`, a row per network of the latency table, which without --latency
is the one that comes with the package. The space is the benchmark's with fewer channels and cells and images pooled to
16x16; a seed splits the images, of which no test image is looked at, trains the supernet by the product's default
recipe and draws --networks of the 15,625 to be judged one by one. The accuracies of the table, 200 epochs each at full
size, are for the comparison alone.

tau is Kendall's over the networks drawn, and over the better half of them; beside it the difference from that of
multiply-adds with a 95 % interval, the networks drawn anew in pairs. Multiply-adds are those of the benchmark's
networks, which compute edges that lead nowhere too; `macs in use` leaves these out, and is the better guide by far.
Derived is the network that a method would take without a budget. Regret is what is lost by its choice within the
budgets of `search_tabular.py` (HELP's six test devices, five quantiles of latency) against the best network there, in
points; methods that judge one by one choose among the networks drawn, the others among all. `predictor` is the
surrogate model of `nas.searchers` fitted to the networks judged. CPU seconds are all that a row needed, training
included.

Beside OUT a folder OUT-runs keeps checkpoints, judgements and rows as they come: killed and started again, the
benchmark goes on where it was. Rows of published figures are said to be so and are not computed here.
"""

from __future__ import annotations

from kept_heap import KEPT

# isort: split

import argparse
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import figures
import numpy as np
from numpy.typing import NDArray
from ranking import Compared, best_half, chosen_accuracy, difference, regrets, tau
from supernet_rank_methods import METHODS
from supernet_rank_runs import Control, Settings

from latency_models.table import HELP_TEST, LatencyTable, load_table, nb201
from nas.process.files import append_jsonl, read_jsonl
from nas.search.evaluators.table import load_accuracy
from search_spaces.nasbench201 import OPERATORS

QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9)
#: Accuracies on CIFAR-10 as published (Dong & Yang 2020, arXiv 2001.00326, and the means of the table's best).
PUBLISHED = {"DARTS": 54.30, "GDAS": 93.61, "random search": 93.70, "optimum": 94.37}
Floats = NDArray[np.float64]


def row_of(method: str, control: Control, accuracy: Floats, within: NDArray[np.bool_]) -> dict[str, Any]:
    """All figures of a method for one seed; `scores` are of the networks drawn."""
    found = METHODS[method](control)
    scores, everything = found.scores[control.chosen], np.ones(len(accuracy), np.bool_)
    known = accuracy[control.chosen]
    half = best_half(known)
    lost = regrets(found.scores, accuracy, within)
    row = {
        "method": method,
        "seed": control.seed,
        "tau": tau(scores, known),
        "tau_best_half": tau(scores[half], known[half]),
        "derived_accuracy": chosen_accuracy(found.scores, accuracy, everything),
        "derived": None,
        "skips": None,
        "regret_mean": float(lost.mean()),
        "regret_worst": float(lost.max()),
        "cpu_s": found.cpu_s,
        "scores": scores.tolist(),
    }
    genome = found.derived
    if genome is None and np.nanmax(found.scores) > np.nanmin(found.scores):
        genome = control.space.canonical(control.genomes[[np.nanargmax(found.scores)]])[0]
    if genome is not None:
        same = (control.space.canonical(control.genomes) == genome).all(axis=1)
        row["derived_accuracy"] = float(accuracy[same].mean())
        row["derived"] = [OPERATORS[choice] for choice in genome]
        row["skips"] = int((genome == OPERATORS.index("skip_connect")).sum())
    return row


def compared(rows: list[dict[str, Any]], controls: list[Control], accuracy: Floats) -> list[dict[str, Any]]:
    """The rows without scores, each with its difference from multiply-adds, and a row of means per method."""
    base = {row["seed"]: np.array(row["scores"]) for row in rows if row["method"] == "macs"}
    known = {control.seed: accuracy[control.chosen] for control in controls}
    result: list[dict[str, Any]] = []
    for method in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if row["method"] == method]
        pairs = [Compared(np.array(row["scores"]), base[row["seed"]], known[row["seed"]]) for row in own]
        for row, pair in zip(own, pairs, strict=True):
            figures_of_one = {key: value for key, value in row.items() if key != "scores"}
            result.append({**figures_of_one, "tau_minus_macs": difference([pair])})
        means = {
            name: float(np.mean([row[name] for row in own]))
            for name in ("tau", "tau_best_half", "derived_accuracy", "regret_mean", "cpu_s")
        }
        most = [row["skips"] for row in own if row["skips"] is not None]
        result.append(
            {"method": method, "seed": "mean", **means, "regret_worst": max(row["regret_worst"] for row in own),
             "skips": max(most, default=None), "tau_minus_macs": difference(pairs)}
        )  # fmt: skip
    return result


def show(rows: list[dict[str, Any]]) -> None:
    """Print a line per row, and what is published."""
    print(
        f"\n{'method':>28} {'seed':>5} {'tau':>6} {'best half':>10} {'- macs (95 %)':>24} {'derived %':>10} "
        f"{'skips':>6} {'regret':>7} {'worst':>6} {'cpu s':>6}"
    )
    for row in rows:
        middle, low, high = row["tau_minus_macs"]
        apart = f"{middle:+.3f} ({low:+.3f}, {high:+.3f})"
        skips = "-" if row["skips"] is None else row["skips"]
        print(
            f"{row['method']:>28} {row['seed']:>5} {row['tau']:>6.3f} {row['tau_best_half']:>10.3f} {apart:>24} "
            f"{row['derived_accuracy']:>10.2f} {skips:>6} {row['regret_mean']:>7.2f} {row['regret_worst']:>6.2f} "
            f"{row['cpu_s']:>6.0f}"
        )
    for name, percent in PUBLISHED.items():
        print(f"{f'{name}, as published':>28} {'-':>5} {'-':>6} {'-':>10} {'-':>24} {percent:>10.2f}")


def tasks(table: LatencyTable) -> NDArray[np.bool_]:
    """Which networks [tasks, n] are within each budget."""
    columns = [table.column(device) for device in HELP_TEST]
    return np.stack([column <= np.nanquantile(column, quantile) for column in columns for quantile in QUANTILES])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--accuracy", type=Path, required=True)
    parser.add_argument("--latency", type=Path, help="a table with HELP's test devices; the package's without")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--methods", help=f"comma-separated; default: {','.join(METHODS)}")
    parser.add_argument("--channels", type=int, default=8)
    parser.add_argument("--cells", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--images", type=int, default=1000, help="of val, per network judged")
    parser.add_argument("--calibration", type=int, default=512, help="images for batch norm, per network judged")
    parser.add_argument("--networks", type=int, default=1000)
    parser.add_argument("--limit", type=int, help="images to train, search and judge on; all 50,000 without")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    table = load_table(args.latency) if args.latency else nb201()
    accuracy, within = 100 * load_accuracy(args.accuracy, table)[:, 0], tasks(table)
    settings = Settings(
        args.channels, args.cells, args.epochs, args.images, args.calibration, args.networks, args.limit
    )
    methods = list(dict.fromkeys(["macs", *(args.methods.split(",") if args.methods else METHODS)]))
    with tempfile.TemporaryDirectory() as forgotten:
        folder = args.json.with_name(f"{args.json.stem}-runs") if args.json else Path(forgotten)
        rows, controls = [], []
        for seed in range(args.first_seed, args.first_seed + args.seeds):
            control = Control(folder, args.data, table.ops, settings, seed)
            controls.append(control)
            path = control.folder / "rows.jsonl"
            for method in methods:
                if method not in [row["method"] for row in read_jsonl(path)]:
                    append_jsonl(path, [row_of(method, control, accuracy, within)])
            rows += [row for row in read_jsonl(path) if row["method"] in methods]
        finished = compared(rows, controls, accuracy)
    show(finished)
    if args.json:
        published = [
            {"method": name, "seed": None, "derived_accuracy": percent, "published": True}
            for name, percent in PUBLISHED.items()
        ]
        figures.write(args.json, {"heap_kept": KEPT, "settings": asdict(settings), "rows": [*finished, *published]})


if __name__ == "__main__":
    main()
