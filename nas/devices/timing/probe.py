"""A probe beside each reading: whether the core did its work at full speed just then.

Two hardware threads share a core's units. When another tenant of the machine is busy on the other one, a program takes
up to twice as long, and neither clock tells: it is charged CPU time for every second of it. A short fixed computation
right before and after a reading does tell. Readings are kept or dropped by the probe alone, never by their own value,
so what is kept is what the program takes on an undisturbed core.
"""

from __future__ import annotations

import time
from collections import deque
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

from nas.tolerances import QUIET_PROBE

if TYPE_CHECKING:
    from collections.abc import Callable

#: Additions in a probe: some 25 us on a core of 3 GHz; long beside the clock, short beside most readings.
_ADDITIONS: Final = 1000
#: The share of all levels that is taken to be undisturbed; a lower one would be the clock's luck.
_LOWEST: Final = 0.01
#: Levels looked back at: some minutes of measuring. A clock that is lower for good becomes the usual one.
_REMEMBERED: Final = 20_000
#: Levels between two looks at all of them.
_BETWEEN: Final = 500


def _work() -> None:
    total = 0
    for number in range(_ADDITIONS):
        total += number


class Probe:
    """Times a fixed computation, and remembers how fast it can be."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter, work: Callable[[], object] = _work) -> None:
        self._clock, self._work = clock, work
        self._levels: deque[float] = deque(maxlen=_REMEMBERED)
        self._floor_s, self._new = float("inf"), 0

    def __call__(self) -> float:
        """Seconds that the computation takes now."""
        start = self._clock()
        self._work()
        level_s = self._clock() - start
        self._levels.append(level_s)
        self._new += 1
        return level_s

    def warm_up(self, seconds: float) -> None:
        """Look at the machine for a while, so that there is a floor to compare with."""
        end = self._clock() + seconds
        while self._clock() < end:
            self()

    @property
    def floor_s(self) -> float:
        """What the computation takes on an undisturbed core, as far as was seen; infinite before the first level."""
        # Sorting anew for each reading would disturb it.
        if self._new >= min(_BETWEEN, 1 + len(self._levels) // 10):
            self._new = 0
            self._floor_s = float(np.quantile(np.array(self._levels), _LOWEST))
        return self._floor_s

    def quiet(self, level_s: float) -> bool:
        """Whether the core was undisturbed at a level."""
        return level_s <= QUIET_PROBE * self.floor_s


@lru_cache(maxsize=16)
def shared(single: bool = False, every_s: float | None = None) -> Probe:
    """The probe of this process: what an earlier measurement learned about the machine holds for the next.

    Beside `single` calls, due every `every_s` seconds, it has memories of its own: caches are colder there than in a
    loop of probes, and after a rest clocks may be lower, though nobody else is there.
    """
    return Probe()
