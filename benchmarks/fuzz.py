"""What becomes of damaged and odd input: no traceback, no hang, nothing wrongly kept, no other results without a word.

    python benchmarks/fuzz.py --seconds 300 --cases 2000 --json benchmarks/results/fuzz.json

Makes one small run, then gives commands odd experiments, profiles, data (arrays, images, CIFAR, IDX), tables and
readings, copies of the run with one damaged file, and `run.py` a damaged bundle or odd images. Each case follows from
the seed and its number; `--case N` shows one again. Cases run in one process beside this one, which is ended and
started anew where a case takes too long; every twentieth runs as a command of its own. Counted are `tracebacks`
(whatever leaves `main` but SystemExit, or the word in the output), `hangs`, `wrong_kept` (exit code 0 though a file of
a winner is damaged, not made anew and not named) and `silent_changes` (accepted, with other results than the intact
input, and not a word). Exits 1 where any is not 0.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, Final

import figures
import fuzz_arrays
import fuzz_files
import fuzz_inputs
import fuzz_runs
import yaml
from fuzz_commands import ROOT, apart, here
from resume import EXPERIMENT as RESUMED

FAULTS: Final = ("tracebacks", "hangs", "wrong_kept", "silent_changes")
EXPERIMENT: Final[dict[str, Any]] = {
    **RESUMED,
    "supernet": {"epochs": 2, "batch_size": 32, "random_subnets": 1},
    "search": {"evaluations": 12, "batch": 5, "images": 300, "calibration_images": 128},
    "winners": {"epochs": 1, "batch_size": 32, "candidates": 2, "attempts": 2},
    "verify": {"blocks": 3, "block_time": "10 ms", "samples": 30, "parity_samples": 32, "tvm": False},
}
#: Cases that run as a command of their own, and how long a case may take: some of a run train and measure.
_OWN: Final = 20
PATIENCE_S: Final = {"run": 90.0}
_PATIENCE_S: Final = 20.0
#: What a worker may take of memory, so that an input that asks for all of it ends as an error and not the machine.
_MEMORY_BYTES: Final = 6 * 2**30
_KINDS: Final = ("run", "experiment", "profile", "npz", "images", "table", "readings", "cifar", "idx", "bundle")
_WEIGHTS: Final = (13, 20, 12, 12, 9, 11, 11, 4, 4, 4)


@dataclass(frozen=True)
class Place:
    """Where cases find the intact run, and which seed they follow from."""

    root: Path
    seed: int

    @property
    def base(self) -> Path:
        """The finished run."""
        return self.root / "base"

    @property
    def experiment(self) -> Path:
        """Its experiment."""
        return self.root / "base.yaml"


def kind_of(place: Place, number: int) -> str:
    """What a case is about."""
    return _draw(place, number).choices(_KINDS, _WEIGHTS)[0]


def _draw(place: Place, number: int) -> random.Random:
    return random.Random(f"{place.seed} {number}")


def one(place: Place, number: int, intact: dict[str, Any]) -> dict[str, Any]:
    """Make a case in the folder that is current, give its command, and say what was wrong."""
    draw, base = _draw(place, number), EXPERIMENT
    kind = draw.choices(_KINDS, _WEIGHTS)[0]
    damage, case = None, None
    if kind == "run":
        damage = fuzz_runs.damage(draw, place.base, place.experiment)
        about, command = f"{damage.file}: {damage.how}", damage.command
    else:
        make: dict[str, Callable[[], fuzz_inputs.Case]] = {
            "experiment": lambda: fuzz_inputs.experiment(draw, base),
            "profile": lambda: fuzz_inputs.profile(draw, base),
            "npz": lambda: fuzz_arrays.arrays(draw, base),
            "images": lambda: fuzz_arrays.images(draw, base),
            "table": lambda: fuzz_arrays.table(draw, base),
            "cifar": lambda: fuzz_files.cifar(draw, base),
            "idx": lambda: fuzz_files.idx(draw, base),
            "bundle": lambda: fuzz_files.bundle(draw, place.base / "winners" / "mean"),
            "readings": lambda: fuzz_inputs.readings(draw, base, (place.base / "measurements.jsonl").read_bytes()),
        }
        case = make[kind]()
        about, command = case.about, case.command
    code, said, trace = (apart if number % _OWN == 0 else here)(command)
    faults = []
    if trace or "Traceback" in said:
        faults.append("tracebacks")
    elif damage is not None:
        faults += fuzz_runs.judged(damage, code, said, intact)
    elif case is not None and code == 0 and (other := case.changed()):
        faults.append("silent_changes")
        about += f"; {other}"
    return {
        "number": number, "kind": kind, "about": about, "command": " ".join(command), "code": code, "faults": faults,
        "said": (said + trace)[-3000:],
    }  # fmt: skip


def work(place: Place) -> None:
    """Do the cases whose numbers come on standard input, a line of JSON each; what commands print goes nowhere."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    with open(os.devnull, "r+b") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY_BYTES, _MEMORY_BYTES))
    from nas.devices.timing import measuring
    from nas.devices.timing.plan import SinglePlan
    from nas.process import machine
    from nas.search import settling, winner_readings

    # How long anything takes does not matter here: no rests, few calls, and no waiting for others on this machine.
    winner_readings.GAP_S, measuring._LOOK_S, measuring._SEARCH_S = 0.0, 0.02, 0.02
    vars(settling)["single_plan"] = lambda percentile, every_s: SinglePlan(calls=17)
    machine.FOLDER = place.root
    intact = fuzz_runs.results(place.base)
    for line in sys.stdin:
        number = int(line)
        folder = place.root / f"case-{number}"
        folder.mkdir()
        os.chdir(folder)
        found = one(place, number, intact)
        os.chdir(place.root)
        shutil.rmtree(folder, ignore_errors=True)
        answers.write(json.dumps(found) + "\n")
        answers.flush()


class Worker:
    """A process that does cases; started anew after one that it did not come back from."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._process: subprocess.Popen[bytes] | None = None

    def do(self, number: int) -> dict[str, Any]:
        """One case; a hang where no answer comes in time, a traceback where the process ended."""
        import select

        if self._process is None:
            command = [sys.executable, __file__, "--worker", str(self._place.root), "--seed", str(self._place.seed)]
            environment = {**os.environ, "PYTHONPATH": str(ROOT)}
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        asked, answers = self._process.stdin, self._process.stdout
        assert asked is not None and answers is not None
        asked.write(f"{number}\n".encode())
        asked.flush()
        kind = kind_of(self._place, number)
        ready, _, _ = select.select([answers], [], [], PATIENCE_S.get(kind, _PATIENCE_S))
        line = answers.readline() if ready else b""
        if line:
            found: dict[str, Any] = json.loads(line)
            return found
        fault = "tracebacks" if ready else "hangs"
        said = f"the process ended with {self._process.wait()}" if ready else "no answer in time"
        self.close()
        return {"number": number, "kind": kind, "about": "", "command": "", "code": -1, "faults": [fault], "said": said}

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def prepare(place: Place) -> None:
    """Make the run that cases damage copies of."""
    place.experiment.write_text(yaml.safe_dump(EXPERIMENT), encoding="utf-8")
    code, said, trace = apart(("run", str(place.experiment), "--out", str(place.base)))
    if code != 0:
        raise RuntimeError(f"the small run ended with {code}: {said} {trace}")


def fuzz(
    place: Place, numbers: range, seconds: float, shown: IO[str]
) -> tuple[int, dict[str, int], list[dict[str, Any]]]:
    """How many cases were done, how many of each fault there were, and the cases that had one.

    Cases that are processes of their own, which take longest, are done beside the others.
    """
    begin = time.monotonic()
    done: list[dict[str, Any]] = []

    def share(own: bool) -> None:
        worker = Worker(place)
        try:
            for number in numbers:
                if time.monotonic() - begin > seconds:
                    break
                if (number % _OWN == 0) == own:
                    found = worker.do(number)
                    done.append(found)
                    _tell(place, found, shown)
        finally:
            worker.close()

    with ThreadPoolExecutor(2) as pool:
        for finished in [pool.submit(share, own) for own in (False, True)]:
            finished.result()
    counts = Counter(fault for found in done for fault in found["faults"])
    failed = sorted((found for found in done if found["faults"]), key=lambda found: found["number"])
    return len(done), {fault: counts[fault] for fault in FAULTS}, failed


def _tell(place: Place, found: dict[str, Any], shown: IO[str]) -> None:
    if found["faults"]:
        last = (found["said"].strip().splitlines() or [""])[-1][:200]
        shown.write(
            f"case {found['number']} ({found['kind']}, {found['about'][:100]}): {', '.join(found['faults'])}: nas "
            f"{found['command']}: {last}; again with --seed {place.seed} --case {found['number']}\n"
        )
        shown.flush()


def main() -> int:
    """Do the cases and write the JSON; 1 if any had a fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300, help="no case begins later than this")
    parser.add_argument("--cases", type=int, default=2000, help="how many at most")
    parser.add_argument("--seed", type=int, default=0, help="of the cases")
    parser.add_argument("--case", type=int, metavar="N", help="only this one, with all that it said")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker is not None:
        work(Place(arguments.worker, arguments.seed))
        return 0
    with TemporaryDirectory() as folder:
        place = Place(Path(folder), arguments.seed)
        prepare(place)
        if arguments.case is not None:
            worker = Worker(place)
            found = worker.do(arguments.case)
            worker.close()
            print(json.dumps({key: value for key, value in found.items() if key != "said"}, indent=2))
            print(found["said"])
            return 1 if found["faults"] else 0
        done, counts, failed = fuzz(place, range(arguments.cases), arguments.seconds, sys.stdout)
    print(json.dumps({"cases": done, **counts}))
    if arguments.json:
        record = {"cases": done, **counts, "seed": arguments.seed, "failed": failed}
        figures.write(arguments.json, record)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
