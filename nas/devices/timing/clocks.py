"""What a CPU clock can tell apart, found by looking at it.

On Linux the clock of a process counts nanoseconds, so that every reading can have a CPU time of its own. Elsewhere it
is one of ticks of some milliseconds; then it speaks of long stretches only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    Clock = Callable[[], float]

#: A clock is fine enough for readings of at least so many of its steps.
_STEPS_PER_READING = 10
#: A stretch of so many steps tells by its CPU time whether the core was shared, and no shorter one.
_STEPS_PER_STRETCH = 10
#: No block takes longer than that for the sake of a coarse clock.
_LONGEST_STRETCH_S = 1.0
#: Readings of the clock in search of its steps: enough to see one of 10 ms, even where reading takes 0.1 us.
_TRIES, _STEPS_SEEN = 200_000, 100


@dataclass(frozen=True)
class Precision:
    """The smallest step of a CPU clock, and the CPU time that is charged to a reading of nothing; both in seconds.

    The step is infinite for a clock that stood still all the while.
    """

    step_s: float
    cost_s: float

    def fine(self, reading_s: float) -> bool:
        """Whether single readings of that length have a CPU time of their own."""
        return _STEPS_PER_READING * self.step_s <= reading_s

    @property
    def stretch_s(self) -> float:
        """The shortest stretch, in seconds, of which the clock tells whether it was spent waiting."""
        return min(_STEPS_PER_STRETCH * self.step_s, _LONGEST_STRETCH_S)


def precision(cpu: Clock, wall: Clock) -> Precision:
    """Look at a CPU clock for as long as it takes to see a few steps."""
    steps: list[float] = []
    last = cpu()
    for _ in range(_TRIES):
        now = cpu()
        if now > last:
            steps.append(now - last)
            if len(steps) == _STEPS_SEEN:
                break
        last = now
    costs = []
    for _ in range(_STEPS_SEEN):
        # As a reading is taken, but for the call.
        before = cpu()
        wall()
        wall()
        costs.append(cpu() - before)
    return Precision(min(steps, default=math.inf), min(costs))
