"""What a run and a sweep lose when they are killed with SIGKILL at any instant, again and again: nothing.

    python benchmarks/crash.py --kills 100 --json benchmarks/results/crash.json

A small run with exits, whose architecture is searched in turns with the weights, and a small sweep, once with a process
per cell and once in one process, run undisturbed, twice. Then each is begun anew, killed, looked at, gone on with by
`nas run --resume` or `nas sweep --resume`, killed again, and so on to its end. Instants are drawn over the whole
duration of the undisturbed one, in every other chain over each stage, of one cell after the other. Killed are all
processes at once, or only the parent (the others have to end by themselves), or of a sweep one cell.
Readings are made up (`crash_device.py`): a second measurement is never the same as the first.

`equal`: every finished folder has the same files as the undisturbed one, byte for byte (trials, front, choices,
weights, artefacts, thresholds, verdicts, cells), apart from the log of events, facts of the process, and times: of
readings the conditions, of pages how long stages took. `unreadable`: files that a reader refuses, after any kill.
`lost`: lines of logs, and finished things (weights, fronts, exports, verdicts, cells), that were there at a look and
are not at a later one. `doubled`: what was finished and was made again, readings and trials that stand more often than
undisturbed, cells that were complete twice, weights trained by more cells.

With `--writes` the run's processes kill themselves, each instead of one of its operations on a disk: between two of
them there may be less than any drawn instant would hit.

What was done is kept beside the JSON, and the same command goes on with it. Exits 1 where anything is wrong.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import figures
from crash_looks import Looks, differences
from crash_runs import Life, Stretch, Subject, stretches, subjects, under_way, wait_for

from nas.process.files import append_jsonl, read_jsonl
from nas.sweep.layout import SweepFiles, is_sweep
from nas.sweep.running import is_over

FAULTS: Final = ("unreadable", "lost", "doubled")
#: Which subject a chain kills, in turn: half of them the run.
_TURNS: Final = (0, 1, 0, 2, 0, 1)
#: Kills of a chain at most, where they are spread over the stages and where they come at any time.
_BY_STAGE, _AT_ANY_TIME = 14, 6
#: Which of its operations on a disk a process does not live to do, from and to.
_OPERATIONS: Final = (2, 90)
#: How often a command that ends otherwise than undisturbed is given again.
_TRIES: Final = 3


@dataclass(frozen=True)
class Undisturbed:
    """How a subject goes when nobody disturbs it."""

    seconds: float
    code: int
    stretches: list[Stretch]


@dataclass(frozen=True)
class Instant:
    """When to kill: so many seconds after the command was given, or after a stage began, if one is named."""

    seconds: float
    stretch: Stretch | None = None


@dataclass
class Chain:
    """One run or sweep from its beginning to its end: who killed it, and what was wrong."""

    subject: str
    number: int
    kills: list[dict[str, Any]] = field(default_factory=list)
    different: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def faults(self) -> list[str]:
        """All that was wrong."""
        return [*self.different, *self.unreadable, *self.lost, *self.doubled]


def undisturbed(subject: Subject) -> Undisturbed:
    """Leave a subject alone, twice, and keep the second as what the others are compared with.

    Raises RuntimeError where the two are not equal: then nothing could be said of those that are killed.
    """
    for again in (False, True):
        begin = time.monotonic()
        code = Life.of(subject).process.wait()
        seconds, found = time.monotonic() - begin, stretches(subject)
        if code not in (0, 3):
            raise RuntimeError(f"{subject.name} ended with {code}: {_last_words(subject)}")
        if again and (other := list(differences(subject.now, subject.reference))):
            raise RuntimeError(f"{subject.name}, undisturbed twice: {'; '.join(other)}")
        shutil.rmtree(subject.reference, ignore_errors=True)
        subject.now.rename(subject.reference)
    return Undisturbed(seconds, code, found)


def instants(usual: Undisturbed, number: int, drawn: random.Random) -> list[Instant]:
    """When a chain kills: within stages in their order, or at any time."""
    if number % 2:
        return [Instant(drawn.uniform(0, usual.seconds)) for _ in range(_AT_ANY_TIME)]
    count = min(_BY_STAGE, len(usual.stretches))
    chosen = sorted(drawn.sample(range(len(usual.stretches)), count))
    return [Instant(drawn.uniform(0, each.seconds), each) for each in (usual.stretches[at] for at in chosen)]


def chain(subject: Subject, usual: Undisturbed, planned: Sequence[Instant], drawn: random.Random) -> Chain:
    """Begin a subject, kill it at instants, go on with it each time, and look at what it comes to."""
    shutil.rmtree(subject.now, ignore_errors=True)
    found, looks, left = Chain(subject.name, 0), Looks(subject.now), list(planned)
    kinds, begin = ("all", "parent", "cell") if subject.has_processes else ("all", "parent"), time.monotonic()
    for _ in range(len(planned) + _TRIES):
        life, since = Life.of(subject), time.monotonic()
        killed = False
        while left and not killed and _reached(life, left[0]):
            kind, stage = drawn.choice(kinds), under_way(subject)
            if life.kill(kind, drawn.randrange(100)):
                found.kills.append({"kind": kind, "stage": stage, "after_s": round(time.monotonic() - since, 2)})
                killed = kind != "cell"
            del left[0]
        if killed:
            looks.look()
            continue
        code = life.process.wait()
        life.wait_until_gone()
        left.clear()
        if code != usual.code:
            found.different.append(f"it ended with {code}: {_last_words(subject)}")
        elif _is_over(subject):
            break
    return _ended(found, looks, subject, begin)


def _is_over(subject: Subject) -> bool:
    """Whether nothing is left to do: a cell that was killed three times waits until somebody goes on with it."""
    files = SweepFiles(subject.now)
    return not is_sweep(subject.now) or all(is_over(files, path.name) for path in files.root.glob("cells/*"))


def chain_at_writes(subject: Subject, usual: Undisturbed, most: int, drawn: random.Random) -> Chain:
    """The same, where each process kills itself instead of one of its operations on a disk, at most so often."""
    shutil.rmtree(subject.now, ignore_errors=True)
    found, looks, begin = Chain(subject.name, 0), Looks(subject.now), time.monotonic()
    for _ in range(most + _TRIES):
        life = Life.of(subject, drawn.randint(*_OPERATIONS) if len(found.kills) < most else 0)
        code = life.process.wait()
        if code == -signal.SIGKILL:
            found.kills.append({"kind": "write", "stage": under_way(subject), "after_s": None})
            looks.look()
        elif code == usual.code:
            break
        else:
            found.different.append(f"it ended with {code}: {_last_words(subject)}")
    return _ended(found, looks, subject, begin)


def _ended(found: Chain, looks: Looks, subject: Subject, begin: float) -> Chain:
    looks.end(subject.reference)
    found.different += differences(subject.now, subject.reference)
    found.unreadable, found.lost, found.doubled = looks.unreadable, looks.lost, looks.doubled
    found.seconds = round(time.monotonic() - begin, 1)
    return found


def _reached(life: Life, instant: Instant) -> bool:
    """Wait for an instant; False where the command ended before."""
    if instant.stretch is not None and not wait_for(life, instant.stretch):
        return False
    try:
        life.process.wait(instant.seconds)
    except subprocess.TimeoutExpired:
        return True
    return False


def _last_words(subject: Subject) -> str:
    lines = (subject.place / f"{subject.name}.txt").read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line for line in reversed(lines) if line.strip()), "")


def crash(
    place: Path, kills: int, seed: int, kept: Path | None, writes: bool = False
) -> tuple[list[Chain], dict[str, float]]:
    """Kill so often in all; returns the chains, with those that were done before, and what undisturbed ones take."""
    header = {"commit": figures._git("rev-parse", "HEAD"), "seed": seed, "writes": writes}
    done = _kept(kept, header)
    every = subjects(place)[: 1 if writes else None]
    usual = {subject.name: undisturbed(subject) for subject in every}
    for name, known in usual.items():
        print(f"{name}: {known.seconds:.1f} s undisturbed, {len(known.stretches)} stages", flush=True)
    while (count := sum(len(each.kills) for each in done)) < kills:
        number = len(done)
        drawn, subject = random.Random(f"{seed} {number}"), every[_TURNS[number % len(_TURNS)] % len(every)]
        if writes:
            found = chain_at_writes(subject, usual[subject.name], min(_BY_STAGE, kills - count), drawn)
        else:
            planned = instants(usual[subject.name], number // 2, drawn)[: kills - count]
            found = chain(subject, usual[subject.name], planned, drawn)
        found.number = number
        done.append(found)
        stages = ", ".join(f"{each['stage']} ({each['kind']})" for each in found.kills)
        ended = "; ".join(found.faults) or "as undisturbed"
        print(f"{subject.name}, {found.seconds:.0f} s, killed in: {stages}: {ended}", flush=True)
        if kept is not None:
            append_jsonl(kept, [asdict(found)])
    return done, {name: round(known.seconds, 1) for name, known in usual.items()}


def _kept(path: Path | None, header: dict[str, Any]) -> list[Chain]:
    """The chains that a benchmark which was stopped has done, of the same commit and seed."""
    if path is None:
        return []
    rows = read_jsonl(path)
    if rows and rows[0] == header:
        return [Chain(**row) for row in rows[1:]]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    append_jsonl(path, [header])
    return []


def summary(chains: Sequence[Chain]) -> dict[str, Any]:
    """The figures: how many kills, and how much was wrong."""
    kills = [kill for each in chains for kill in each.kills]
    return {
        "kills": len(kills),
        "equal": not any(each.different for each in chains),
        **{fault: sum(len(getattr(each, fault)) for each in chains) for fault in FAULTS},
        "folders": len(chains),
        "by_subject": dict(Counter(each.subject for each in chains for _ in each.kills)),
        "by_kind": dict(Counter(kill["kind"] for kill in kills)),
        "by_stage": dict(Counter(kill["stage"] for kill in kills).most_common()),
        "faults": {each.number: each.faults for each in chains if each.faults},
    }


def main() -> int:
    """Kill, write the JSON; 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="how many in all")
    parser.add_argument("--seed", type=int, default=0, help="of the instants")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    text = "the run alone, each process instead of one of its operations on a disk, however short they are"
    parser.add_argument("--writes", action="store_true", help=text)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave the runs and sweeps there")
    arguments = parser.parse_args()
    kept = arguments.json.with_suffix(".jsonl") if arguments.json else None
    with TemporaryDirectory() as folder:
        place = (arguments.keep or Path(folder) / "crash").resolve()
        done, undisturbed_s = crash(place, arguments.kills, arguments.seed, kept, arguments.writes)
    figures_ = {**summary(done), "undisturbed_s": undisturbed_s, "seed": arguments.seed}
    print(json.dumps({key: figures_[key] for key in ("kills", "equal", *FAULTS)}))
    if arguments.json:
        figures.write(arguments.json, figures_)
        if kept is not None:
            kept.unlink()
    return 0 if figures_["equal"] and not any(figures_[fault] for fault in FAULTS) else 1


if __name__ == "__main__":
    sys.exit(main())
