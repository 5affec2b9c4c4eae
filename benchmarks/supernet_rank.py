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
BASELINES = ("macs", "macs in use")
MEANS = ("tau", "tau_best_half", "derived_accuracy", "regret_mean", "cpu_s")
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


def compared(rows: list[dict[str, Any]], known: dict[int, Floats]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows without scores, each with its differences from the BASELINES, and means of each method over seeds.

    `known` are the accuracies of the networks that the scores of a seed are of.
    """
    scores = {(row["method"], row["seed"]): np.array(row["scores"]) for row in rows}

    def differences(own: list[dict[str, Any]]) -> dict[str, tuple[float, float, float]]:
        return {
            f"tau_minus_{name.replace(' ', '_')}": difference(
                [
                    Compared(scores[row["method"], row["seed"]], scores[name, row["seed"]], known[row["seed"]])
                    for row in own
                ]
            )
            for name in BASELINES
        }

    single: list[dict[str, Any]] = []
    means: list[dict[str, Any]] = []
    for method in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if row["method"] == method]
        single += [{**{key: row[key] for key in row if key != "scores"}, **differences([row])} for row in own]
        mean = {name: float(np.mean([row[name] for row in own])) for name in MEANS}
        most = {
            name: max((row[name] for row in own if row[name] is not None), default=None)
            for name in ("regret_worst", "skips")
        }
        means.append({"method": method, **mean, **most, **differences(own)})
    return single, means


def show(rows: list[dict[str, Any]]) -> None:
    """Print a line per row, and what is published."""
    print(
        f"\n{'method':>34} {'seed':>5} {'tau':>6} {'best half':>10} {'- macs (95 %)':>24} {'- macs in use (95 %)':>24} "
        f"{'derived %':>10} {'skips':>6} {'regret':>7} {'worst':>6} {'cpu s':>6}"
    )
    for row in rows:
        apart = [
            f"{middle:+.3f} ({low:+.3f}, {high:+.3f})"
            for middle, low, high in (row["tau_minus_macs"], row["tau_minus_macs_in_use"])
        ]
        skips = "-" if row["skips"] is None else row["skips"]
        print(
            f"{row['method']:>34} {row.get('seed', 'mean'):>5} {row['tau']:>6.3f} {row['tau_best_half']:>10.3f} "
            f"{apart[0]:>24} {apart[1]:>24} {row['derived_accuracy']:>10.2f} {skips:>6} {row['regret_mean']:>7.2f} "
            f"{row['regret_worst']:>6.2f} {row['cpu_s']:>6.0f}"
        )
    for name, percent in PUBLISHED.items():
        print(f"{f'{name}, as published':>34} {percent:>83.2f}")


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
    parser.add_argument("--epochs", type=int, default=20)
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
    methods = list(dict.fromkeys([*BASELINES, *(args.methods.split(",") if args.methods else METHODS)]))
    with tempfile.TemporaryDirectory() as forgotten:
        folder = args.json.with_name(f"{args.json.stem}-runs") if args.json else Path(forgotten)
        rows: list[dict[str, Any]] = []
        known = {}
        for seed in range(args.first_seed, args.first_seed + args.seeds):
            control = Control(folder, args.data, table.ops, settings, seed)
            known[seed] = accuracy[control.chosen]
            path = control.folder / "rows.jsonl"
            for method in methods:
                if method not in [row["method"] for row in read_jsonl(path)]:
                    append_jsonl(path, [row_of(method, control, accuracy, within)])
            rows += [row for row in read_jsonl(path) if row["method"] in methods]
    single, means = compared(rows, known)
    show([*single, *means])
    if args.json:
        record = {"heap_kept": KEPT, "settings": asdict(settings), "rows": single, "means": means}
        figures.write(args.json, {**record, "derived_accuracy_as_published": PUBLISHED})


if __name__ == "__main__":
    main()
