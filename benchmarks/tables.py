"""How many genomes per second a mobile space canonicalises, scores and deduplicates with additive tables.

    python benchmarks/tables.py [--genomes 1000000] [--repeats 5] [--json OUT]

Beside it: the same latency model asked network by network (decode, then predict), and the multiply-adds from the same
tables. The largest relative difference between tables and networks is printed too. Median (minimum, maximum) of the
repeats, on the cores this process may use; the latency model is the uncalibrated roofline of a Raspberry Pi 4.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import figures
import numpy as np

from hardware_profiles import Target, load
from latency_models.additive import compile as compile_tables
from latency_models.additive import unique
from latency_models.roofline import Roofline
from search_spaces.mobile import TABLES, mobile
from search_spaces.slots import random_genomes, sizes


def rates(work: Callable[[], object], count: int, repeats: int) -> list[float]:
    """Items per second of each repeat, sorted."""
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        found.append(count / (time.perf_counter() - start))
    return sorted(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--genomes", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows = []
    print(f"{'table':>8} {'tables, genomes/s':>34} {'network by network':>20} {'ratio':>8} {'difference':>11}")
    for name, table in TABLES.items():
        space = mobile((3, *table.size), 10, name)
        model = Roofline(load("raspi4"), Target("rpi4b", "onnxruntime"))
        additive = compile_tables(space, model)
        rng = np.random.default_rng(0)
        genomes = rng.integers(0, sizes(space), size=(args.genomes, len(space.genes))).astype(np.uint8)

        def score(space: Any = space, additive: Any = additive, genomes: np.ndarray = genomes) -> None:
            canonical = space.canonical(genomes)
            unique(canonical)
            additive.latency_s(canonical)

        fast = rates(score, len(genomes), args.repeats)
        few = random_genomes(space, 100, rng)

        def one_by_one(space: Any = space, model: Any = model, few: np.ndarray = few) -> None:
            model.predict([space.decode(genome) for genome in few])

        slow = rates(one_by_one, len(few), 1)[0]
        networks = model.predict([space.decode(genome) for genome in few]).total_s
        difference = float(np.abs(additive.latency_s(few) / networks - 1).max())
        middle = fast[len(fast) // 2]
        spread = f"{middle:>12,.0f} ({fast[0]:,.0f}-{fast[-1]:,.0f})"
        print(f"{name:>8} {spread:>34} {slow:>20,.0f} {middle / slow:>8,.0f} {difference:>11.1e}")
        rows.append(
            {
                "table": name,
                "genomes_per_s": middle,
                "genomes_per_s_min": fast[0],
                "genomes_per_s_max": fast[-1],
                "network_by_network_per_s": slow,
                "largest_relative_difference": difference,
            }
        )
    if args.json:
        figures.write(args.json, {"rows": rows})


if __name__ == "__main__":
    main()
