"""How much to measure."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


#: Calls of a block that a bound of the percentile needs: from 59 and 299 on there is one at 95 %.
LEAST_CALLS = {0.95: 60, 0.99: 300}


@dataclass(frozen=True)
class SinglePlan:
    """How many single calls of a network to take: `blocks` blocks of `calls`, each on its own and all of them counted.

    They are fewer where a block would last longer than `block_s`, but `least` at any rate. With `every_s` one call is
    due every so many seconds, and the processor idles in between. Disturbed blocks are repeated in up to `repeats`
    further rounds. With a `seed` the calls are over a stream: each takes a sample that is drawn anew, with replacement,
    and leaves where its thresholds let it, so that every block has a fresh sample of what might come. Without one the
    samples come in turn, the same in every block.
    """

    blocks: int = 3
    calls: int = 334
    least: int = 7
    block_s: float = 1.7
    every_s: float | None = None
    repeats: int = 0
    seed: int | None = None

    def size(self, per_call_s: float) -> int:
        """Calls in a block of a network that takes so many seconds."""
        time_for = self.block_s / max(per_call_s, self.every_s or 0.0, 1e-7)
        return round(min(max(time_for, self.least), max(self.calls, self.least)))


@dataclass(frozen=True)
class Plan:
    """How much to measure: per thing `blocks` blocks of about `block_s` seconds each, after `warm_up_s` seconds.

    A reading lasts at least `reading_s`, for which short calls are made several times in a row; so the timers, which
    take a microsecond together, stay under 1 %. It lasts longer where a block would else have over `max_readings`.
    Half of a block's readings are kept: those that did not wait for the core, and beside which it was least disturbed;
    where too few are quiet, a block takes longer.
    Contended blocks are repeated in up to `repeats` further rounds. Between two rounds there are `gap_s` seconds of
    rest, so that the blocks of one thing see the machine at different times.
    Single calls of what `singles` name are taken afterwards.
    `threads` and `batch` are what the target says of threads within an operator and samples per call.
    """

    blocks: int = 5
    block_s: float = 0.2
    warm_up_s: float = 0.1
    reading_s: float = 1e-4
    min_readings: int = 11
    max_readings: int = 500
    repeats: int = 3
    threads: int = 1
    batch: int = 1
    seed: int = 0
    gap_s: float = 0.0
    singles: Mapping[str, SinglePlan] = field(default_factory=dict)

    def calls_and_readings(self, per_call_s: float) -> tuple[int, int]:
        """Calls per reading and readings per block of something that takes so many seconds."""
        # No call takes less than that, whatever a coarse clock says.
        per_call_s = max(per_call_s, 1e-7)
        calls = max(1, math.ceil(max(self.reading_s, self.block_s / self.max_readings) / per_call_s))
        readings = round(self.block_s / (calls * per_call_s))
        return calls, min(max(readings, self.min_readings), self.max_readings)


#: Blocks of single calls where a percentile decides. A thousand calls of a small network are over in a moment, and the
#: percentiles of such moments differ by a tenth and more: of so many, the largest is seldom below that of another one.
#: At a duty cycle a block lasts seconds, and has many moments in it.
SHORT_BLOCKS, LONG_BLOCKS = 10, 3


def single_plan(percentile: float | None, every_s: float | None) -> SinglePlan:
    """The single calls of a network that is verified: enough where a percentile decides, else some for the report."""
    if percentile is None:
        return SinglePlan()
    blocks = SHORT_BLOCKS if every_s is None else LONG_BLOCKS
    return SinglePlan(blocks, calls=1000, least=LEAST_CALLS[percentile], block_s=3.0, every_s=every_s, repeats=6)
