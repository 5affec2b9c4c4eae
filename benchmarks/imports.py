"""How long the command line takes to answer: CPU seconds of `nas --help`, beside those of an empty Python program.

    python benchmarks/imports.py --runs 20

The target is 0.1 s of CPU time. Exits 1 where the median is above it.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import figures

TARGET_S = 0.1
COMMANDS: dict[str, list[str]] = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "nas --help": [sys.executable, "-m", "nas", "--help"],
    "nas devices": [sys.executable, "-m", "nas", "devices"],
}


def cpu_seconds(command: Sequence[str]) -> float:
    """CPU seconds, user and system, of one run of a command. Raises CalledProcessError."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def measure(runs: int) -> dict[str, dict[str, float]]:
    """Minimum, median and maximum of each command over `runs` runs, interleaved, after one that warms the disk."""
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for number in range(runs + 1):
        for name, command in COMMANDS.items():
            taken = cpu_seconds(command)
            if number:
                seconds[name].append(taken)
    return {
        name: {"min_s": min(values), "median_s": statistics.median(values), "max_s": max(values)}
        for name, values in seconds.items()
    }


def main() -> int:
    """Measure, print the table, write the JSON; 1 if the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    arguments = parser.parse_args()
    found = measure(arguments.runs)
    print(f"CPU seconds over {arguments.runs} runs        min   median      max")
    for name, row in found.items():
        print(f"{name:<28}{row['min_s']:9.3f}{row['median_s']:9.3f}{row['max_s']:9.3f}")
    kept = found["nas --help"]["median_s"] <= TARGET_S
    print(f"target for nas --help: {TARGET_S} s, {'kept' if kept else 'missed'}")
    if arguments.json:
        record = {"runs": arguments.runs, "target_s": TARGET_S, "kept": kept, "cpu_seconds": found}
        figures.write(arguments.json, record)
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
