"""How much to measure."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """How much to measure: per thing `blocks` blocks of about `block_s` seconds each, after `warm_up_s` seconds.

    A reading lasts at least `reading_s`, for which short calls are made several times in a row; so the timers, which
    take a microsecond together, stay under 1 %. It lasts longer where a block would else have over `max_readings`.
    Half of a block's readings are kept: those that did not wait for the core, and beside which it was least disturbed;
    where too few are quiet, a block takes longer.
    Contended blocks are repeated in up to `repeats` further rounds. Between two rounds there are `gap_s` seconds of
    rest, so that the blocks of one thing see the machine at different times. `single_calls` calls are taken afterwards,
    each on its own and all of them counted: fewer where they last longer than `single_s`, but a fiftieth of them.
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
    single_calls: int = 0
    single_s: float = 5.0

    def calls_and_readings(self, per_call_s: float) -> tuple[int, int]:
        """Calls per reading and readings per block of something that takes so many seconds."""
        # No call takes less than that, whatever a coarse clock says.
        per_call_s = max(per_call_s, 1e-7)
        calls = max(1, math.ceil(max(self.reading_s, self.block_s / self.max_readings) / per_call_s))
        readings = round(self.block_s / (calls * per_call_s))
        return calls, min(max(readings, self.min_readings), self.max_readings)
