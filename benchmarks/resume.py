"""Whether a run that is killed at any instant and resumed ends as one that was left alone, byte for byte.

    python benchmarks/resume.py --kills 10 --json resume.json

A small experiment runs once undisturbed. Then it is started again and again, killed with SIGKILL, and resumed until it
ends; trials.jsonl and front.json are compared. Every other instant is drawn uniformly over the undisturbed run's
duration; the others go through the stages in turn, uniformly within each, because some are short. All runs share what
is measured once: the latency readings and the profile of this machine, since a second measurement is never the same as
the first. Exits 1 where any run differs or cannot be resumed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import figures
import yaml

COMPARED = ("trials.jsonl", "front.json")
#: What a run has written when it begins to work: the experiment, and the machine as it was measured.
OPENING = ("experiment.yaml", "environment.json")
EXPERIMENT: dict[str, Any] = {
    "name": "small",
    "data": {"name": "digits"},
    "space": {
        "name": "mobile",
        "max_exits": 1,
        "stages": [
            {
                "widths": [8, 12],
                "depths": [1, 2],
                "stride": 2,
                "options": {"kernel": [3], "expansion": [1, 2], "se": [False]},
            }
        ],
    },
    "target": {"device": "host", "runner": "onnxruntime"},
    "budgets": [{"name": "worst", "latency": "200 ms"}, {"name": "mean", "latency": "200 ms", "of": "expected"}],
    "calibration": {"networks": 4},
    "supernet": {"epochs": 20, "random_subnets": 1},
    "search": {"evaluations": 24, "batch": 6, "calibration_images": 256},
    "winners": {"epochs": 5, "candidates": 4, "attempts": 2},
    "verify": {"blocks": 3, "block_time": "20 ms", "samples": 60, "tvm": False},
}


START = "start"


@dataclass(frozen=True)
class Kill:
    """One run that was killed `instant_s` seconds after the beginning of `since`, in `stage`, and how it ended."""

    since: str
    instant_s: float
    stage: str
    exit_code: int
    equal: dict[str, bool]

    @property
    def good(self) -> bool:
        """Whether it ended as the undisturbed run did."""
        return self.exit_code == 0 and all(self.equal.values())


class Runs:
    """Starts `nas run` in folders below `place`; compiled programs are kept in a cache of its own."""

    def __init__(self, place: Path, experiment: dict[str, Any]) -> None:
        self.place = place
        self._environment = {**os.environ, "XDG_CACHE_HOME": str(place / "cache")}
        self._experiment = experiment

    def start(self, name: str, **changes: Any) -> subprocess.Popen[bytes]:
        """Start or resume the run `name`, in a process group of its own."""
        file = self.place / f"{name}.yaml"
        file.write_text(yaml.safe_dump({**self._experiment, **changes}))
        return subprocess.Popen(
            [sys.executable, "-m", "nas", "run", str(file), "--out", str(self.place / name), "--resume"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=self._environment,
            start_new_session=True,
        )

    def finish(self, name: str, wanted: int = 0, **changes: Any) -> float:
        """Run `name` to its end; returns the seconds it took. Raises RuntimeError for another exit code."""
        begin = time.monotonic()
        process = self.start(name, **changes)
        _, err = process.communicate()
        if process.returncode != wanted:
            raise RuntimeError(f"{name} ended with {process.returncode}: {err.decode(errors='replace').strip()}")
        return time.monotonic() - begin

    def events(self, name: str) -> list[dict[str, Any]]:
        """The beginnings and ends of stages in the run `name`."""
        log = self.place / name / "log.jsonl"
        lines = log.read_bytes().split(b"\n")[:-1] if log.exists() else []
        return [event for event in map(json.loads, lines) if "stage" in event]

    def stage(self, name: str) -> str:
        """The stage that the run `name` was in when it ended."""
        events = self.events(name)
        if not events:
            return "start"
        return str(events[-1]["stage"]) + ("" if events[-1]["event"] == "begin" else " done")


def kill_and_resume(runs: Runs, name: str, since: str, instant_s: float, reference: Path) -> Kill:
    """Start a run, kill it `instant_s` seconds after a stage (or itself) begins, resume it to its end, compare it."""
    folder = runs.place / name
    folder.mkdir()
    for file in OPENING:
        shutil.copy(reference / file, folder)
    process = runs.start(name)
    while since != START and process.poll() is None and since not in [e["stage"] for e in runs.events(name)]:
        time.sleep(0.005)
    try:
        process.communicate(timeout=instant_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    stage = runs.stage(name)
    resumed = runs.start(name)
    _, err = resumed.communicate()
    if resumed.returncode:
        print(err.decode(errors="replace"), file=sys.stderr)
    equal = {
        file: (folder / file).is_file() and (folder / file).read_bytes() == (reference / file).read_bytes()
        for file in COMPARED
    }
    return Kill(since, round(instant_s, 3), stage, resumed.returncode, equal)


def compare(place: Path, kills: int, seed: int) -> tuple[float, list[Kill]]:
    """The undisturbed run's seconds, and what became of each killed one; prints a row for each as it ends."""
    # Nothing fits in a nanosecond: the run measures its networks and ends.
    impossible = [{"name": "worst", "latency": "1 ns"}]
    Runs(place, EXPERIMENT).finish("readings", wanted=3, budgets=impossible)
    readings = {**EXPERIMENT["calibration"], "measurements": str(place / "readings" / "measurements.jsonl")}
    runs = Runs(place, {**EXPERIMENT, "calibration": readings})
    runs.finish("compile")
    duration_s = runs.finish("reference")
    stages = {event["stage"]: event["seconds"] for event in runs.events("reference") if event["event"] == "end"}
    print(f"undisturbed: {duration_s:.1f} s; {kills} runs killed, instants drawn with seed {seed}")
    print(f"{'killed':<26}{'in stage':<16}{'ended with':>10}  " + "".join(f"{file:<14}" for file in COMPARED))
    drawn, found = random.Random(seed), []
    for number in range(kills):
        since, length_s = list(stages.items())[number // 2 % len(stages)] if number % 2 else (START, duration_s)
        kill = kill_and_resume(runs, f"killed-{number}", since, drawn.uniform(0, length_s), place / "reference")
        found.append(kill)
        row = "".join(f"{'equal' if kill.equal[file] else 'DIFFERENT':<14}" for file in COMPARED)
        print(f"{kill.instant_s:6.2f} s after {since:<10}{kill.stage:<16}{kill.exit_code:>10}  {row}", flush=True)
    return duration_s, found


def main() -> int:
    """Compare, write the JSON; 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10, help="runs that are killed once each")
    parser.add_argument("--seed", type=int, default=0, help="of the instants")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        duration_s, kills = compare(Path(folder), arguments.kills, arguments.seed)
    good = sum(kill.good for kill in kills)
    print(f"{good} of {len(kills)} equal to the undisturbed run")
    if arguments.json:
        record = {"duration_s": duration_s, "seed": arguments.seed, "kills": [asdict(kill) for kill in kills]}
        figures.write(arguments.json, record)
    return 0 if good == len(kills) else 1


if __name__ == "__main__":
    sys.exit(main())
