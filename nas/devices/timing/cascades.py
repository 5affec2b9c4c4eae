"""Timing early-exit networks that are loaded: calls to each exit, streams of samples, and single calls.

Wherever networks are timed, here or on a board, it is this that times them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from nas.devices import system
from nas.devices.timing.measuring import measure_together, single_calls
from nas.devices.timing.readings import Readings, emulated_by

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from typing import Protocol

    from numpy.typing import NDArray

    from nas.devices.timing.plan import Plan
    from nas.devices.timing.readings import Seconds

    Sample = NDArray[np.float32]

    class Callee(Protocol):
        """A network that is loaded, as `nas.deploy.cascade` has it."""

        def __len__(self) -> int: ...

        def __call__(self, sample: Sample) -> object: ...

        def run_to(self, sample: Sample, last: int) -> object: ...


@dataclass(frozen=True)
class CascadeReadings:
    """What was read of one network: of calls to each exit, of a stream where one was wanted, and of single calls [n].

    Single calls are over the samples of the stream as they leave, and else to the last exit.
    """

    to_exits: tuple[Readings, ...]
    stream: Readings | None
    single_s: Seconds


def time_cascades(
    cascades: Mapping[str, Callee],
    streams: Collection[str],
    samples: Sequence[Sample],
    plan: Plan,
    reference: Callee | None = None,
) -> dict[str, CascadeReadings]:
    """Time networks in interleaved blocks, by name; those named in `streams` over all `samples` too.

    Calls take the first sample, repeated to the batch of the plan where it is one. `reference` is watched meanwhile.
    Readings of an emulated processor are refused: they say nothing of the one that it stands for.
    """
    first = filled(samples[0], plan.batch)
    calls = {
        f"{name}/{k}": partial(cascade.run_to, first, k)
        for name, cascade in cascades.items()
        for k in range(len(cascade))
    }
    streamed = {name: cascade for name, cascade in cascades.items() if name in streams}
    watch = None if reference is None else partial(reference.run_to, first, len(reference) - 1)
    readings: Mapping[str, Readings] = measure_together(calls, streamed, samples, plan, reference=watch)
    if emulator := system.emulated():
        readings = {name: replace(read, refused=emulated_by(emulator)) for name, read in readings.items()}
    found = {}
    for name, cascade in cascades.items():
        last = len(cascade) - 1
        single = (
            single_calls(cascade, samples, plan)
            if name in streams
            else single_calls(partial(_to_exit, cascade, last), [first], plan)
        )
        to_exits = tuple(readings[f"{name}/{k}"] for k in range(len(cascade)))
        found[name] = CascadeReadings(to_exits, readings.get(name), single)
    return found


def filled(sample: Sample, batch: int) -> Sample:
    """A sample [1, ...] as often as a call takes it; a whole batch as it is."""
    return sample if len(sample) == batch else np.repeat(sample, batch, axis=0)


def _to_exit(cascade: Callee, last: int, sample: Sample) -> object:
    return cascade.run_to(sample, last)
