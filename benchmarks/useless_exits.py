"""What exits without any information seem to gain: thresholds judged where they were chosen, and cross-fitted.

    python benchmarks/useless_exits.py [--images 300 1000 5000] [--error 0.04] [--json OUT]

Every exit is right as often as the last one (90 %), and its score says nothing. So no threshold gains anything, and
what is seen to be gained is what an estimate is off by. `apart`: exits are right on images of their own; `alike`: on
those of the last one, but for a twentieth. Costs rise evenly; the limit is the worst case, where the last exit is
within it, or 0.75 of that. `thresholds` has two early exits; `placement` chooses up to two of five possible ones as
well. Draws go on until the standard error of the cross-fitted gain is at most --error points, or --draws. Rows that are
done stand in OUT with the suffix `.jsonl` and are not drawn again.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import figures
import numpy as np

from nas.exits.cross_fit import DOUBT, CrossFitted
from nas.exits.placement import best_placement, placed_answers
from nas.exits.scores import Scores
from nas.exits.thresholds import Policies
from nas.process.files import append_jsonl, read_jsonl

RIGHT = 0.9
BATCH = 20


def drawn(n: int, exits: int, kind: str, rng: np.random.Generator) -> Scores:
    """Answers and scores [n, exits] of exits that are all alike."""
    other = rng.random((n, exits)) < RIGHT
    if kind == "apart":
        return Scores(rng.random((n, exits)), other)
    same = rng.random((n, 1)) < RIGHT
    return Scores(rng.random((n, exits)), np.where(rng.random((n, exits)) < 0.05, other, same))


def thresholds(found: Scores, limit: float) -> tuple[float, float]:
    """Accuracy of two exits' thresholds: where they were chosen, and cross-fitted."""
    cost = np.array([0.4, 0.7, 1.0])
    best, judged = (
        Policies.of(found.confidence, found.correct, cost).best(limit),
        CrossFitted.of(found, cost).best(limit),
    )
    if best is None or judged is None:
        raise AssertionError("the first exit is within the limit")
    return best.accuracy, judged[0].accuracy


def placement(found: Scores, limit: float) -> tuple[float, float]:
    """Accuracy of the best of 16 subsets of exits: where they were chosen, and cross-fitted."""
    body, head = np.linspace(0.2, 0.9, 6), np.full(6, 0.03)
    best = best_placement(found, body, head, limit, 2)
    if best is None:
        raise AssertionError("the first exit is within the limit")
    return best.policy.accuracy, float(placed_answers(found, body, head, limit, 2, DOUBT).mean())


WAYS = {"thresholds": (3, thresholds), "placement": (6, placement)}


def gains(n: int, kind: str, way: str, limit: float, error: float, most: int) -> dict[str, Any]:
    """Mean gain in points of both estimates over what is true, with their standard errors."""
    exits, estimate = WAYS[way]
    rng = np.random.default_rng((n, len(kind), len(way), int(100 * limit)))
    found: list[tuple[float, float]] = []
    while len(found) < most:
        for _ in range(BATCH):
            scores = drawn(n, exits, kind, rng)
            # Beside the same images' last exit, which varies as they do, where it is within the limit.
            true = float(scores.correct[:, -1].mean()) if limit >= 1 else RIGHT
            naive, fitted = estimate(scores, limit)
            found.append((100 * (naive - true), 100 * (fitted - true)))
        if np.std(found, axis=0)[1] / np.sqrt(len(found)) <= error:
            break
    mean, spread = np.mean(found, axis=0), np.std(found, axis=0, ddof=1) / np.sqrt(len(found))
    return {
        "images": n, "kind": kind, "way": way, "limit": limit, "draws": len(found),
        "judged_where_chosen": mean[0], "judged_where_chosen_se": spread[0],
        "cross_fitted": mean[1], "cross_fitted_se": spread[1],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[300, 1000, 5000])
    parser.add_argument("--error", type=float, default=0.04, help="points")
    parser.add_argument("--draws", type=int, default=2000, help="at most")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    done = args.json.with_suffix(".jsonl") if args.json else None
    known = [] if done is None else list(read_jsonl(done))
    rows = []
    print(f"{'':<34}{'gain in points, where chosen':>30}{'cross-fitted':>18}{'draws':>8}")
    for way in WAYS:
        for n in args.images:
            for kind in ("apart", "alike"):
                for limit in (1.0, 0.75):
                    asked = {"way": way, "images": n, "kind": kind, "limit": limit, "error": args.error}
                    asked |= {"most_draws": args.draws}
                    row = next((each for each in known if asked.items() <= each.items()), None)
                    if row is None:
                        row = {**gains(n, kind, way, limit, args.error, args.draws), **asked}
                        if done is not None:
                            append_jsonl(done, [row])
                    rows.append(row)
                    print(
                        f"{way:<12}{n:>6} images {kind}, {limit:<5}"
                        f"{row['judged_where_chosen']:>20.2f} +- {row['judged_where_chosen_se']:.2f}"
                        f"{row['cross_fitted']:>12.2f} +- {row['cross_fitted_se']:.2f}{row['draws']:>8}",
                        flush=True,
                    )
    if args.json:
        figures.write(args.json, {"rows": rows})


if __name__ == "__main__":
    main()
