"""Taking readings: warm, interleaved, on both clocks, and again where the machine was not what it usually is.

What is estimated is the time on an undisturbed core: what the program takes while nobody else has its core. Several
things are measured in rounds, a block of each per round in an order that changes, so that a machine that drifts drifts
under all of them. On one thread a program that has its core to itself uses as much CPU time as wall time; a reading
whose wall time is 10 % above waited for the core, and another one takes its place. So both clocks are read around every
reading, never around a stretch of which some readings are then dropped: the share of a core in such a stretch belongs
to other readings. Where a CPU clock is too coarse for that, it says whether a stretch was contended, and corrects
nothing. What CPU time cannot show is contention for caches and memory, or a lower clock: those show in a reference
program that runs between the rounds, and in the spread of the blocks. Another tenant on the other thread of a core
shows in a probe beside each reading. `rounds` has the order of things, `probe` says what a probe is.
"""

from __future__ import annotations

import contextlib
import gc
import math
import time
from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.devices.system import Throttle, throttle
from nas.devices.timing.clocks import precision
from nas.devices.timing.kernel import stolen_s, waited_s
from nas.devices.timing.plan import Plan
from nas.devices.timing.probe import shared
from nas.devices.timing.rounds import Block, Job, run
from nas.tolerances import CONTENDED_WALL_TO_CPU

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from nas.devices.timing.clocks import Clock, Precision
    from nas.devices.timing.probe import Probe
    from nas.devices.timing.readings import Readings

#: A block takes at most this many times the readings it is to have, in search of undisturbed ones.
_PATIENCE = 3
#: A block of a short stream may take that long, so that one slice of somebody else's does not end the search.
_SEARCH_S = 0.2
#: How long the machine is looked at before the first reading.
_LOOK_S = 0.2


@dataclass(frozen=True)
class Clocks:
    """Wall and CPU clock, in seconds, and the probe that is run beside the readings (None: that of this process).

    `waited` and `stolen` are what `kernel` says of the time that this process did not have, `sleep` is how it idles,
    `throttle` says whether the processor is slowed down.

    The CPU clock is that of the whole process: a clock of the calling thread would miss work done by others, and then
    call it contention. So nothing else in the process may be busy meanwhile.
    """

    wall: Clock = time.perf_counter
    cpu: Clock = time.process_time
    probe: Probe | None = None
    waited: Callable[[bool], float | None] = waited_s
    stolen: Callable[[], float | None] = stolen_s
    sleep: Callable[[float], object] = time.sleep
    throttle: Callable[[], Throttle] = throttle


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

    A stream's block is one pass over `inputs` in order, and more over those samples that were disturbed; `block_s` and
    the number of readings of the plan do not apply. The names of calls and streams must differ. Raises ValueError for
    streams without inputs.
    """
    plan, clocks = plan or Plan(), clocks or Clocks()
    if streams and not inputs:
        raise ValueError("a stream needs at least one sample")
    known = precision(clocks.cpu, clocks.wall)
    probe = clocks.probe or shared()
    probe.warm_up(_LOOK_S)
    with no_garbage_collection():
        jobs = {name: _repeated(call, plan, clocks, probe, known) for name, call in calls.items()}
        jobs.update((name, _streamed(call, inputs, plan, clocks, probe, known)) for name, call in streams.items())
        watch = None if reference is None else _repeated(reference, plan, clocks, probe, known)
        return run(jobs, plan, probe, watch, clocks.throttle)


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


def _repeated(call: Callable[[], object], plan: Plan, clocks: Clocks, probe: Probe, known: Precision) -> Job:
    per_call = warm_up(call, plan.warm_up_s, clocks.wall)
    calls, n = plan.calls_and_readings(per_call)
    # Half of the readings are enough, so that a core that is shared half of the time costs no time.
    enough = max(plan.min_readings, n // 2)
    fine, alone = known.fine(calls * per_call), plan.threads == 1
    wall, cpu = clocks.wall, clocks.cpu

    def block() -> Block:
        taken: list[tuple[float, float, float, bool]] = []
        start, begin, quiet, before = cpu(), wall(), 0, probe()
        while (
            len(taken) < n
            or (quiet < enough and len(taken) < _PATIENCE * n)
            or (not fine and wall() - begin < known.stretch_s)
        ):
            c = cpu()
            w = wall()
            for _ in repeat(None, calls):
                call()
            wall_s = wall() - w
            cpu_s = cpu() - c - known.cost_s
            after = probe()
            level = max(before, after)
            waited = fine and alone and wall_s > CONTENDED_WALL_TO_CPU * cpu_s
            taken.append((wall_s, cpu_s, level, waited))
            # With several threads the probe would see the runtime's own, which spin for a while after a call.
            quiet += not alone or (not waited and probe.quiet(level))
            before = after
        stretch = wall() - begin, cpu() - start
        wall_s, cpu_s, level_s, waited = np.array(taken).T
        # The least disturbed ones, in the order in which they were taken.
        kept = np.sort(np.lexsort((level_s, waited))[:enough])
        if fine:
            return Block.of(wall_s[kept] / calls, cpu_s[kept] / calls, "median", level_s[kept])
        return Block.of_stretch(wall_s[kept] / calls, level_s[kept], stretch, known.step_s)

    return Job(block, "median", calls, fine)


def _streamed(
    call: Callable[[Any], object], inputs: Sequence[Any], plan: Plan, clocks: Clocks, probe: Probe, known: Precision
) -> Job:
    position = 0

    def step() -> None:
        nonlocal position
        call(inputs[position % len(inputs)])
        position += 1

    per_call = warm_up(step, plan.warm_up_s, clocks.wall)
    # As many samples between two looks at probe and CPU clock as calls in a reading: looking costs the next one time.
    calls, n = plan.calls_and_readings(per_call)[0], len(inputs)
    groups = [range(first, min(first + calls, n)) for first in range(0, n, calls)]
    fine, alone = known.fine(calls * per_call), plan.threads == 1
    wall, cpu = clocks.wall, clocks.cpu

    def block() -> Block:
        wall_s, cpu_s, level_s = np.empty(n), np.full(n, math.nan), np.full(n, math.inf)
        waited, took_s = np.ones(len(groups), np.bool_), np.empty(calls)
        start, begin = cpu(), wall()
        again: Sequence[int] = range(len(groups))
        last, enough_s = -1, math.inf
        while wall() - begin < (enough_s if again else 0.0 if fine else known.stretch_s):
            before = probe()
            for number in again or range(len(groups)):
                group = groups[number]
                if number != (last + 1) % len(groups):
                    # Samples taken again come after the one before them, as in the pass: neither is in a cache.
                    call(inputs[group.start - 1])
                    before = probe()
                c = cpu()
                for place, i in enumerate(group):
                    sample = inputs[i]
                    w = wall()
                    call(sample)
                    took_s[place] = wall() - w
                used_s = cpu() - c - known.cost_s
                after = probe()
                level, of_group = max(before, after), took_s[: len(group)]
                whole_s = of_group.sum()
                share = used_s / whole_s if whole_s > 0 else 1.0
                waits = fine and alone and bool(whole_s > CONTENDED_WALL_TO_CPU * used_s)
                if (waits, level) < (waited[number], level_s[group.start]):
                    span = slice(group.start, group.stop)
                    wall_s[span], cpu_s[span], level_s[span] = of_group, of_group * share, level
                    waited[number] = waits
                before, last = after, number
            enough_s = min(enough_s, max(_PATIENCE * (wall() - begin), _SEARCH_S))
            again = [k for k in again if alone and (waited[k] or not probe.quiet(level_s[groups[k].start]))]
        if fine:
            return Block.of(wall_s, cpu_s, "mean", level_s)
        return Block.of_stretch(wall_s, level_s, (wall() - begin, cpu() - start), known.step_s)

    return Job(block, "mean", 1, fine)


def warm_up(call: Callable[[], object], seconds: float, wall: Clock) -> float:
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


@contextlib.contextmanager
def no_garbage_collection() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
