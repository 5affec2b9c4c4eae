"""How much memory a run takes: the peak of each stage of `nas run`, as the kernel counts it.

Two runs: the quickstart, and `--images` images of 32x32 (noise) with a mobile space, where each training lasts
`--seconds`. Each is repeated, since the C heap does not end up alike twice. The peak is of resident memory and is set
back whenever a stage begins, so each row is one stage's own.

    python benchmarks/memory.py --images 20000 --repeats 3 --json memory.json
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import figures
import numpy as np

QUICKSTART = Path(__file__).parent.parent / "experiments" / "quickstart.yaml"
#: Between two looks at what stage a run is in.
POLL_S = 0.02
NOISE = """
name: noise
data: {{name: npz, path: {data}}}
target: {{device: host, runner: onnxruntime}}
budgets: [{{latency: 1 s}}]
calibration: {{networks: 4}}
supernet: {{epochs: 50, max_time: {seconds} s}}
search: {{evaluations: 24, batch: 8}}
winners: {{epochs: 50, max_time: {seconds} s, attempts: 1}}
verify: {{tvm: false, blocks: 3}}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=["quickstart", "noise"])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        noise = noise_experiment(Path(folder), arguments.images, arguments.seconds)
        for name, experiment in (("quickstart", QUICKSTART), ("noise", noise)):
            if arguments.only in (None, name):
                peaks = [peaks_of(experiment, Path(folder) / f"{name}{n}") for n in range(arguments.repeats)]
                rows += rows_of(name, peaks)
    print(f"{'run':12} {'stage':12} {'least MB':>9} {'median':>7} {'most':>7}")
    for row in rows:
        sizes = row["peak_mb"]
        print(f"{row['run']:12} {row['stage']:12} {min(sizes):9.0f} {statistics.median(sizes):7.0f} {max(sizes):7.0f}")
    if arguments.json:
        figures.write(arguments.json, {"images": arguments.images, "seconds": arguments.seconds, "rows": rows})


def noise_experiment(folder: Path, images: int, seconds: int) -> Path:
    """An experiment on pictures of noise in ten classes."""
    rng = np.random.default_rng(0)
    data = folder / "noise.npz"
    arrays: dict[str, Any] = {}
    for part, n in (("train", images), ("test", 1000)):
        arrays[f"x_{part}"] = rng.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8)
        arrays[f"y_{part}"] = rng.integers(0, 10, n)
    np.savez(data, **arrays)
    path = folder / "noise.yaml"
    path.write_text(NOISE.format(data=data, seconds=seconds))
    return path


def peaks_of(experiment: Path, out: Path) -> dict[str, float]:
    """Most resident megabytes in each stage of a run, and in all of it."""
    run = subprocess.Popen(
        [sys.executable, "-m", "nas", "run", str(experiment), "--out", str(out)],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    peaks: dict[str, float] = {}
    stage = "start"
    while run.poll() is None:
        if (size := peak_mb(run.pid)) is not None:
            peaks[stage] = max(peaks.get(stage, 0.0), size)
        if (now := stage_of(out / "log.jsonl")) not in (None, stage):
            stage = now
            Path(f"/proc/{run.pid}/clear_refs").write_text("5")
        time.sleep(POLL_S)
    if run.returncode not in (0, 3):
        sys.exit(run.stderr.read() if run.stderr else f"nas run ended with {run.returncode}")
    return peaks | {"whole": max(peaks.values())}


def peak_mb(process: int) -> float | None:
    """What the kernel has seen most of a process in memory; None when it is gone."""
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(found[1]) / 1024 if found else None


def stage_of(log: Path) -> str | None:
    """The stage that a run's log says has begun last."""
    if not log.exists():
        return None
    lines = log.read_text().rpartition("\n")[0].splitlines()
    stages = [event["stage"] for event in map(json.loads, lines) if event["event"] == "begin"]
    return stages[-1] if stages else None


def rows_of(name: str, peaks: list[dict[str, float]]) -> list[dict[str, Any]]:
    """A row per stage, in the order in which a run goes through them."""
    stages = max(peaks, key=len)
    return [
        {"run": name, "stage": stage, "peak_mb": [round(each[stage], 1) for each in peaks if stage in each]}
        for stage in stages
    ]


if __name__ == "__main__":
    main()
