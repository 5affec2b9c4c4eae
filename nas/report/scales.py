"""From quantities to positions: round ticks, and scales that are linear or logarithmic.

Ticks are multiples of 1, 2 or 5 times a power of ten, as in Heckbert, "Nice numbers for graph labels" (Graphics Gems,
1990); on a logarithmic scale that spans decades, they are 1, 2 and 5 in each, or powers of ten alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

#: A scale whose ends differ by more than this factor is drawn logarithmic.
LOG_FROM_RATIO = 12.0


def ticks(low: float, high: float, count: int = 5) -> tuple[float, ...]:
    """Round numbers within [low, high], evenly spaced and increasing, about `count` of them.

    At least one and at most 1.5 * count + 1. Raises ValueError unless count >= 2 and low < high, both finite and
    differing by more than their rounding.
    """
    if not (math.isfinite(low) and math.isfinite(high) and high - low > 1e-9 * max(abs(low), abs(high))) or count < 2:
        raise ValueError(f"ticks need low < high and a count of at least 2, got {low}, {high}, {count}")
    raw = (high - low) / count
    power = math.floor(math.log10(raw))
    fraction = raw / 10.0**power
    digit = 1 if fraction < 1.5 else 2 if fraction < 3 else 5 if fraction < 7 else 10
    first = math.ceil(_steps(low, digit, power) - 1e-9)
    last = math.floor(_steps(high, digit, power) + 1e-9)
    return tuple(min(max(_multiple(n, digit, power), low), high) for n in range(first, last + 1))


def log_ticks(low: float, high: float, count: int = 5) -> tuple[float, ...]:
    """Round numbers within [low, high], increasing: 1, 2, 5 per decade, or powers of ten where those are too many.

    Falls back to `ticks` for less than a decade. Raises ValueError unless 0 < low < high, both finite.
    """
    if not (math.isfinite(high) and 0 < low < high):
        raise ValueError(f"logarithmic ticks need 0 < low < high, got {low} and {high}")
    if high / low < 10:
        return ticks(low, high, count)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    every = max(1, round(math.log10(high / low) / count))
    for digits in ((1, 2, 5), (1, 3), (1,)):
        found = [_multiple(d, 1, p) for p in decades for d in digits if digits != (1,) or p % every == 0]
        inside = tuple(value for value in found if low <= value <= high)
        if len(inside) <= 2 * count:
            break
    return inside or ticks(low, high, count)


def _multiple(n: int, digit: int, power: int) -> float:
    # Divided rather than multiplied by a negative power of ten: 3 / 10 is the float nearest to 0.3.
    return n * digit / 10.0**-power if power < 0 else n * digit * 10.0**power


def _steps(value: float, digit: int, power: int) -> float:
    return value * 10.0**-power / digit if power < 0 else value / (digit * 10.0**power)


def tick_labels(values: Sequence[float]) -> tuple[str, ...]:
    """The ticks as text with just the digits that tell them apart."""
    steps = [b - a for a, b in pairwise(values)]
    even = bool(steps) and max(steps) <= 1.001 * min(steps)
    if not even:
        return tuple(f"{value:.6g}" for value in values)
    digits = max(0, -math.floor(math.log10(steps[0]) + 1e-9))
    return tuple(f"{value + 0.0:.{digits}f}".replace("-", "\N{MINUS SIGN}") for value in values)


@dataclass(frozen=True)
class Scale:
    """Maps [low, high] onto positions [start, end], linearly or logarithmically; `end` may lie before `start`."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The position of a value; values outside land outside."""
        low, high, at = self.low, self.high, value
        if self.log:
            low, high, at = math.log(low), math.log(high), math.log(at)
        return self.start + (at - low) / (high - low) * (self.end - self.start)

    def ticks(self, count: int = 5) -> tuple[float, ...]:
        """Round values on the scale."""
        return log_ticks(self.low, self.high, count) if self.log else ticks(self.low, self.high, count)


def fitted(
    values: Iterable[float], start: float, end: float, *, pad: float = 0.06, log: bool = False, zero: bool = False
) -> Scale:
    """A scale on which all values lie with room to spare; `zero` makes it begin at 0.

    With `log` it is logarithmic, but only if the values are positive and differ by more than LOG_FROM_RATIO.
    """
    found = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(found), max(found)
    if log and low > 0 and high / low > LOG_FROM_RATIO:
        room = (high / low) ** pad
        return Scale(low / room, high * room, start, end, log=True)
    if zero:
        low = min(low, 0.0)
    room = max(pad * (high - low), 1e-6 * abs(high)) if high > low else 0.1 * abs(high) or 1.0
    return Scale(low if zero and low == 0 else low - room, high + room, start, end)
