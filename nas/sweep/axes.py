"""The axes of a sweep: keys of an experiment with several values, listed or drawn."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from nas.config.parse import shown
from nas.config.registry import nearest
from nas.errors import InputError
from nas.seeds import derive_seed

#: More runs than this are a mistake.
MOST_CELLS: Final = 2000
#: Digits of a number that is drawn: it becomes part of a folder's name.
_DIGITS: Final = 4
#: Drawing is given up where so many draws per cell gave nothing new.
_DRAWS_PER_CELL: Final = 200
_QUANTITY: Final = re.compile(r"\s*([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)\s*([^\W\d_]+)\s*")
_LIST: Final = "a list such as [0, 1]"

#: The values of one cell, by key.
Values = Mapping[str, Any]


@dataclass(frozen=True)
class Listed:
    """Values that are written out."""

    values: tuple[Any, ...]

    def draw(self, rng: np.random.Generator) -> Any:
        """One of them."""
        return self.values[int(rng.integers(len(self.values)))]


@dataclass(frozen=True)
class Drawn:
    """Numbers between two others, both included, drawn as `kind` says; `unit` is written behind them."""

    kind: str
    low: float
    high: float
    unit: str = ""

    def draw(self, rng: np.random.Generator) -> Any:
        """One of them, with few digits."""
        if self.kind == "int":
            return int(rng.integers(int(self.low), int(self.high), endpoint=True))
        if self.kind == "log":
            value = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
        else:
            value = rng.uniform(self.low, self.high)
        return self.at(value)

    def at(self, number: float) -> Any:
        """A number of the range as a cell has it: with few digits, and the unit."""
        if self.kind == "int":
            return int(number)
        value = min(max(float(f"{number:.{_DIGITS}g}"), self.low), self.high)
        return f"{value:g} {self.unit}" if self.unit else value


#: What is drawn how: in the order of a message.
_KINDS: Final = ("log", "uniform", "int")
Axis = Listed | Drawn


def read(key: str, written: Any, samples: int | None) -> Axis:
    """The axis that a sweep file writes behind a key; raises InputError."""
    where = f"axes.{key}"
    if isinstance(written, list):
        if not written:
            raise InputError(f"{where}: the list is empty; give at least one value, or leave the axis out")
        return Listed(tuple(written))
    if not isinstance(written, dict):
        raise InputError(
            f"{where}: expected {_LIST}, or with `samples` a range such as {{log: [0.02, 0.3]}}, got {shown(written)}"
        )
    if len(written) != 1 or (kind := next(iter(written))) not in _KINDS:
        given = next((str(name) for name in written if name not in _KINDS), "") if written else ""
        near = nearest(given, _KINDS) if given else "."
        raise InputError(
            f"{where}: a range is one of {', '.join(_KINDS)} and its two ends, got {shown(written)}{near} A section "
            f"among other values is written in a list: [{shown(written)}]"
        )
    if samples is None:
        raise InputError(f"{where}: a range is drawn from, and a grid is not; give `samples`, or {_LIST}")
    return _range(where, kind, written[kind])


def _range(where: str, kind: str, ends: Any) -> Drawn:
    if not isinstance(ends, list) or len(ends) != 2:
        raise InputError(f"{where}.{kind}: expected the two ends of a range, such as [0.02, 0.3], got {shown(ends)}")
    (low, first), (high, second) = (_end(f"{where}.{kind}", kind, end) for end in ends)
    if first != second:
        raise InputError(f"{where}.{kind}: both ends need the same unit, got {shown(ends)}; write them alike")
    if not low < high:
        raise InputError(f"{where}.{kind}: {shown(ends[0])} is not below {shown(ends[1])}; write the smaller end first")
    if kind == "log" and low <= 0:
        raise InputError(f"{where}.log: a logarithmic range begins above 0, got {shown(ends[0])}; or write `uniform`")
    return Drawn(kind, low, high, first)


def _end(where: str, kind: str, end: Any) -> tuple[float, str]:
    """An end of a range, and its unit."""
    written = _QUANTITY.fullmatch(end) if isinstance(end, str) and kind != "int" else None
    number, unit = (written[1], written[2]) if written else (end, "")
    try:
        if isinstance(number, bool) or (isinstance(number, str) and not written):
            raise TypeError
        if kind == "int" and not isinstance(number, int):
            raise TypeError
        value = float(number)
    except (TypeError, ValueError, OverflowError):
        needed = "a whole number" if kind == "int" else "a number, or one with a unit"
        raise InputError(f"{where}: an end of the range is {shown(end)}; it must be {needed}") from None
    if not math.isfinite(value) or abs(value) > 2**53:
        raise InputError(f"{where}: an end of the range is {shown(end)}; it must be finite, and 2^53 is the most")
    return value, unit


def require_apart(keys: Sequence[str]) -> None:
    """Raise InputError where one axis lies in another: the later one would undo the earlier."""
    for key, other in itertools.permutations(keys, 2):
        if other.startswith(f"{key}."):
            raise InputError(f"axes: {other} lies in {key}, and both would be set; leave one of them out")


def grid(axes: Mapping[str, Axis]) -> Iterator[Values]:
    """Every combination of listed values, the last axis fastest; raises InputError where they are too many."""
    listed = {key: axis.values for key, axis in axes.items() if isinstance(axis, Listed)}
    if (count := math.prod(map(len, listed.values()))) > MOST_CELLS:
        raise InputError(
            f"axes: the grid has {count:,} cells, and {MOST_CELLS:,} are the most; give fewer values, or `samples`"
        )
    for values in itertools.product(*listed.values()):
        yield dict(zip(listed, values, strict=True))


def draws(axes: Mapping[str, Axis], samples: int, seed: int) -> Iterator[Values]:
    """So many different combinations; the first ones are the same however many are asked for.

    Raises InputError where there are not so many.
    """
    if not 1 <= samples <= MOST_CELLS:
        raise InputError(f"samples is {samples}; it must be from 1 to {MOST_CELLS:,}")
    rng, seen = np.random.default_rng(derive_seed(seed, "sweep")), set[str]()
    for _ in range(_DRAWS_PER_CELL * samples):
        values = {key: axis.draw(rng) for key, axis in axes.items()}
        if (known := json.dumps(values, default=str)) not in seen:
            seen.add(known)
            yield values
        if len(seen) == samples:
            return
    raise InputError(
        f"samples is {samples}, and of the values of the axes {len(seen)} different cells can be made; give fewer "
        "samples, or more values"
    )
