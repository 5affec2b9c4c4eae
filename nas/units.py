"""Quantities with units: text such as "8 ms" into SI floats, and SI floats into text for people.

Inside the program every quantity is SI and its name says so (`latency_s`, `energy_j`, `bytes`). A bare number from a
user is refused, because 8 may mean milliseconds to one reader and seconds to the next.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated

from nas.errors import InputError


@dataclass(frozen=True, slots=True)
class Unit:
    """Marks a constructor's float as a quantity: the configuration then reads it with `parse_quantity`."""

    symbol: str


Seconds = Annotated[float, Unit("s")]
Joules = Annotated[float, Unit("J")]
Bytes = Annotated[float, Unit("B")]

# Decimal, so that "3 us" is the float nearest to 3e-6 and not 3 * 1e-6. Largest first, for formatting.
_SCALES: dict[str, dict[str, Decimal]] = {
    "s": {
        "h": Decimal(3600),
        "min": Decimal(60),
        "s": Decimal(1),
        "ms": Decimal("1e-3"),
        "us": Decimal("1e-6"),
        "ns": Decimal("1e-9"),
    },
    "J": {"J": Decimal(1), "mJ": Decimal("1e-3")},
    "B": {
        "GiB": Decimal(2**30),
        "MiB": Decimal(2**20),
        "KiB": Decimal(2**10),
        "B": Decimal(1),
        "MB": Decimal(10**6),
        "kB": Decimal(10**3),
    },
}
#: Units that are read and not written.
_READ_ONLY = frozenset({"MB", "kB", "min", "h"})
_MICRO = {"\N{MICRO SIGN}s": "us", "\N{GREEK SMALL LETTER MU}s": "us"}
_EXAMPLES = {"s": ("ms", "s"), "J": ("mJ", "J"), "B": ("MiB", "B")}
_QUANTITY = re.compile(r"\s*([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)\s*([^\W\d_]*)\s*")


def parse_quantity(value: object, unit: str, what: str = "a budget") -> float:
    """Read `value`, a text such as "8 ms", as a positive finite number of `unit` ("s", "J" or "B").

    `what` names the quantity in messages. Raises InputError for a bare number, an unknown unit, and anything that is
    not a positive finite quantity.
    """
    scales = _SCALES[unit]
    small, large = _EXAMPLES[unit]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if not math.isfinite(value) or value <= 0:
            raise InputError(f"{what} of {value} is impossible; write a positive quantity, such as '8 {small}'")
        raise InputError(f"{what} of {value} has no unit; write '{value} {small}' or '{value} {large}'")
    match = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise InputError(f"{what} of {value!r} is not a quantity; write a number and a unit, such as '8 {small}'")
    number, name = match.group(1), match.group(2)
    if not name:
        raise InputError(f"{what} of {number} has no unit; write '{number} {small}' or '{number} {large}'")
    name = _MICRO.get(name, name)
    if name not in scales:
        raise InputError(f"{what} of {value!r} has the unit {name!r}; it takes one of {', '.join(scales)}")
    # Checked as a float first: Decimal itself raises on exponents that a float rounds to zero or infinity.
    in_range = 0 < float(number) < math.inf
    result = float(Decimal(number) * scales[name]) if in_range else 0.0
    if not 0 < result < math.inf:
        raise InputError(f"{what} of {value!r} is impossible; write a positive quantity, such as '8 {small}'")
    return result


def format_quantity(value: float, unit: str) -> str:
    """Write `value`, in `unit` ("s", "J" or "B"), with three significant digits and the unit that suits its size."""
    if not math.isfinite(value) or value == 0:
        return f"{value:g} {unit}"
    names = [name for name in _SCALES[unit] if name not in _READ_ONLY]
    for name in names:
        scaled = float(f"{value / float(_SCALES[unit][name]):.3g}")  # rounded first: 999.9 us is 1.00 ms
        if abs(scaled) >= 1 or name == names[-1]:
            break
    if unit == "B" and (name == "B" or abs(scaled) >= 1000):
        return f"{value / float(_SCALES[unit][name]):.0f} {name}"
    if abs(scaled) < 1:
        return f"{scaled:.3g} {name}"
    return f"{scaled:.{max(0, 2 - math.floor(math.log10(abs(scaled))))}f} {name}"


def format_seconds(seconds: float) -> str:
    """Write a duration for people: 0.008 is "8.00 ms"."""
    return format_quantity(seconds, "s")


def format_joules(joules: float) -> str:
    """Write an energy for people: 0.3 is "300 mJ"."""
    return format_quantity(joules, "J")


def format_bytes(count: float) -> str:
    """Write a size for people, in binary units: 2097152 is "2.00 MiB"."""
    return format_quantity(count, "B")
