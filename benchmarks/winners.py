"""What finished runs promised and kept: one line per budget, from its verify.json and test.json.

    nas run experiments/fashion_mnist.yaml && python benchmarks/winners.py runs/fashion_mnist [RUN ...] [--json OUT]

Beside each winner stands the ratio of its measured seconds to those of the run's first worst-case winner, and the
difference of their test accuracies: what the early exits of an expected budget save, and what they cost. `largest` is
the slowest network that calibration measured, the trivial baseline of not searching at all. One run is one seed; run
with --seed for more.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import figures

from nas.process.files import read_jsonl
from nas.run.layout import RunFiles
from nas.run.verdict_files import load_verdicts


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """The winners of one run as rows."""
    files = RunFiles(folder)
    winners = load_verdicts(files).winners
    calibration = [row for row in read_jsonl(files.measurements) if row["purpose"] == "calibration"]
    largest = max((m["exits"][-1]["median_s"] for m in calibration), default=None)
    first = next((winner for winner in winners if not winner.budget.needs_thresholds), None)
    rows = []
    for winner in winners:
        rows.append(
            {
                "run": folder.name,
                "budget": winner.name,
                "of": winner.budget.of,
                "budget_s": winner.budget_s,
                "predicted_s": winner.predicted_s,
                "measured_s": winner.measured_s,
                "upper_95_s": winner.upper_95_s,
                "kept": winner.kept,
                "exits": len(winner.exits),
                "test_accuracy": winner.test_accuracy,
                "interval": winner.interval,
                "ratio_to_first": _ratio(winner.measured_s, first.measured_s if first else None),
                "points_to_first": _points(winner.test_accuracy, first.test_accuracy if first else None),
                "largest_s": largest,
            }
        )
    return rows


def _ratio(seconds: float | None, first: float | None) -> float | None:
    return None if seconds is None or not first else seconds / first


def _points(accuracy: float | None, first: float | None) -> float | None:
    return None if accuracy is None or first is None else 100 * (accuracy - first)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows = [row for folder in args.runs for row in rows_of(folder)]
    print(
        f"{'run':>16} {'budget':>9} {'of':>10} {'limit':>8} {'predicted':>9} {'measured':>8} {'95 %':>8} {'kept':>5} "
        f"{'exits':>5} {'test %':>15} {'ratio':>6} {'points':>6} {'largest':>8}"
    )
    for row in rows:
        low, high = row["interval"]
        us = {key: f"{row[key] * 1e6:.0f} us" for key in row if key.endswith("_s") and row[key] is not None}
        print(
            f"{row['run']:>16} {row['budget']:>9} {row['of']:>10} {us['budget_s']:>8} {us['predicted_s']:>9} "
            f"{us.get('measured_s', '-'):>8} {us.get('upper_95_s', '-'):>8} {row['kept']!s:>5} {row['exits']:>5} "
            f"{100 * row['test_accuracy']:>5.2f} ({100 * low:.1f}-{100 * high:.1f}) "
            + (f"{row['ratio_to_first']:>6.2f} {row['points_to_first']:>+6.2f} " if row["ratio_to_first"] else "")
            + f"{us.get('largest_s', '-'):>8}"
        )
    if args.json:
        figures.write(args.json, {"rows": rows})


if __name__ == "__main__":
    main()
