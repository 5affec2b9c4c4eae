"""Whether the code at hand finds what the code of another commit finds, byte for byte.

    python tests/same_as.py BASE [--keep FOLDER]

Three small experiments run with the program of BASE, in a worktree of it, measuring as usual. Then the program at hand
runs them on the same machine with a device that answers from what the other one measured. Compared are trials.jsonl,
front.json, and the values of all tensors of the shared weights and of the winners' weights. Thresholds, verdicts and
manifests are not: they hang on readings of streams, which are not in the log. Takes about three minutes; exits 1 where
anything differs.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
#: What stands in a run when it begins to work: the experiment, and the machine as it was measured then.
OPENING = ("experiment.yaml", "environment.json")
BYTES = ("trials.jsonl", "front.json")
TENSORS = ("supernet.safetensors", "winners/*/weights.safetensors")

_BRIEF: dict[str, Any] = {
    "data": {"name": "digits"},
    "target": {"device": "host", "runner": "onnxruntime", "threads": 1},
    "calibration": {"networks": 4},
    "supernet": {"epochs": 3, "random_subnets": 1},
    "winners": {"epochs": 1, "candidates": 3, "attempts": 2},
    "verify": {"blocks": 3, "block_time": "10 ms", "samples": 40, "parity_samples": 32, "tvm": False},
}
_STAGES = [
    {"widths": [8, 12], "depths": [1, 2], "stride": 2, "options": {"kernel": [3], "expansion": [1, 2], "se": [False]}},
    {"widths": [16], "depths": [1, 2], "stride": 1, "options": {"kernel": [3, 5], "expansion": [2], "se": [False]}},
]
#: Evolution, the differentiable search with a prior, and choices between operators with a second device. The budgets of
#: some microseconds bind on a fast machine and cannot be kept on a slow one; either is compared.
EXPERIMENTS: tuple[dict[str, Any], ...] = (
    {
        **_BRIEF,
        "name": "evolution",
        "space": {"name": "mobile", "max_exits": 2, "stages": _STAGES},
        "budgets": [{"name": "worst", "latency": "200 ms"}, {"name": "mean", "latency": "12 us", "of": "expected"}],
        "search": {"evaluations": 20, "batch": 6, "images": 300, "calibration_images": 128},
    },
    {
        **_BRIEF,
        "name": "gradients",
        "space": {"name": "mobile", "max_exits": 2, "stages": _STAGES},
        "budgets": [{"name": "worst", "latency": "12 us"}, {"name": "mean", "latency": "200 ms", "of": "expected"}],
        "search": {
            "optimiser": {"name": "differentiable", "steps": 200},
            "searcher": {"name": "joint"},
            "evaluations": 18,
            "batch": 6,
            "images": 300,
            "calibration_images": 128,
        },
    },
    {
        **_BRIEF,
        "name": "choices",
        "seed": 3,
        "space": {"name": "toy", "width": 4, "max_exits": 1},
        "budgets": [
            {"name": "here", "latency": "1 ms"},
            {"name": "there", "latency": "20 ms", "target": {"device": "rpi4b", "runner": "onnxruntime"}},
        ],
        "search": {
            "searcher": {"name": "regularised"},
            "evaluations": 16,
            "batch": 4,
            "images": 300,
            "calibration_images": 128,
        },
        "winners": {"epochs": 1, "candidates": 3, "attempts": 2, "training": "scratch"},
    },
)


def compare(old: Path, new: Path) -> Iterator[str]:
    """What differs between two folders of the same run, one sentence each."""
    from nas.nn.weights import from_bytes

    for name in BYTES:
        if not (old / name).is_file() or not (new / name).is_file():
            yield f"{name} is missing"
        elif (old / name).read_bytes() != (new / name).read_bytes():
            yield f"{name} differs"
    for pattern in TENSORS:
        names = {path.relative_to(folder).as_posix() for folder in (old, new) for path in folder.glob(pattern)}
        if not names:
            yield f"{pattern} is missing"
        for name in sorted(names):
            if not (old / name).is_file() or not (new / name).is_file():
                yield f"{name} is missing in one of them"
                continue
            was, now = (from_bytes((folder / name).read_bytes())[0] for folder in (old, new))
            if set(was) != set(now):
                yield f"{name} has other tensors: {', '.join(sorted(set(was) ^ set(now))[:3])}"
            for key in sorted(set(was) & set(now)):
                if was[key].tobytes() != now[key].tobytes() or was[key].shape != now[key].shape:
                    yield f"{name}: {key} differs"


def replay(old: Path, new: Path) -> None:
    """Run the experiment of a finished run again with the code at hand, with the readings of that run."""
    from nas.config import parse
    from nas.devices.replay import Recording
    from nas.process.events import Voice
    from nas.run.folder import RunFolder
    from nas.run.opening import materials, open_context
    from nas.stages import order

    new.mkdir(parents=True)
    for name in OPENING:
        (new / name).write_bytes((old / name).read_bytes())
    experiment = parse.load(new / OPENING[0])
    found = materials(experiment, begun=True)
    with RunFolder.open(new, resume=True) as folder:
        recording = Recording(old / "measurements.jsonl")
        order.run(open_context(experiment, found, folder, Voice(), recording.device))


def _started(code: Path, *arguments: str, allowed: tuple[int, ...] = (0,)) -> None:
    environment = {**os.environ, "PYTHONPATH": str(code)}
    done = subprocess.run(
        [sys.executable, "-P", *arguments], cwd=code, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode not in allowed:
        raise SystemExit(f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def main() -> int:
    """Run everything, print what differs, and return 1 if anything does."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", metavar="BASE", help="a commit")
    parser.add_argument("--keep", metavar="FOLDER", type=Path, help="leave the runs there")
    parser.add_argument("--replay", nargs=2, metavar=("OLD", "NEW"), type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.replay:
        replay(*args.replay)
        return 0
    differences = []
    with TemporaryDirectory() as place:
        folder = args.keep.resolve() if args.keep else Path(place)
        folder.mkdir(parents=True, exist_ok=True)
        base = Path(place) / "base"
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", str(base), args.base], cwd=ROOT, check=True)
        try:
            for experiment in EXPERIMENTS:
                name = experiment["name"]
                file, old, new = folder / f"{name}.yaml", folder / f"{name}-old", folder / f"{name}-new"
                file.write_text(yaml.safe_dump(experiment))
                # 3: a budget was not kept, or a device is not here; what was found is compared all the same.
                _started(base, "-m", "nas", "run", str(file), "--out", str(old), allowed=(0, 3))
                _started(ROOT, str(Path(__file__).resolve()), args.base, "--replay", str(old), str(new))
                found = list(compare(old, new))
                print(f"{name}: {'; '.join(found) or 'the same'}", flush=True)
                differences += found
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(base)], cwd=ROOT, check=True)
    return 1 if differences else 0


if __name__ == "__main__":
    if not sys.flags.safe_path:
        sys.path[0] = str(ROOT)  # in place of this folder, in which there is a `nas` too: the tests
    sys.exit(main())
