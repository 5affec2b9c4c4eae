"""Timing early-exit networks that are loaded: calls to each exit, streams of samples, and single calls.

Wherever networks are timed, here or on a board, it is this that times them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from nas.devices import system
from nas.devices.timing.measuring import measure_together
from nas.devices.timing.readings import Readings, emulated_by
from nas.devices.timing.single_calls import SingleJob, SingleReadings, single_calls

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from typing import Protocol

    from numpy.typing import NDArray

    from nas.devices.timing.plan import Plan

    Sample = NDArray[np.float32]

    class Callee(Protocol):
        """A network that is loaded, as `nas.deploy.cascade` has it."""

        def __len__(self) -> int: ...

        def __call__(self, sample: Sample) -> object: ...

        def run_to(self, sample: Sample, last: int) -> object: ...


@dataclass(frozen=True)
class CascadeReadings:
    """What was read of one network: of calls to each exit, and of a stream and of single calls where these were wanted.

    Single calls are over the samples as they leave where there is a stream or these are drawn, else to the last exit.
    """

    to_exits: tuple[Readings, ...]
    stream: Readings | None
    single: SingleReadings | None = None


def time_cascades(
    cascades: Mapping[str, Callee],
    streams: Collection[str],
    samples: Sequence[Sample],
    plan: Plan,
    reference: Callee | None = None,
) -> dict[str, CascadeReadings]:
    """Time networks in interleaved blocks, by name; those named in `streams` over all `samples` too.

    Single calls of those named in `plan.singles` follow, in interleaved blocks of their own.

    Calls take the first sample, repeated to the batch of the plan where it is one. `reference` is watched meanwhile.
    Readings of an emulated processor are refused: they say nothing of the one that it stands for.
    """
    first = filled(samples[0], plan.batch)
    calls = {
        f"{name}/{k}": partial(cascade.run_to, first, k)
        for name, cascade in cascades.items()
        for k in range(len(cascade))
    }
    means = {name: cascade for name, cascade in cascades.items() if name in streams}
    watch = None if reference is None else partial(reference.run_to, first, len(reference) - 1)
    readings: Mapping[str, Readings] = measure_together(calls, means, samples, plan, reference=watch)
    jobs = {}
    for name, single in plan.singles.items():
        cascade = cascades[name]
        to_last = partial(_to_exit, cascade, len(cascade) - 1)
        streamed = name in streams or single.seed is not None
        call: Callable[[Sample], object] = cascade if streamed else to_last
        jobs[name] = SingleJob(call, samples if plan.batch == 1 else [first], single)
    taken: Mapping[str, SingleReadings] = single_calls(jobs, plan, reference=watch)
    if emulator := system.emulated():
        refused = emulated_by(emulator)
        readings = {name: replace(read, refused=refused) for name, read in readings.items()}
        taken = {name: replace(read, refused=refused) for name, read in taken.items()}
    found = {}
    for name, cascade in cascades.items():
        to_exits = tuple(readings[f"{name}/{k}"] for k in range(len(cascade)))
        found[name] = CascadeReadings(to_exits, readings.get(name), taken.get(name))
    return found


def filled(sample: Sample, batch: int) -> Sample:
    """A sample [1, ...] as often as a call takes it; a whole batch as it is."""
    return sample if len(sample) == batch else np.repeat(sample, batch, axis=0)


def _to_exit(cascade: Callee, last: int, sample: Sample) -> object:
    return cascade.run_to(sample, last)
