"""What a search costs beside its evaluations: genomes scored per second, and seconds per generation of 100.

    python benchmarks/throughput.py [--generations 10] [--repeats 3] [--json OUT]

Scoring: canonical form, removal of duplicates and additive latency of random genomes of the `mobile` space. Overhead:
wall time of asking for 100 genomes, pricing them and telling their values, evaluations left out, over generations that
start empty, under a latency budget that half of the genomes keep. pymoo and Optuna do the same in the same run, with
the filter of `search_peers`, but at most one round of proposals per network: what cannot be used is not drawn again. A
row is left out with a sentence where one is not installed. The targets are a million genomes per second and 20 ms per
generation.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import figures
import numpy as np
from numpy.typing import NDArray
from search_peers import PEERS, Filtered

from hardware_profiles import Target, load
from latency_models.additive import Additive, unique
from latency_models.additive import compile as compile_tables
from latency_models.roofline import Roofline
from nas.config.registry import load as load_class
from nas.searchers import SEARCHERS
from nas.searchers.base import Genomes, least_violation
from search_spaces.mobile import mobile
from search_spaces.slots import random_genomes, sizes
from search_spaces.staged import StagedSpace

GENERATION = 100
TARGET_RATE, TARGET_S = 1e6, 0.020


@dataclass(frozen=True)
class Budgeted:
    """A mobile space under one budget, priced by tables: what a searcher sees of an experiment."""

    space: StagedSpace
    tables: Additive
    budget_s: float
    seed: int

    @property
    def sizes(self) -> NDArray[np.int64]:
        return sizes(self.space)

    @cached_property
    def ordinal(self) -> NDArray[np.bool_]:
        return np.array([gene.ordinal for gene in self.space.genes])

    def canonical(self, genomes: Genomes) -> Genomes:
        return self.space.canonical(genomes)

    def free_objectives(self, genomes: Genomes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        seconds = self.tables.latency_s(genomes)[:, None]
        return seconds, np.maximum(seconds / self.budget_s - 1, 0.0)

    def errors(self, genomes: Genomes) -> NDArray[np.float64]:
        """A smooth stand-in for an evaluation [n]: every gene wants to be large, neighbouring genes alike."""
        x = genomes / np.maximum(self.sizes - 1, 1)
        return np.asarray((1 - x).mean(axis=1) + 0.3 * np.abs(np.diff(x, axis=1)).mean(axis=1))


def scored_per_s(problem: Budgeted, count: int) -> float:
    """Genomes per second through canonical form, removal of duplicates and latency tables."""
    rng = np.random.default_rng(problem.seed)
    genomes = rng.integers(0, problem.sizes, size=(count, len(problem.sizes))).astype(np.uint8)
    start = time.perf_counter()
    canonical = problem.canonical(genomes)
    unique(canonical)
    problem.tables.latency_s(canonical)
    return count / (time.perf_counter() - start)


def overhead_s(method: str, problem: Budgeted, generations: int) -> list[float]:
    """Seconds of each generation of asking, pricing and telling."""
    outside: Filtered | None = None
    searcher: Any = None
    if method in PEERS:
        # The fall-back draws from networks that keep the budget; finding them is not the peer's work.
        pool = random_genomes(problem.space, 20_000, np.random.default_rng(problem.seed))
        pool = pool[least_violation(problem.free_objectives(pool)[1]) == 0]
        outside = Filtered(PEERS[method][1](problem), problem, pool, tries=1)
    else:
        searcher = load_class(SEARCHERS[method])(problem)
    spent = []
    for _ in range(generations):
        start = time.perf_counter()
        genomes: Any = (outside or searcher).ask(GENERATION)
        asked = time.perf_counter() - start
        errors = problem.errors(genomes)
        start = time.perf_counter()
        violation = problem.free_objectives(genomes)[1]
        if outside is not None:
            outside.tell(genomes, errors)
        else:
            searcher.tell(genomes, errors[:, None], violation)
        spent.append(asked + time.perf_counter() - start)
    return spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--genomes", type=int, default=1_000_000)
    parser.add_argument("--generations", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    space = mobile((3, 32, 32), 10)
    tables = compile_tables(space, Roofline(load("rpi4b"), Target("rpi4b", "onnxruntime")))
    budget_s = float(np.median(tables.latency_s(random_genomes(space, 1000, np.random.default_rng(0)))))
    problems = [Budgeted(space, tables, budget_s, seed) for seed in range(args.repeats)]
    rates = sorted(scored_per_s(problem, args.genomes) for problem in problems)
    middle = rates[len(rates) // 2]
    print(f"scored: {middle:,.0f} genomes/s ({rates[0]:,.0f}-{rates[-1]:,.0f}); target {TARGET_RATE:,.0f}")
    title = f"overhead per generation of {GENERATION}"
    print(f"{title:<32}{'median':>10}{'fastest':>10}{'slowest':>10}  target {TARGET_S * 1e3:.0f} ms")
    rows = []
    for method in [*(name for name in SEARCHERS if not name.startswith("optuna_")), *PEERS]:
        if method in PEERS and find_spec(PEERS[method][0]) is None:
            print(f"{method} is left out: {PEERS[method][0]} is not installed (pip install {PEERS[method][0]}).")
            continue
        spent = np.array([overhead_s(method, problem, args.generations) for problem in problems])
        median, low, high = float(np.median(spent)), float(spent.min()), float(spent.max())
        kept = "kept" if median < TARGET_S else "missed"
        mark = "outside" if method in PEERS else kept
        print(f"{method:<32}{median * 1e3:>7.1f} ms{low * 1e3:>7.1f} ms{high * 1e3:>7.1f} ms  {mark}", flush=True)
        rows.append({"method": method, "ours": method not in PEERS, "median_s": median, "min_s": low, "max_s": high})
    if args.json:
        record = {"genomes_per_s": middle, "genomes_per_s_min": rates[0], "genomes_per_s_max": rates[-1], "rows": rows}
        figures.write(args.json, record)


if __name__ == "__main__":
    main()
