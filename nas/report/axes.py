"""The frame of a plot: grid, tick labels and axis titles around a pair of scales."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nas.report import svg
from nas.report.scales import Scale, tick_labels
from nas.report.svg import Box, Node

#: Seconds per unit of a latency axis, by the largest value on it.
_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))


@dataclass(frozen=True)
class Frame:
    """Where the plot lies within its drawing."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def box(self) -> Box:
        """The area between the axes."""
        return Box(self.left, self.top, self.right - self.left, self.bottom - self.top)


def latency_unit(largest_s: float) -> tuple[float, str]:
    """The unit for an axis up to `largest_s`: its seconds and its symbol."""
    return next(((size, name) for size, name in _UNITS if largest_s >= size), _UNITS[-1])


def draw(
    frame: Frame,
    x: Scale,
    y: Scale,
    x_title: str,
    y_title: str,
    counts: tuple[int, int] = (6, 5),
    x_labels: Callable[[Sequence[float]], Sequence[str]] = tick_labels,
    y_labels: Callable[[Sequence[float]], Sequence[str]] = tick_labels,
) -> list[Node]:
    """Grid, ticks and titles; the title of y stands in the upper corner, where it reads without turning the head."""
    nodes = []
    values = y.ticks(counts[1])
    for value, text in zip(values, y_labels(values), strict=True):
        at = y(value)
        nodes += [
            svg.line(frame.left, at, frame.right, at, "grid"),
            svg.label(frame.left - 7, at + 4, text, "tick", "end"),
        ]
    values = x.ticks(counts[0])
    for value, text in zip(values, x_labels(values), strict=True):
        at = x(value)
        nodes += [
            svg.line(at, frame.bottom, at, frame.bottom + 5, "axis"),
            svg.label(at, frame.bottom + 19, text, "tick", "middle"),
        ]
    nodes += [
        svg.line(frame.left, frame.bottom, frame.right, frame.bottom, "axis"),
        svg.label(frame.right, frame.bottom + 37, x_title, "axis-title", "end"),
        svg.label(0, 13, y_title, "axis-title"),
    ]
    return nodes
