"""Taking readings: warm, interleaved, on both clocks, and again where somebody else was using the core.

Several things are measured in rounds, a block of each per round in an order that changes, so that a machine that
drifts drifts under all of them. On one thread a program that has its core to itself uses as much CPU time as wall
time; a block whose wall time is 10 % above was contended and is taken again after the others. What CPU time cannot
show is contention for caches and memory, or a lower clock: for those there are the blocks and their spread.
"""

from __future__ import annotations

import contextlib
import gc
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np

from nas.runners.readings import Readings, Seconds, Statistic
from nas.tolerances import CONTENDED_WALL_TO_CPU

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Clocks:
    """Wall and CPU clock, in seconds.

    The CPU clock is that of the whole process: a clock of the calling thread would miss work done by others, and then
    call it contention. So nothing else in the process may be busy meanwhile.
    """

    wall: Clock = time.perf_counter
    cpu: Clock = time.process_time


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure: per thing `blocks` blocks of about `block_s` seconds each, after `warm_up_s` seconds.

    A reading lasts at least `reading_s`, for which short calls are made several times in a row; so the timers, which
    take a microsecond together, stay under 1 %. It lasts longer where a block would else have over `max_readings`.
    Contended blocks are repeated in up to `repeats` further rounds. Between two rounds there are `gap_s` seconds of
    rest, so that the blocks of one thing see the machine at different times.
    """

    blocks: int = 5
    block_s: float = 0.2
    warm_up_s: float = 0.1
    reading_s: float = 1e-4
    min_readings: int = 11
    max_readings: int = 500
    repeats: int = 3
    threads: int = 1
    seed: int = 0
    gap_s: float = 0.0

    def calls_and_readings(self, per_call_s: float) -> tuple[int, int]:
        """Calls per reading and readings per block of something that takes so many seconds."""
        # No call takes less than that, whatever a coarse clock says.
        per_call_s = max(per_call_s, 1e-7)
        calls = max(1, math.ceil(max(self.reading_s, self.block_s / self.max_readings) / per_call_s))
        readings = round(self.block_s / (calls * per_call_s))
        return calls, min(max(readings, self.min_readings), self.max_readings)


@dataclass(frozen=True, slots=True)
class _Block:
    wall_s: Seconds
    cpu_s: Seconds
    ratio: float


@dataclass(frozen=True, slots=True)
class _Job:
    """One thing to be measured: how to take a block of it, and what kind of readings these are."""

    block: Callable[[], _Block]
    statistic: Statistic
    calls: int
    cpu_per_reading: bool


def measure_together(
    calls: Mapping[str, Callable[[], object]],
    streams: Mapping[str, Callable[[Any], object]],
    inputs: Sequence[Any],
    plan: Plan | None = None,
    clocks: Clocks | None = None,
) -> dict[str, Readings]:
    """Measure the median time of calls and the mean time of streams over `inputs`, in seconds, all interleaved.

    A stream's block is one pass over `inputs` in order; `block_s` and the number of readings of the plan do not apply.
    Its CPU time is taken per block, as reading that clock costs more than a short sample can bear. The names of calls
    and streams must differ. Raises ValueError for streams without inputs.
    """
    plan, clocks = plan or Plan(), clocks or Clocks()
    if streams and not inputs:
        raise ValueError("a stream needs at least one sample")
    tick = _tick(clocks.cpu)
    with _no_garbage_collection():
        jobs = {name: _repeated(call, plan, clocks, tick) for name, call in calls.items()}
        jobs |= {name: _streamed(call, inputs, plan, clocks) for name, call in streams.items()}
        return _run(jobs, plan)


def measure(
    calls: Mapping[str, Callable[[], object]], plan: Plan | None = None, clocks: Clocks | None = None
) -> dict[str, Readings]:
    """Measure the median time of each call, in seconds, all of them interleaved."""
    return measure_together(calls, {}, (), plan, clocks)


def measure_stream(
    calls: Mapping[str, Callable[[Any], object]],
    inputs: Sequence[Any],
    plan: Plan | None = None,
    clocks: Clocks | None = None,
) -> dict[str, Readings]:
    """Measure the mean time of each call over given samples, in seconds: the expected latency of an early-exit network.

    Raises ValueError without inputs.
    """
    return measure_together({}, calls, inputs, plan, clocks)


def _repeated(call: Callable[[], object], plan: Plan, clocks: Clocks, tick: float) -> _Job:
    per_call = _warm_up(call, plan.warm_up_s, clocks.wall)
    calls, n = plan.calls_and_readings(per_call)
    fine = tick <= 0.01 * calls * per_call
    wall, cpu = clocks.wall, clocks.cpu

    def block() -> _Block:
        wall_s, cpu_s = np.empty(n), np.empty(n)
        start = cpu()
        for i in range(n):
            c = cpu()
            w = wall()
            for _ in repeat(None, calls):
                call()
            wall_s[i] = wall() - w
            cpu_s[i] = cpu() - c
        if not fine:
            cpu_s[:] = (cpu() - start) / n
        return _block(wall_s / calls, cpu_s / calls, "median" if fine else "mean")

    return _Job(block, "median", calls, fine)


def _streamed(call: Callable[[Any], object], inputs: Sequence[Any], plan: Plan, clocks: Clocks) -> _Job:
    position = 0

    def step() -> None:
        nonlocal position
        call(inputs[position % len(inputs)])
        position += 1

    _warm_up(step, plan.warm_up_s, clocks.wall)
    wall, cpu = clocks.wall, clocks.cpu

    def block() -> _Block:
        wall_s = np.empty(len(inputs))
        start = cpu()
        for i, sample in enumerate(inputs):
            w = wall()
            call(sample)
            wall_s[i] = wall() - w
        # No CPU clock is fine enough for single samples; they keep their shares of what the block used.
        return _block(wall_s, wall_s * ((cpu() - start) / wall_s.sum()), "mean")

    return _Job(block, "mean", 1, False)


def _block(wall_s: Seconds, cpu_s: Seconds, statistic: Statistic) -> _Block:
    # Medians where there are any: one interruption in a block of hundreds changes nothing that is reported.
    centre = np.median if statistic == "median" else np.mean
    used = float(centre(cpu_s))
    return _Block(wall_s, cpu_s, float(centre(wall_s)) / used if used > 0 else math.inf)


def _run(jobs: Mapping[str, _Job], plan: Plan) -> dict[str, Readings]:
    rng = np.random.default_rng(plan.seed)
    names = list(jobs)
    blocks: dict[str, list[_Block]] = {name: [] for name in names}
    for number in range(plan.blocks):
        if number and plan.gap_s:
            time.sleep(plan.gap_s)
        for place in rng.permutation(len(names)):
            blocks[names[place]].append(jobs[names[place]].block())
    repeated = dict.fromkeys(names, 0)
    for _ in range(plan.repeats):
        again = [(name, i) for name in names for i, block in enumerate(blocks[name]) if _contended(block, plan)]
        for place in rng.permutation(len(again)):
            name, i = again[place]
            blocks[name][i] = min(blocks[name][i], jobs[name].block(), key=lambda block: block.ratio)
            repeated[name] += 1
    return {
        name: Readings(
            wall_s=np.stack([block.wall_s for block in blocks[name]]),
            cpu_s=np.stack([block.cpu_s for block in blocks[name]]),
            statistic=job.statistic,
            calls=job.calls,
            threads=plan.threads,
            contended=any(_contended(block, plan) for block in blocks[name]),
            repeated=repeated[name],
            cpu_per_reading=job.cpu_per_reading,
        )
        for name, job in jobs.items()
    }


def _contended(block: _Block, plan: Plan) -> bool:
    # With several threads CPU time adds up over them, and says nothing about who waited for a core.
    return plan.threads == 1 and block.ratio > CONTENDED_WALL_TO_CPU


def _warm_up(call: Callable[[], object], seconds: float, wall: Clock) -> float:
    """Call at least three times and for that long; returns the seconds per call, the smallest that was seen."""
    best, start = math.inf, wall()
    for number in range(1_000_000):
        before = wall()
        call()
        after = wall()
        best = min(best, after - before)
        if number >= 2 and after - start >= seconds:
            break
    return best


def _tick(clock: Clock, tries: int = 2000) -> float:
    """The smallest step of a clock, in seconds; infinite for one so coarse that it stood still all the while."""
    smallest, last = math.inf, clock()
    for _ in range(tries):
        now = clock()
        if now > last:
            smallest = min(smallest, now - last)
        last = now
    return smallest


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
