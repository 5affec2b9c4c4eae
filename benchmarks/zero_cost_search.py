"""What zero-cost scores and multiply-adds as features bring the accuracy predictor, on a table where all is known.

    python benchmarks/zero_cost_search.py --data CIFAR --accuracy ACCURACY.npz [--seeds 3 --json OUT]

The searcher `predictor` on NAS-Bench-201 as in `search_tabular.py`: HELP's six test devices, budgets at five quantiles
of their latencies, regret in points against the best network within the budget. Its model sees the latency alone, or
multiply-adds too, or these and jacob_cov, of networks at the reduced size of `zero_cost.py` with half of its images.
Differences are paired over devices, budgets and seeds (Wilcoxon's signed-rank test, two-sided, not corrected).
"""

from __future__ import annotations

from kept_heap import KEPT

# isort: split

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import figures
import numpy as np
import zero_cost
from numpy.typing import NDArray
from scipy.stats import wilcoxon

from latency_models.table import HELP_TEST, nb201
from nas.search.evaluators.table import Rows, TableProblem, load_accuracy
from nas.searchers.predictor import Predictor
from search_spaces.nasbench201 import nasbench201
from search_spaces.slots import Genomes

Floats = NDArray[np.float64]

QUANTILES: Final = (0.1, 0.3, 0.5, 0.7, 0.9)
QUERIES: Final = (20, 50, 100)
BATCH: Final = 5
IMAGES: Final = zero_cost.IMAGES // 2


@dataclass(frozen=True, eq=False)
class Known(TableProblem):
    """A table beside which more is known of every row [n, features]; satisfies `searchers.base.Featured`."""

    more: Floats | None = None

    def features(self, genomes: Genomes) -> Floats:
        """The features of genomes of the table [n, features]."""
        return np.empty((len(genomes), 0)) if self.more is None else self.more[self.rows.find(genomes)]


def features(data: Path, genomes: Genomes) -> dict[str, Floats | None]:
    """What may be known of each network, by what it is called."""
    space = nasbench201((3, zero_cost.SIZE, zero_cost.SIZE), 10, channels=zero_cost.CHANNELS, cells=zero_cost.CELLS)
    different, place = np.unique(space.canonical(genomes), axis=0, return_inverse=True)
    macs = np.log(zero_cost.multiply_adds(space, different))[place]
    scored, _ = zero_cost.scored(space, different, zero_cost.inputs(data, IMAGES, 0), 0, ("jacob_cov",))
    both = np.column_stack((macs, scored["jacob_cov"][place]))
    return {"latency": None, "latency, macs": both[:, :1], "latency, macs, jacob_cov": both}


def regret(problem: Known, accuracy: Floats) -> list[float]:
    """The regret of the predictor after each number of QUERIES, in points."""
    searcher, judged = Predictor(problem), list[int]()
    within = problem.latency_s <= problem.budgets_s[0]
    while len(judged) < QUERIES[-1]:
        genomes = searcher.ask(BATCH)
        found = problem.rows.find(genomes)
        searcher.tell(genomes, (100 - accuracy[found])[:, None], problem.free_objectives(genomes)[1])
        judged += found.tolist()
    best = np.maximum.accumulate(np.where(within[judged], accuracy[judged], -np.inf))
    return [float(accuracy[within].max() - best[n - 1]) for n in QUERIES]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of CIFAR-10's python version")
    parser.add_argument("--accuracy", type=Path, required=True, help="the accuracies of NAS-Bench-201's networks")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    table = nb201()
    accuracy, places = 100 * load_accuracy(args.accuracy, table)[:, 0], Rows(table.ops)
    rows: list[dict[str, Any]] = []
    for name, more in features(args.data, table.ops).items():
        for device in HELP_TEST:
            latency_s = table.column(device)
            for quantile in QUANTILES:
                budget_s = float(np.nanquantile(latency_s, quantile))
                for seed in range(args.seeds):
                    problem = Known(places, latency_s, (budget_s,), seed, more=more)
                    found = regret(problem, accuracy)
                    rows.append(
                        {"features": name, "device": device, "quantile": quantile, "seed": seed, "regret": found}
                    )
    names = list(dict.fromkeys(row["features"] for row in rows))
    by = {name: np.array([row["regret"] for row in rows if row["features"] == name]) for name in names}
    print(f"{len(HELP_TEST)} devices, {len(QUANTILES)} budgets, {args.seeds} seeds; heap kept: {KEPT}")
    print(f"{'the model sees':<28}" + "".join(f"{f'{n} judged':>22}" for n in QUERIES))
    for name in names:
        line = f"{name:<28}"
        for column in range(len(QUERIES)):
            difference = by[name][:, column] - by[names[0]][:, column]
            text = f" (p = {wilcoxon(difference).pvalue:.0e})" if difference.any() else ""
            line += f"{f'{by[name][:, column].mean():.3f}{text}':>22}"
        print(line)
    if args.json:
        figures.write(args.json, {"queries": QUERIES, "rows": rows})


if __name__ == "__main__":
    main()
