"""How well latencies of this machine are predicted: ONNX Runtime, one thread, the mobile space at two input sizes.

    python benchmarks/host_latency.py [--tables 28x28 32x32] [--measurements FILE] [--json OUT] [--seeds 10]

A pool of networks is measured once: the smallest, the largest and random ones. For each seed ten of them calibrate (the
smallest, the largest and eight random ones, as `nas run` takes them) and sixty others are the test. Rows: multiply-adds
and a constant, fitted to the ten; the roofline as the profile gives it; the calibrated roofline; a look-up table of
every kernel of the space measured alone, with its terms fitted to the ten; an additive table and a perceptron fitted
to 500 other networks, measured more quickly. Then winners: for each of five budgets the networks with the most
multiply-adds that the calibrated roofline takes to fit, predicted against measured. Choosing by a prediction favours
the networks for which it errs low, so these come apart.

Shares are fractions. `coverage_90` is the share of measured seconds within the interval of 90 %, `half_width` half its
width relative to the prediction. "drift" is the largest departure of a reference network, measured throughout, from its
median; "unstable" counts networks whose passes differ by more than 10 %: they are kept in all figures.
With --measurements the campaign is kept in a file, continues where it was killed, and is analysed again at no cost.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import figures
import host_campaign as campaign_
import numpy as np
from host_campaign import TARGET, Campaign, Genome
from numpy.typing import NDArray
from scipy.stats import spearmanr

from latency_models import mlp
from latency_models.additive import compile as compile_tables
from latency_models.flops import Flops
from latency_models.kernels import KernelTable, Signature
from latency_models.lookup import LookUp
from latency_models.roofline import LinearModel, Roofline
from nas.process.heap import keep_heap
from search_spaces.ir import Network
from search_spaces.slots import SearchSpace, random_genomes, sizes

Floats = NDArray[np.float64]
UNSTABLE = 0.10
#: Budgets of the winners, as quantiles of the predicted latency of random networks, and winners of each.
BUDGETS, PER_BUDGET = (0.1, 0.3, 0.5, 0.7, 0.9), 4
SEARCHED = 100_000


@dataclass(frozen=True, eq=False)
class Measured:
    """Networks of one table with their median seconds to each exit, and the tables of kernels."""

    table: str
    space: SearchSpace
    genomes: list[Genome]
    networks: list[Network]
    cumulative_s: list[Floats]
    unstable: int

    @property
    def total_s(self) -> Floats:
        """Seconds to the last exit [n]."""
        return np.array([cumulative[-1] for cumulative in self.cumulative_s])


@dataclass(frozen=True, eq=False)
class Guess:
    """Seconds predicted for the test networks and the ends of their 90 % intervals, NaN where a row has none."""

    seconds: Floats
    low: Floats
    high: Floats


def read(campaign: Campaign, table: str, kind: str) -> Measured:
    """What the campaign measured of a kind: medians over its passes."""
    space = campaign_.space_of(table)
    found = campaign_.measured(campaign, table, kind)
    last = [passes[:, -1] for passes in found.values()]
    return Measured(
        table,
        space,
        list(found),
        [space.decode(genome) for genome in found],
        [np.median(passes, axis=0) for passes in found.values()],
        sum(bool(seconds.max() > (1 + UNSTABLE) * seconds.min()) for seconds in last),
    )


def take(campaign: Campaign, table: str, args: argparse.Namespace) -> None:
    """Measure what is missing: passes over the pool with everything else in between."""
    space = campaign_.space_of(table)
    pool = campaign_.pool(space, args.calibration + args.test, args.seed)
    drawn = random_genomes(space, 2 * args.many + 50, np.random.default_rng(args.seed + 1))
    many = [g for g in dict.fromkeys(map(tuple, drawn.tolist())) if g not in set(pool)][: args.many]
    parts: list[Callable[[], None]] = [
        lambda: campaign_.quick(campaign, table, many[: len(many) // 2]),
        lambda: campaign_.kernels(campaign, table),
        lambda: campaign_.quick(campaign, table, many[len(many) // 2 :]),
    ]
    for number in range(args.passes):
        campaign_.well(campaign, table, "well", pool, number, args.seed)
        if number < len(parts):
            parts[number]()
    for part in parts[args.passes :]:
        part()


def padded(rows: Sequence[Floats]) -> Floats:
    """Seconds to each exit as one array [n, most exits], NaN where there is none."""
    out = np.full((len(rows), max(map(len, rows))), np.nan)
    for row, values in zip(out, rows, strict=True):
        row[: len(values)] = values
    return out


def by_model(model: LinearModel, networks: Sequence[Network]) -> Guess:
    """What a latency model says."""
    prediction = model.predict(networks)
    return Guess(prediction.total_s, prediction.quantile_s(0.05), prediction.quantile_s(0.95))


def by_relative_error(seconds: Floats, error: float) -> Guess:
    """Seconds with normal errors of one relative size."""
    return Guess(seconds, seconds * (1 - 1.645 * error), seconds * (1 + 1.645 * error))


def additive_of_onehot(genomes: Sequence[Genome], seconds: Floats, options: NDArray[np.int64]) -> Callable[..., Guess]:
    """Seconds as a sum over genes: ridge on one-hot genes, relative errors, strength by five-fold cross-validation."""
    x = mlp.onehot(np.array(genomes), options.tolist()).astype(np.float64)
    x = np.concatenate((x, np.ones((len(x), 1))), axis=1)

    def solve(rows: NDArray[np.intp], ridge: float) -> Floats:
        weighted = x[rows] / seconds[rows, None]
        left = weighted.T @ weighted + ridge * np.diag(np.mean(weighted**2, axis=0) + 1e-12)
        return np.asarray(np.linalg.solve(left, weighted.sum(axis=0)))

    fold = np.random.default_rng(0).permutation(len(x)) % 5
    errors = {}
    for ridge in (0.1, 1.0, 10.0, 100.0):
        left_out = [x[fold == f] @ solve(np.flatnonzero(fold != f), ridge) / seconds[fold == f] - 1 for f in range(5)]
        errors[ridge] = float(np.sqrt(np.mean(np.concatenate(left_out) ** 2)))
    best = min(errors, key=errors.__getitem__)
    coefficients = solve(np.arange(len(x)), best)

    def guess(wanted: Sequence[Genome]) -> Guess:
        rows = mlp.onehot(np.array(wanted), options.tolist()).astype(np.float64)
        return by_relative_error(rows @ coefficients[:-1] + coefficients[-1], errors[best])

    return guess


def scores(guess: Guess, measured: Floats) -> dict[str, float]:
    """The figures of one row, one seed."""
    error = guess.seconds / measured - 1
    return {
        "within_10": float(np.mean(np.abs(error) <= 0.1)),
        "spearman": float(spearmanr(guess.seconds, measured).statistic),
        "median_error": float(np.median(np.abs(error))),
        "bias": float(np.median(error)),
        "coverage_90": float(np.mean((guess.low <= measured) & (measured <= guess.high))),
        "half_width": float(np.mean((guess.high - guess.low) / 2 / guess.seconds)),
    }


def evaluate(campaign: Campaign, table: str, args: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows of one table: means over the seeds, with standard deviations beside."""
    profile = campaign.profile()
    pool, quick = read(campaign, table, "well"), read(campaign, table, "quick")
    options = sizes(pool.space)
    entries = {Signature.of_text(r["signature"]): float(r["seconds"]) for r in campaign.of("kernel", table)}
    bare: dict[str, LinearModel] = {
        "flops": Flops(profile, TARGET),
        "roofline, plain": Roofline(profile, TARGET),
        "roofline, calibrated": Roofline(profile, TARGET),
        "look-up, as measured": LookUp.of_table(profile, TARGET, KernelTable(entries)),
        "look-up, with terms": LookUp.of_table(profile, TARGET, KernelTable(entries)),
    }
    additive = additive_of_onehot(quick.genomes, quick.total_s, options)
    found: dict[str, list[dict[str, float]]] = {}
    for seed in range(args.seeds):
        chosen, tested = split(len(pool.genomes), args.calibration, seed)
        measured = pool.total_s[tested]
        networks = [pool.networks[i] for i in tested]
        genomes = [pool.genomes[i] for i in tested]
        for name, model in bare.items():
            if name not in ("roofline, plain", "look-up, as measured"):
                cumulative = padded([pool.cumulative_s[i] for i in chosen])
                model = model.fit([pool.networks[i] for i in chosen], cumulative)
            found.setdefault(name, []).append(scores(by_model(model, networks), measured))
        found.setdefault("additive, 500", []).append(scores(additive(genomes), measured))
        if seed < args.mlp_seeds:
            net = mlp.fit(TARGET, options.tolist(), np.array(quick.genomes), quick.total_s, seed)
            guess = by_relative_error(net.latency_s(np.array(genomes)), net.error)
            found.setdefault("perceptron, 500", []).append(scores(guess, measured))
    ten, many = args.calibration, len(quick.genomes)
    samples = {"roofline, plain": 0, "look-up, as measured": 0, "additive, 500": many, "perceptron, 500": many}
    return [
        {"table": table, "method": name, "samples": samples.get(name, ten), "test": len(tested), "seeds": len(rows)}
        | {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
        | {f"{key}_std": float(np.std([row[key] for row in rows])) for key in rows[0]}
        for name, rows in found.items()
    ]


def split(count: int, calibration: int, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Indices of the networks to calibrate with, the first two (the smallest and the largest) always, and the rest."""
    others = np.random.default_rng(seed).permutation(np.arange(2, count))
    cut = calibration - 2
    return np.concatenate(([0, 1], others[:cut])), np.sort(others[cut:])


def winners(campaign: Campaign, table: str, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Search with the model calibrated by seed 0, measure what it chooses, and compare."""
    pool, space = read(campaign, table, "well"), campaign_.space_of(table)
    calibrating, _ = split(len(pool.genomes), args.calibration, 0)
    cumulative = padded([pool.cumulative_s[i] for i in calibrating])
    model = Roofline(campaign.profile(), TARGET).fit([pool.networks[i] for i in calibrating], cumulative)
    compiled = compile_tables(space, model)
    genomes = random_genomes(space, SEARCHED, np.random.default_rng(args.seed + 2))
    predicted, macs = compiled.latency_s(genomes), compiled.tables("macs").total(genomes)
    chosen: dict[Genome, float] = {}
    for budget in np.quantile(predicted, BUDGETS):
        fits = np.flatnonzero(predicted <= budget)
        for index in fits[np.argsort(-macs[fits])][:PER_BUDGET]:
            chosen.setdefault(tuple(genomes[index].tolist()), float(budget))
    for number in range(args.passes):
        campaign_.well(campaign, table, "winner", list(chosen), number, args.seed)
    found = read(campaign, table, "winner")
    place = [found.genomes.index(genome) for genome in chosen]
    measured, guess = found.total_s[place], by_model(model, [found.networks[i] for i in place])
    budgets = np.array(list(chosen.values()))
    margin = 1 + model.error.relative
    over = measured > budgets
    return [
        {"table": table, "method": "winners of a search", "samples": args.calibration, "test": len(place)}
        | scores(guess, measured)
        | {
            "over_budget": float(np.mean(over)),
            "worst_excess": float(np.max(measured / budgets - 1)),
            "over_budget_by_more_than_the_error": float(np.mean(measured > budgets * margin)),
        }
    ]


def show(table: str, rows: Sequence[dict[str, Any]], drift: float, readings: int, unstable: int) -> None:
    """Print one table."""
    print(f"\n{table}: drift of the reference {drift:.1%} over {readings} readings, {unstable} unstable networks")
    print(
        f"{'method':>22} {'networks':>8} {'within 10 %':>14} {'Spearman':>17} {'median error':>12} {'bias':>7} "
        f"{'in 90 %':>14} {'half width':>10}"
    )
    for row in rows:
        print(
            f"{row['method']:>22} {row['samples']:>8} {row['within_10']:>7.3f} ±{row.get('within_10_std', 0):<5.3f} "
            f"{row['spearman']:>9.4f} ±{row.get('spearman_std', 0):<6.4f} {row['median_error']:>12.3f} "
            f"{row['bias']:>7.3f} {row['coverage_90']:>7.3f} ±{row.get('coverage_90_std', 0):<5.3f} "
            f"{row['half_width']:>10.3f}"
        )
    won = rows[-1]
    print(
        f"of {won['test']} winners {won['over_budget']:.0%} are over their budget, by {won['worst_excess']:.1%} at "
        f"most; {won['over_budget_by_more_than_the_error']:.0%} by more than the model's error"
    )


def main() -> None:
    keep_heap()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", nargs="+", default=["28x28", "32x32"], help="rows of the mobile space's tables")
    parser.add_argument("--calibration", type=int, default=10)
    parser.add_argument("--test", type=int, default=60)
    parser.add_argument("--many", type=int, default=500, help="networks measured quickly")
    parser.add_argument("--passes", type=int, default=5, help="passes over the pool, spread over the campaign")
    parser.add_argument("--seeds", type=int, default=10, help="choices of the calibration networks")
    parser.add_argument("--mlp-seeds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0, help="of the pool")
    parser.add_argument("--measurements", type=Path, help="where the campaign is kept, and read from")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    campaign = Campaign.open(args.measurements)
    profile = campaign.profile()
    machine: dict[str, Any] = {"name": profile.name, "cores": int(profile.cores), "drift": {}, "unstable": {}}
    rows: list[dict[str, Any]] = []
    for table in args.tables:
        take(campaign, table, args)
        chosen = winners(campaign, table, args)
        found = evaluate(campaign, table, args) + chosen
        rows += found
        machine["drift"][table], readings = campaign_.drift(campaign, table)
        machine["unstable"][table] = read(campaign, table, "well").unstable
        show(table, found, machine["drift"][table], readings, machine["unstable"][table])
    if args.json:
        figures.write(args.json, {"machine": machine, "rows": rows})


if __name__ == "__main__":
    main()
