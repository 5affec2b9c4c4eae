"""Whether readings on a busy machine are right or refused: a stream against its calls, and how often bounds hold.

    python benchmarks/readings.py --json readings.json [--repetitions 200] [--busy 0 2 4] [--limit 1500]

Exported networks of the mobile space run in ONNX Runtime on one thread: one with one exit, for which the mean over a
stream of samples must be the median of its call, and one with two, of whose samples half leave early, or all but 3 %
(`few late`: then single calls are over a stream that is drawn, and those 3 % decide the 99th percentile). A repetition
takes readings of all, calls and streams together, in five blocks, as `nas verify` does with shorter blocks and fewer
samples, while so many busy processes run beside; then single calls, as it does where a budget is about their
95th or 99th percentile (beside busy processes in every tenth repetition: `n` says how many). What is estimated is the
time on an undisturbed core, also where the core is not: so the truth is that of long runs on the quiet machine. They
are taken by the same process, so that everything lies at the same place in memory, before, between and after the
repetitions. The truth of a repetition is the mean of the two long runs around it, since a machine's clock wanders by
percents within minutes; `session_coverage` is against the mean of all long runs of the process instead, so that this
wandering counts against the bounds too.
Nothing else may be busy on the machine.

`stream_over_calls` is the middle of the ratios of the stream's mean to the call's median (two exits: to the medians
weighed by the rates), with the smallest and the largest; `coverage` the share of upper 95 % bounds that are not below
the truth, of those repetitions that were not `refused`. Percentiles of single calls are compared with those of the
long runs that were not refused themselves: a repetition that has none beside it is not counted. `upper_over_value` is
the middle of the bounds' widths.

What was taken is kept in a file beside the JSON, and a benchmark that was killed goes on with it. Ends at --limit
seconds with what there is. Exits 1 where a stream of a network with one exit and its calls come apart by over 5 %, or
a bound covers too seldom.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import figures
import numpy as np
from numpy.typing import NDArray
from readings_table import good, pooled, rows, show

from hardware_profiles import Target
from nas.deploy.artefact import Artefact
from nas.deploy.cascade import Cascade
from nas.deploy.onnx import export_segments
from nas.devices.networks import random_weights
from nas.devices.runners import runner_for
from nas.devices.runners.base import load_cascade
from nas.devices.timing.bounds import percentile_upper_95_s, upper_95_s
from nas.devices.timing.measuring import measure_together
from nas.devices.timing.plan import Plan, single_plan
from nas.devices.timing.readings import Readings
from nas.devices.timing.single_calls import SingleJob, SingleReadings, single_calls
from search_spaces.mobile import mobile
from search_spaces.slots import random_genomes

Record = dict[str, Any]
TARGET = Target("host", "onnxruntime")
SAMPLES = 100
REPETITION = Plan(blocks=5, block_s=0.03, warm_up_s=0.02)
#: The same readings, many times as many.
TRUTH = replace(REPETITION, blocks=50)
#: Single calls of a repetition, and of a long run: the blocks of a verification, which rests longer between them and
#: repeats the disturbed ones more often; here those are refused sooner.
SINGLE = replace(single_plan(0.99, None), repeats=1)
SINGLES_OF_TRUTH = 4
#: Seeds of what is drawn.
_DRAWN = itertools.count()
PERCENTILES = (0.95, 0.99)
#: Seconds of rest between blocks of single calls. Blocks that lie closer are more alike: the harder case.
REST_S = 0.1
#: Repetitions of each number of busy processes between two long runs. Beside busy processes all single calls of a
#: machine with as many cores are refused, after much repeating: there, one repetition of so many takes them.
BETWEEN = 10


@dataclass(frozen=True)
class Subject:
    """A network that is measured: what it is called, its cascade, and the share of samples that leaves at each exit.

    Its single calls are to the last exit, or `drawn` over a stream.
    """

    name: str
    cascade: Cascade
    rates: NDArray[np.float64]
    drawn: bool = False


def subjects(samples: Sequence[NDArray[np.float32]], seed: int) -> list[Subject]:
    """A network of one exit, and one of two with different thresholds, exported and loaded."""
    space = mobile(table="28x28", input_shape=(1, 28, 28), classes=10)
    drawn = [space.decode(genome) for genome in random_genomes(space, 300, np.random.default_rng(seed))]
    found = []
    for exits, name, late in ((1, "one exit", 0.5), (2, "two exits", 0.5), (2, "few late", 0.03)):
        network = next(network for network in drawn if len(network.exits) == exits)
        with TemporaryDirectory() as folder:
            files = export_segments(network, random_weights(network, seed), Path(folder), 1)
            artefact, runner = Artefact(Path(folder), files), runner_for(TARGET)
            answers = np.stack([load_cascade(runner, artefact).run_to(sample, 0) for sample in samples])
            threshold = float(np.quantile(artefact.policy.scores({"logits": answers}), late))
            settled = replace(artefact, thresholds=[threshold] * (exits - 1))
            cascade = load_cascade(runner, settled)
        leaving = [cascade(sample)[1] for sample in samples]
        rates = np.bincount(leaving, minlength=exits) / len(samples)
        found.append(Subject(name, cascade, rates, name == "few late"))
    return found


#: Keeps a core busy as long as its parent lives, so that a benchmark that was killed leaves nothing behind.
SPIN = """
import os, sys
while os.getppid() == int(sys.argv[1]):
    for _ in range(100_000):
        pass
"""


@contextmanager
def spinning(busy: int) -> Iterator[None]:
    """So many busy processes beside."""
    spinners = [subprocess.Popen([sys.executable, "-S", "-c", SPIN, str(os.getpid())]) for _ in range(busy)]
    try:
        if spinners:
            time.sleep(0.2)
        yield
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.wait()


def take(
    found: Sequence[Subject], samples: Sequence[NDArray[np.float32]], long: bool, about: Record, singly: bool = True
) -> list[Record]:
    """One record per network: the values and bounds of its call, its stream, and, taken `singly`, its single calls."""
    plan, times = (TRUTH, SINGLES_OF_TRUTH) if long else (REPETITION, int(singly))
    calls: dict[str, Callable[[], object]] = {
        f"{subject.name}/{exit_}": partial(subject.cascade.run_to, samples[0], exit_)
        for subject in found
        for exit_ in range(len(subject.cascade))
    }
    read = measure_together(calls, {subject.name: subject.cascade for subject in found}, samples, plan)
    singles = [single_calls(_jobs(found, samples), replace(plan, gap_s=REST_S)) for _ in range(times)]
    records = []
    for subject in found:
        to_exits = [read[f"{subject.name}/{exit_}"] for exit_ in range(len(subject.cascade))]
        stream = read[subject.name]
        refused = stream.refused or next((exit_.refused for exit_ in to_exits if exit_.refused), "")
        weighed_s = float(np.dot(subject.rates, [exit_.value_s for exit_ in to_exits]))
        records.append(
            {**about, "network": subject.name, "median": _said(to_exits[-1]), "mean": _said(stream)}
            | {
                name: _percentile([alone[subject.name] for alone in singles], q)
                for name, q in (("p95", 0.95), ("p99", 0.99))
                if singles
            }
            | {"stream_over_calls": None if refused else stream.value_s / weighed_s}
        )
    return records


def _jobs(found: Sequence[Subject], samples: Sequence[NDArray[np.float32]]) -> dict[str, SingleJob]:
    """Single calls of all, to the last exit or over a stream of samples that nobody has drawn before."""
    drawn = replace(SINGLE, seed=next(_DRAWN))
    return {
        each.name: SingleJob(
            each.cascade if each.drawn else partial(to_last, each.cascade), samples, drawn if each.drawn else SINGLE
        )
        for each in found
    }


def to_last(cascade: Cascade, sample: NDArray[np.float32]) -> object:
    """A call that passes every exit."""
    return cascade.run_to(sample, len(cascade) - 1)


def _percentile(taken: Sequence[SingleReadings], q: float) -> Record:
    """Of the readings that were not refused, where there are any; the bound is the first one's."""
    counted = [readings for readings in taken if not readings.refused] or taken
    first = counted[0]
    value_s = float(np.quantile(np.concatenate([readings.seconds.ravel() for readings in counted]), q, method="higher"))
    bound = None if first.refused else percentile_upper_95_s(first, q)
    flags = {"contended": False, "repeated": first.repeated, "disturbed": first.disturbed}
    return {"value_s": value_s, "upper_95_s": bound, "refused": first.refused, **flags}


def _said(readings: Readings) -> Record:
    bound = None if readings.refused else upper_95_s(readings)
    flags = {"contended": readings.contended, "repeated": readings.repeated, "disturbed": readings.disturbed}
    return {"value_s": readings.value_s, "upper_95_s": bound, "refused": readings.refused, **flags}


class Kept:
    """Records in a file, line by line; a line that was cut short by a kill is left out."""

    def __init__(self, path: Path) -> None:
        self.path = path
        text = path.read_text() if path.exists() else ""
        whole = text[: text.rfind("\n") + 1]
        if whole != text:
            path.write_text(whole)
        self.records: list[Record] = [json.loads(line) for line in whole.splitlines()]

    def add(self, records: Sequence[Record]) -> None:
        """Keep records; those of one reading go to the disk together."""
        self.records += records
        with self.path.open("a") as file:
            file.write("".join(json.dumps(record) + "\n" for record in records))

    def taken(self, busy: int) -> int:
        """Repetitions that are there, of all networks."""
        each: dict[str, int] = {}
        for record in self.records:
            if record["kind"] == "repetition" and record["busy"] == busy:
                each[record["network"]] = each.get(record["network"], 0) + 1
        return min(each.values(), default=0)


def collect(kept: Kept, repetitions: int, busy: Sequence[int], limit_s: float) -> None:
    """Take what is missing, the numbers of busy processes in turn, until all is there or the time is up."""
    end = time.monotonic() + limit_s
    rng = np.random.default_rng(0)
    samples = [rng.standard_normal((1, 1, 28, 28)).astype(np.float32) for _ in range(SAMPLES)]
    missing = {number: repetitions - kept.taken(number) for number in busy}
    if max(missing.values()) <= 0:
        return
    found = subjects(samples, 0)
    about = {"session": uuid.uuid4().hex[:8]}
    kept.add(take(found, samples, True, {**about, "kind": "truth"}))
    while max(missing.values()) > 0 and time.monotonic() < end:
        for number in busy:
            with spinning(number):
                for turn in range(min(missing[number], BETWEEN)):
                    here = {**about, "kind": "repetition", "busy": number}
                    kept.add(take(found, samples, False, here, singly=number == 0 or turn == 0))
                    missing[number] -= 1
                    if time.monotonic() > end:
                        break
        kept.add(take(found, samples, True, {**about, "kind": "truth"}))
        print(f"missing: {', '.join(f'{n} beside {number}' for number, n in missing.items())}", flush=True)


def main() -> int:
    """Collect, print, write the JSON; 1 if anything is not as it must be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=200, help="of each number of busy processes")
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 2, 4], help="busy processes beside")
    parser.add_argument("--limit", type=float, default=1500.0, help="seconds after which nothing more is begun")
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="write the figures there")
    arguments = parser.parse_args()
    kept = Kept(arguments.json.with_suffix(".jsonl"))
    collect(kept, arguments.repetitions, arguments.busy, arguments.limit)
    found = rows(kept.records)
    show(found)
    shares = {"pooled_coverage": pooled(found), "pooled_session_coverage": pooled(found, "session_coverage")}
    record = {**shares, "rows": found}
    figures.write(arguments.json, record)
    return 0 if good(found) else 1


if __name__ == "__main__":
    sys.exit(main())
