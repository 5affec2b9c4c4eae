"""Pictures of a winner: its budget as a bar, its exits as accuracy over time, and who leaves where."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from nas.report import formatting, svg
from nas.report.axes import Frame, draw, latency_unit
from nas.report.scales import Scale, fitted
from nas.report.svg import Named, Node
from nas.run.verdict import ExitRow, Verdict, exit_label

#: Classes of exits in order; the final exit always has the last.
_COLOURS = 4


def colour(number: int, count: int) -> str:
    """The class of exit `number` of `count`: the final one looks the same in every network."""
    return "final" if number == count - 1 else f"exit{number % _COLOURS}"


def budget_bar(winner: Verdict, width: float = 330) -> Markup | None:
    """The measured latency as a bar with its upper bound, the prediction as a mark, the budget as a line."""
    shown = [v for v in (winner.measured_s, winner.upper_95_s, winner.predicted_s) if v]
    if not winner.budget_s or not shown:
        return None
    x = Scale(0.0, max(1.2 * winner.budget_s, *(1.06 * v for v in shown)), 1.0, width - 1)
    at, top, bottom = x(winner.budget_s), 24.0, 44.0
    nodes: list[Node] = [
        svg.rect(svg.Box(x.start, top, at - x.start, bottom - top), "bar-inside", 4),
        svg.rect(svg.Box(at, top, x.end - at, bottom - top), "bar-outside", 4),
    ]
    state = winner.state.replace(" ", "-")
    if winner.measured_s:
        reached = svg.Box(x.start, top + 5, x(winner.measured_s) - x.start, bottom - top - 10)
        nodes.append(svg.rect(reached, f"bar {state}", 2))
        if winner.upper_95_s:
            end, middle = x(winner.upper_95_s), (top + bottom) / 2
            nodes += [
                svg.line(x(winner.measured_s), middle, end, middle, "whisker"),
                svg.line(end, middle - 4, end, middle + 4, "whisker"),
            ]
    if winner.predicted_s:
        title = f"predicted {formatting.seconds(winner.predicted_s)}"
        nodes.append(svg.mark("triangle", x(winner.predicted_s), bottom + 7, 4.5, "predicted", title))
    nodes.append(svg.line(at, top - 6, at, bottom + 4, "limit"))
    text = f"budget {formatting.seconds(winner.budget_s)}"
    span = svg.text_width(text, 12.5, bold=True) / 2
    nodes.append(svg.label(min(max(at, span), width - span), top - 10, text, "limit-name", "middle"))
    measured, budget = formatting.seconds(winner.measured_s), formatting.seconds(winner.budget_s)
    label = f"{winner.name}, {winner.state}: {measured} of {budget}"
    return svg.drawing(width, 58, label, nodes, "budget-bar")


def accuracy_over_time(winner: Verdict, mark: int, width: float = 400, height: float = 256) -> Markup | None:
    """Accuracy of each exit over the seconds to reach it, and of the network as it runs; None without exits.

    `mark` is the number of the winner's mark.
    """
    exits = [
        (number, e, e.cumulative_s, e.accuracy)
        for number, e in enumerate(winner.exits)
        if e.cumulative_s is not None and e.accuracy is not None
    ]
    if len(exits) < 2:
        return None
    frame = Frame(46, 32, width - 12, height - 46)
    whole = (winner.expected_s, winner.test_accuracy) if winner.expected_s and winner.test_accuracy else ()
    values = [v for _, e, _, a in exits for v in (a, *(e.interval or ()))] + [*whole[1:]]
    x = fitted([*(r for _, _, r, _ in exits), *whole[:1]], frame.left, frame.right, zero=True, pad=0.1)
    y = fitted(values, frame.bottom, frame.top, pad=0.14)
    unit, symbol = latency_unit(x.high)
    nodes = draw(
        frame, Scale(x.low / unit, x.high / unit, x.start, x.end), Scale(100 * y.low, 100 * y.high, y.start, y.end),
        f"time to the exit ({symbol})", "accuracy (%)", (5, 4),
    )  # fmt: skip
    nodes.append(svg.path([(x(r), y(a)) for _, _, r, a in exits], "exit-line"))
    names = []
    avoid = []
    for number, row, cumulative, accuracy in exits:
        at = x(cumulative), y(accuracy)
        if row.interval:
            low, high = (y(v) for v in row.interval)
            nodes.append(svg.line(at[0], low, at[0], high, "error"))
            avoid.append(svg.Box(at[0] - 2, high, 4, low - high))
        name = exit_label(number, len(winner.exits))
        title = f"{name}: {formatting.percent(accuracy)} after {formatting.seconds(cumulative)}"
        nodes.append(svg.mark("circle", *at, 5, f"exit-mark {colour(number, len(winner.exits))}", title))
        names.append(Named(*at, name))
    if whole:
        at = x(whole[0]), y(whole[1])
        title = f"as it runs: {formatting.percent(whole[1])} after {formatting.seconds(whole[0])} on average"
        nodes.append(svg.mark(svg.SHAPES[mark % 6], *at, 6.5, f"winner-mark b{mark % 6}", title))
        names.insert(0, Named(*at, "as it runs"))
    nodes += svg.place(names, frame.box, avoid, size=13, gap=12)
    return svg.drawing(width, height, f"Accuracy of {winner.name} at each exit over the time to reach it", nodes)


def rates_bar(exits: Sequence[ExitRow], width: float = 400) -> Markup | None:
    """The share of samples that leaves at each exit, as one bar; None where shares are missing."""
    rates = [row.share for row in exits]
    total = sum(rate or 0.0 for rate in rates)
    if len(exits) < 2 or any(rate is None or rate < 0 for rate in rates) or total <= 0:
        return None
    nodes, left = [], 0.0
    for number, row in enumerate(exits):
        share = (row.share or 0.0) / total
        span = share * width
        kind = colour(number, len(exits))
        name = exit_label(number, len(exits))
        title = f"{name}: {formatting.percent(row.share)} of the samples leave here"
        if span > 0:
            gap = 1.5 if number < len(exits) - 1 else 0.0
            nodes.append(svg.rect(svg.Box(left, 0, span - gap, 30), f"share {kind}", 3, title))
        for text in (f"{name} {formatting.percent(row.share, 0)}", formatting.percent(row.share, 0)):
            if svg.text_width(text, 13, bold=True) + 8 < span:
                nodes.append(svg.label(left + span / 2, 19.5, text, f"share-name {kind}", "middle"))
                break
        left += span
    parts = (f"{exit_label(n, len(exits))} {formatting.percent(row.share)}" for n, row in enumerate(exits))
    label = "Shares of samples: " + ", ".join(parts)
    return svg.drawing(width, 30, label, nodes, "rates")
