"""Whether shared weights are trained, networks judged and a killed run resumed on a GPU, and how fast beside this CPU.

    pip install '.[cuda]'
    python benchmarks/gpu.py [--epochs 30] [--json OUT]

One experiment (digits, the mobile space, a differentiable search in turns) goes as far as its front four times: on the
GPU; on the GPU, killed in the middle of the supernet's training and resumed; on the CPU; and what the first has begun
is resumed on the CPU, which has to be refused. Minutes in all. Where JAX sees no GPU that is said, and nothing else is
done: the exit code is 0, and a JSON has the reason. Exits 1 where something goes wrong on a GPU.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import figures
import yaml

from nas.run.layout import RunFiles
from nas.run.trial import load_batches

#: The GPU computes in an order of its own otherwise, and a resumed training would differ in its last digits.
DETERMINISTIC = "--xla_gpu_deterministic_ops=true"
#: Best accuracies on the two, and of the resumed run, differ by no more: a few images of the validation part.
ALLOWED = 0.05


def main() -> int:
    """Print what was found; 1 where something went wrong on a GPU."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=30, help="of the supernet")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    arguments = parser.parse_args()
    device, reason = gpu()
    record: dict[str, Any] = {"device": device, "skipped": reason}
    if reason:
        print(f"skipped: {reason}")
    else:
        with TemporaryDirectory() as folder:
            record |= tried(Path(folder), arguments.epochs)
        for name, value in record.items():
            print(f"{name}: {value}")
    if arguments.json:
        figures.write(arguments.json, record)
    return 0 if reason or record["good"] else 1


def gpu() -> tuple[str | None, str]:
    """The GPU that JAX sees, or why there is none."""
    code = "import jax; print(jax.devices('gpu')[0].device_kind)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no answer"])[-1]
        return None, f"JAX sees no GPU here ({last[:200]})"
    return done.stdout.strip(), ""


def experiment(epochs: int) -> dict[str, Any]:
    """An experiment that is over in a minute or two."""
    return {
        "name": "gpu",
        "data": {"name": "digits"},
        "space": {"name": "mobile", "table": "8x8"},
        "target": {"device": "host", "runner": "onnxruntime"},
        "budgets": [{"name": "worst", "latency": "200 ms"}],
        "calibration": {"networks": 4},
        "supernet": {"epochs": epochs},
        "search": {"evaluations": 60, "optimiser": {"name": "differentiable", "steps": 200}},
    }


def command(backend: str, path: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    """`nas search`, begun on a backend."""
    environment = {**os.environ, "JAX_PLATFORMS": "cuda" if backend == "gpu" else "cpu", "XLA_FLAGS": DETERMINISTIC}
    if backend == "cpu":
        environment.pop("XLA_FLAGS")
    return subprocess.Popen(
        [sys.executable, "-m", "nas", "search", str(path), "--out", str(out), *more],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def finished(process: subprocess.Popen[str]) -> tuple[int, str]:
    """The exit code of a command, and what it said on standard error."""
    said = process.communicate()[1]
    return process.returncode, said


def tried(folder: Path, epochs: int) -> dict[str, Any]:
    """All four."""
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(experiment(epochs)))
    seconds, codes = {}, {}
    for backend in ("gpu", "cpu"):
        begun = time.perf_counter()
        codes[backend], _ = finished(command(backend, path, folder / backend))
        seconds[backend] = time.perf_counter() - begun
    killed = command("gpu", path, folder / "killed")
    checkpoint = RunFiles(folder / "killed").supernet
    while killed.poll() is None and not checkpoint.exists():
        time.sleep(0.2)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    refused, said = finished(command("cpu", path, folder / "killed", "--resume"))
    codes["resumed"], _ = finished(command("gpu", path, folder / "killed", "--resume"))
    best = {name: best_accuracy(folder / name) for name in ("gpu", "cpu", "killed")}
    good = (
        set(codes.values()) == {0}
        and refused == 2
        and "backend gpu" in said
        and max(best.values()) - min(best.values()) <= ALLOWED
    )
    return {"seconds": seconds, "exit_codes": codes, "refused_on_cpu": refused, "best_accuracy": best, "good": good}


def best_accuracy(run: Path) -> float:
    """The best validation accuracy of a run's trials."""
    trials = [trial for batch in load_batches(RunFiles(run).trials) for trial in batch]
    return max((at.accuracy for trial in trials for at in trial.budgets if at is not None), default=float("nan"))


if __name__ == "__main__":
    sys.exit(main())
