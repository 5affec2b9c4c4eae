"""How far the accuracy that a run promises of its winners, on validation images, is from that on test images.

    python benchmarks/val_test.py [--seeds 20] [--epochs 20] [--json OUT]

Each seed is one run of the digits with another split, one budget about the worst case and one about the mean. Printed
are the mean of validation less test accuracy, which is 0 where nothing promises too much, the mean distance, and the
standard error of one difference of that many images; for the promise of `verify.json`, and for thresholds judged on the
images that they were chosen on. Seeds that are done stand in OUT with the suffix `.jsonl` and are not run again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import figures
import numpy as np
import yaml

from nas.exits.thresholds import exit_index

BUDGETS = ({"name": "worst", "latency": "0.08 ms"}, {"name": "mean", "latency": "0.05 ms", "of": "expected"})


def experiment(seed: int, epochs: int) -> dict[str, Any]:
    """A run of about half a minute."""
    return {
        "name": "digits",
        "seed": seed,
        "data": "digits",
        "space": {"name": "mobile", "table": "8x8"},
        "target": {"device": "host", "runner": "onnxruntime"},
        "budgets": list(BUDGETS),
        "supernet": {"epochs": epochs},
        "search": {"evaluations": 128},
        "winners": {"epochs": epochs},
        "verify": {"tvm": False},
    }


def differences(seed: int, epochs: int) -> list[dict[str, Any]]:
    """What a run says of its winners: accuracies on validation and test images, and of how many."""
    with tempfile.TemporaryDirectory() as folder:
        file, out = Path(folder) / "digits.yaml", Path(folder) / "run"
        file.write_text(yaml.safe_dump(experiment(seed, epochs)))
        command = [sys.executable, "-m", "nas", "run", str(file), "--out", str(out)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if not (out / "test.json").is_file():
            raise SystemExit(f"seed {seed} ended with {done.returncode}: {done.stderr.strip()[-300:]}")
        measured, tested = (json.loads((out / name).read_text())["winners"] for name in ("verify.json", "test.json"))
        rows = []
        for was, now in zip(measured, tested, strict=True):
            winner = out / "winners" / was["name"]
            with np.load(winner / "scores.npz") as scores:
                confidence, correct = scores["confidence"], scores["correct"]
            settled = [np.inf if exit_["threshold"] is None else exit_["threshold"] for exit_ in was["exits"][:-1]]
            leaving = exit_index(settled, confidence)
            rows.append(
                {
                    "seed": seed,
                    "budget": was["name"],
                    "exits": len(was["exits"]),
                    "val": was["accuracy"]["val"],
                    "val_where_chosen": float(correct[np.arange(len(leaving)), leaving].mean()),
                    "val_images": len(leaving),
                    "test": now["accuracy"]["test_exported"],
                    "test_images": now["accuracy"]["images"],
                }
            )
        return rows


def summary(rows: list[dict[str, Any]], promise: str) -> dict[str, float]:
    """Mean difference and distance in points, and the standard error of one difference."""
    found = 100 * np.array([row[promise] - row["test"] for row in rows])
    error = [
        100 * np.sqrt(row["test"] * (1 - row["test"]) * (1 / row["val_images"] + 1 / row["test_images"]))
        for row in rows
    ]
    return {
        "mean_difference": float(found.mean()),
        "mean_difference_se": float(found.std(ddof=1) / np.sqrt(len(found))) if len(found) > 1 else float("nan"),
        "mean_distance": float(np.abs(found).mean()),
        "standard_error_of_one": float(np.mean(error)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    log = None if args.json is None else args.json.with_suffix(".jsonl")
    rows = [json.loads(line) for line in log.read_text().splitlines()] if log is not None and log.exists() else []
    for seed in range(args.seeds):
        if any(row["seed"] == seed for row in rows):
            continue
        new = differences(seed, args.epochs)
        rows += new
        for row in new:
            print(f"seed {seed} {row['budget']:<6} val {row['val']:.2%} test {row['test']:.2%}", flush=True)
        if log is not None:
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("a") as file:
                file.writelines(json.dumps(row) + "\n" for row in new)
    results = {}
    for name in ("all", *(str(budget["name"]) for budget in BUDGETS)):
        chosen = [row for row in rows if name in ("all", row["budget"])]
        for promise in ("val", "val_where_chosen"):
            found = results[f"{name}/{promise}"] = {"winners": len(chosen), **summary(chosen, promise)}
            print(
                f"{name:<6}{promise:<18}{found['winners']:>4} winners: val - test {found['mean_difference']:+.2f} +- "
                f"{found['mean_difference_se']:.2f} points, |val - test| {found['mean_distance']:.2f}, standard error "
                f"of one {found['standard_error_of_one']:.2f}"
            )
    if args.json:
        figures.write(args.json, {"rows": rows, "summary": results})


if __name__ == "__main__":
    main()
