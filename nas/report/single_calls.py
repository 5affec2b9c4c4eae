"""Picture of a winner's single calls: how many take longer than so many seconds, down to the slowest."""

from __future__ import annotations

from typing import Final

from markupsafe import Markup

from nas.report import formatting, svg
from nas.report.axes import Frame, draw, latency_unit
from nas.report.scales import Scale, fitted
from nas.report.svg import Named, Node
from nas.run.verdict import Verdict

#: Shares of the calls that are marked, and what these marks are called.
_MARKED: Final = ((0.5, "median"), (0.95, "95 %"), (0.99, "99 %"))
#: A budget that lies further out than so many times the slowest call is named at the edge.
_FAR: Final = 4.0


def picture(winner: Verdict, mark: int, width: float = 420, height: float = 270) -> Markup | None:
    """The share of calls that are slower, over seconds, with median, percentiles and budget; None where none is known.

    Both axes make the slow calls visible: the share is logarithmic. `mark` is the number of the winner's mark.
    """
    points = [(share, seconds) for share, seconds in winner.distribution if 0 <= share <= 1 and seconds > 0]
    if len(points) < 2 or not winner.single_calls:
        return None
    least = 1 / winner.single_calls
    slowest = max(seconds for _, seconds in points)
    near = winner.budget_s is not None and winner.budget_s <= _FAR * slowest
    frame = Frame(46, 50, width - 12, height - 46)
    limits = [winner.budget_s] if near and winner.budget_s else []
    x = fitted([*(seconds for _, seconds in points), *limits], frame.left, frame.right, log=True)
    y = Scale(100 * least / 1.3, 130.0, frame.bottom, frame.top, log=True)
    unit, symbol = latency_unit(x.high)
    x_axis = Scale(x.low / unit, x.high / unit, x.start, x.end, x.log)
    nodes = draw(frame, x_axis, y, f"a call takes ({symbol})", "calls that take longer (%)", (5, 4))

    def slower(share: float) -> float:
        return y(100 * max(1 - share, least))

    nodes.append(svg.path([(x(seconds), slower(share)) for share, seconds in points], "calls-line"))
    nodes += _budget(winner, x, frame, near)
    names = []
    for share, name in _MARKED:
        seconds = next((seconds for level, seconds in points if level >= share - 1e-9), slowest)
        at = x(seconds), slower(share)
        title = f"{name}: {formatting.seconds(seconds)}"
        nodes.append(svg.mark("circle", *at, 4.5, f"winner-mark b{mark % 6}", title))
        names.append(Named(*at, f"{name} {formatting.seconds(seconds)}"))
    nodes += svg.place(names, frame.box, [], size=13, gap=12)
    count = formatting.count(winner.single_calls)
    return svg.drawing(width, height, f"Shares of {count} single calls of {winner.name} that take longer", nodes)


def _budget(winner: Verdict, x: Scale, frame: Frame, near: bool) -> list[Node]:
    if not winner.budget_s:
        return []
    text = f"budget {formatting.seconds(winner.budget_s)}"
    if not near:
        return [svg.label(frame.right, frame.top - 10, f"{text}, to the right", "limit-name", "end")]
    at, span = x(winner.budget_s), svg.text_width(text, 12.5, bold=True) / 2
    middle = min(max(at, frame.left + span), frame.right - span)
    return [
        svg.line(at, frame.top - 5, at, frame.bottom, "limit"),
        svg.label(middle, frame.top - 10, text, "limit-name", "middle"),
    ]
