"""Taking readings: warm, interleaved, on both clocks, and again where the machine was not what it usually is.

Several things are measured in rounds, a block of each per round in an order that changes, so that a machine that
drifts drifts under all of them. On one thread a program that has its core to itself uses as much CPU time as wall
time; a block whose wall time is 10 % above was contended and is taken again after the others. What CPU time cannot
show is contention for caches and memory, or a lower clock: those show in a reference program that runs between the
rounds, and in the spread of the blocks. Another tenant on the other thread of a core shows in a probe beside each
reading. `nas.devices.timing.rounds` has the order of things, `nas.devices.timing.probe` what a probe is.
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

from nas.devices.timing.probe import Probe, shared
from nas.devices.timing.readings import Readings, Statistic
from nas.devices.timing.rounds import Block, Job, run

Clock = Callable[[], float]

#: A block takes at most this many times the readings it is to have, in search of undisturbed ones.
_PATIENCE = 3
#: How long the machine is looked at before the first reading.
_LOOK_S = 0.2


@dataclass(frozen=True, slots=True)
class Clocks:
    """Wall and CPU clock, in seconds, and the probe that is run beside the readings (None: that of this process).

    The CPU clock is that of the whole process: a clock of the calling thread would miss work done by others, and then
    call it contention. So nothing else in the process may be busy meanwhile.
    """

    wall: Clock = time.perf_counter
    cpu: Clock = time.process_time
    probe: Probe | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure: per thing `blocks` blocks of about `block_s` seconds each, after `warm_up_s` seconds.

    A reading lasts at least `reading_s`, for which short calls are made several times in a row; so the timers, which
    take a microsecond together, stay under 1 %. It lasts longer where a block would else have over `max_readings`.
    Half of a block's readings are kept, those beside which the core was least disturbed; where too few are quiet, a
    block takes longer.
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


def measure_together(
    calls: Mapping[str, Callable[[], object]],
    streams: Mapping[str, Callable[[Any], object]],
    inputs: Sequence[Any],
    plan: Plan | None = None,
    clocks: Clocks | None = None,
    reference: Callable[[], object] | None = None,
) -> dict[str, Readings]:
    """Measure the median time of calls and the mean time of streams over `inputs`, in seconds, all interleaved.

    `reference` is run before, between and after the rounds: where it takes another time than it usually does, the
    machine was not the same, and the round is taken again.

    A stream's block is one pass over `inputs` in order; `block_s` and the number of readings of the plan do not apply.
    Its CPU time is taken per block, as reading that clock costs more than a short sample can bear. The names of calls
    and streams must differ. Raises ValueError for streams without inputs.
    """
    plan, clocks = plan or Plan(), clocks or Clocks()
    if streams and not inputs:
        raise ValueError("a stream needs at least one sample")
    tick = _tick(clocks.cpu)
    probe = clocks.probe or shared()
    probe.warm_up(_LOOK_S)
    with _no_garbage_collection():
        jobs = {name: _repeated(call, plan, clocks, probe, tick) for name, call in calls.items()}
        jobs |= {name: _streamed(call, inputs, plan, clocks, probe) for name, call in streams.items()}
        watch = None if reference is None else _repeated(reference, plan, clocks, probe, tick)
        return run(jobs, plan, probe, watch)


def measure(
    calls: Mapping[str, Callable[[], object]],
    plan: Plan | None = None,
    clocks: Clocks | None = None,
    reference: Callable[[], object] | None = None,
) -> dict[str, Readings]:
    """Measure the median time of each call, in seconds, all of them interleaved, and watched by a `reference`."""
    return measure_together(calls, {}, (), plan, clocks, reference)


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


def _repeated(call: Callable[[], object], plan: Plan, clocks: Clocks, probe: Probe, tick: float) -> Job:
    per_call = _warm_up(call, plan.warm_up_s, clocks.wall)
    calls, n = plan.calls_and_readings(per_call)
    # Half of the readings are enough, so that a core that is shared half of the time costs no time.
    enough = max(plan.min_readings, n // 2)
    fine = tick <= 0.01 * calls * per_call
    wall, cpu = clocks.wall, clocks.cpu

    def block() -> Block:
        taken: list[tuple[float, float, float]] = []
        start, begin, quiet, before = cpu(), wall(), 0, probe()
        while len(taken) < n or (quiet < enough and len(taken) < _PATIENCE * n):
            c = cpu()
            w = wall()
            for _ in repeat(None, calls):
                call()
            wall_s = wall() - w
            cpu_s = cpu() - c
            after = probe()
            level = max(before, after)
            taken.append((wall_s, cpu_s, level))
            # With several threads the probe would see the runtime's own, which spin for a while after a call.
            quiet += plan.threads > 1 or probe.quiet(level)
            before = after
        share = (cpu() - start) / (wall() - begin)
        wall_s, cpu_s, level_s = np.array(taken).T
        # The least disturbed ones, in the order in which they were taken.
        kept = np.sort(np.argsort(level_s, kind="stable")[:enough])
        if not fine:
            cpu_s = wall_s * share
        statistic: Statistic = "median" if fine else "mean"
        return Block.of(wall_s[kept] / calls, cpu_s[kept] / calls, statistic, level_s[kept])

    return Job(block, "median", calls, fine)


def _streamed(call: Callable[[Any], object], inputs: Sequence[Any], plan: Plan, clocks: Clocks, probe: Probe) -> Job:
    position = 0

    def step() -> None:
        nonlocal position
        call(inputs[position % len(inputs)])
        position += 1

    _warm_up(step, plan.warm_up_s, clocks.wall)
    wall, cpu = clocks.wall, clocks.cpu

    def block() -> Block:
        wall_s, level_s = np.empty(len(inputs)), np.full(len(inputs), math.inf)
        start, begin = cpu(), wall()
        waiting: Sequence[int] = range(len(inputs))
        for _ in range(_PATIENCE):
            before = probe()
            for i in waiting:
                sample = inputs[i]
                w = wall()
                call(sample)
                seconds = wall() - w
                after = probe()
                if max(before, after) < level_s[i]:
                    wall_s[i], level_s[i] = seconds, max(before, after)
                before = after
            waiting = [i for i in waiting if plan.threads == 1 and not probe.quiet(level_s[i])]
            if not waiting:
                break
        # No CPU clock is fine enough for single samples; they keep their shares of what the block used.
        share = (cpu() - start) / (wall() - begin)
        return Block.of(wall_s, wall_s * share, "mean", level_s)

    return Job(block, "mean", 1, False)


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
