"""The pictures of a sweep's page: fronts laid over each other, and the spread of a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from markupsafe import Markup

from nas.report import formatting, svg
from nas.report.axes import Frame, draw, latency_unit
from nas.report.scales import Scale, fitted
from nas.report.svg import SHAPES, Node, Point
from nas.sweep.results import Front, Spread

#: Colours there are; of groups beyond these the lines are dashed.
COLOURS: Final = 6
_STRIP: Final = (150.0, 18.0)


def hue(number: int) -> str:
    """The classes of a group's colour and dashes."""
    return f"g{number % COLOURS} d{number // COLOURS % 3}"


def key(number: int) -> Markup:
    """A group's line, for a legend."""
    return svg.drawing(26, 14, "", [svg.line(1, 7, 25, 7, f"sweep-front {hue(number)}")])


def shape(number: int) -> Markup:
    """The mark of a budget, for a legend."""
    return svg.drawing(26, 14, "", [svg.mark(SHAPES[number % len(SHAPES)], 13, 7, 4.6, "sweep-mark any")])


def fronts(found: Sequence[Front], width: float, height: float) -> Markup:
    """Every cell's front, with its winners where they were measured."""
    frame = Frame(46.0, 28.0, width - 10, height - 48)
    winners = [
        (front, number, (verdict.measured_s, verdict.val_accuracy))
        for front in found
        for number, verdict in front.winners
        if verdict.measured_s is not None and verdict.val_accuracy is not None
    ]
    points = [point for front in found for point in front.points] + [at for _, _, at in winners]
    x = fitted((point[0] for point in points), frame.left, frame.right, log=True, zero=True)
    y = fitted((point[1] for point in points), frame.bottom, frame.top)
    unit, symbol = latency_unit(x.high)
    x_axis = Scale(x.low / unit, x.high / unit, x.start, x.end, x.log)
    y_axis = Scale(100 * y.low, 100 * y.high, y.start, y.end)
    counts = (max(3, int(width // 100)), max(4, int(height // 75)))
    nodes = draw(frame, x_axis, y_axis, f"latency ({symbol})", "validation accuracy (%)", counts)
    nodes += [_line(front, x, y) for front in found]
    for front, number, at in winners:
        title = f"{front.cell}: {formatting.percent(at[1])}, {formatting.seconds(at[0])} measured"
        kind = f"sweep-mark {hue(front.repeated.number)}"
        nodes.append(svg.mark(SHAPES[number % len(SHAPES)], x(at[0]), y(at[1]), 5.5, kind, title))
    text = f"Accuracy against latency: the best networks of {formatting.plural(len(found), 'cell')}"
    return svg.drawing(width, height, text, nodes)


def _line(front: Front, x: Scale, y: Scale) -> Node:
    corners: list[Point] = []
    for latency, accuracy in front.points:
        corners += [(x(latency), corners[-1][1] if corners else y.start), (x(latency), y(accuracy))]
    corners.append((x.end, corners[-1][1]))
    node = svg.path(corners, f"sweep-front {hue(front.repeated.number)}")
    node.append(svg.el("title", text=front.cell))
    return node


def strip(spread: Spread, ends: tuple[float, float], number: int) -> Markup:
    """Each repetition as a dot on a scale that all rows have, and their mean as a line."""
    width, height = _STRIP
    low, high = ends
    scale = Scale(low, high, 6, width - 6) if high > low else Scale(low - 1, high + 1, 6, width - 6)
    nodes = [svg.line(0, height / 2, width, height / 2, "grid")]
    nodes += [svg.el("circle", cx=scale(value), cy=height / 2, r=4, class_=f"sweep-dot {hue(number)}")
              for value in spread.values]  # fmt: skip
    nodes.append(svg.line(scale(spread.mean), 2, scale(spread.mean), height - 2, "sweep-mean"))
    return svg.drawing(width, height, "", nodes, "strip")
