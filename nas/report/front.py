"""The picture of a search: accuracy against latency of every network, the front, the budgets and the winners."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from nas.report import formatting, svg
from nas.report.axes import Frame, draw, latency_unit
from nas.report.reading import ReportedRun
from nas.report.scales import Scale, fitted
from nas.report.svg import SHAPES, Box, Named, Node, Point
from nas.run.verdict import BudgetRow, Verdict

#: More networks than this are drawn as one path, without a text for each.
_MOST_TITLES = 600


@dataclass(frozen=True)
class Placed:
    """A winner in the plane of latency and validation accuracy, and where the search had expected it."""

    number: int
    name: str
    at: Point
    measured: bool
    expected_at: Point | None


@dataclass(frozen=True)
class Cloud:
    """Points (latency in seconds, accuracy): networks in the worst case with their keys, and on their curves."""

    worst: tuple[tuple[str, float, float], ...]
    members: tuple[tuple[str, float, float], ...]
    curve: tuple[Point, ...]
    winners: tuple[Placed, ...]
    elsewhere: tuple[str, ...]

    @property
    def worst_front(self) -> tuple[Point, ...]:
        """The best in the worst case."""
        return staircase((x, y) for _, x, y in self.worst)

    @property
    def curve_front(self) -> tuple[Point, ...]:
        """The best on average."""
        return staircase(self.curve)


def staircase(points: Iterable[Point]) -> tuple[Point, ...]:
    """Points of which no other is both at most as far left and at least as high, from left to right."""
    best: list[Point] = []
    for x, y in sorted(points, key=lambda point: (point[0], -point[1])):
        if not best or y > best[-1][1]:
            best.append((x, y))
    return tuple(best)


def cloud(run: ReportedRun) -> Cloud:
    """What there is to draw; winners on another target than the search's stand apart by name."""
    worst, curve = [], []
    for trial in run.trials:
        latency, accuracy = trial.metrics.get("worst_case_latency_s"), trial.metrics.get("accuracy")
        if trial.status == "complete" and latency and accuracy is not None and latency > 0:
            worst.append((trial.key, latency, accuracy))
            curve += [(seconds, value) for _, seconds, value in trial.curve if seconds > 0]
    here = [(n, w) for n, w in numbered(run) if w.target in ("", run.target)]
    placed = (_placed(run, number, winner) for number, winner in here)
    return Cloud(
        tuple(worst),
        tuple(row for row in worst if row[0] in run.pareto),
        tuple(curve),
        tuple(p for p in placed if p is not None),
        tuple(w.name for w in run.winners if w.target not in ("", run.target)),
    )


def numbered(run: ReportedRun) -> list[tuple[int, Verdict]]:
    """The winners with the number of their budget, which decides on their mark and colour."""
    found = ((number, run.winner_of(budget)) for number, budget in enumerate(run.budgets))
    return [(number, winner) for number, winner in found if winner is not None]


def _placed(run: ReportedRun, number: int, winner: Verdict) -> Placed | None:
    accuracy = winner.val_accuracy if winner.val_accuracy is not None else winner.before_export
    latency = winner.measured_s or winner.predicted_s
    if accuracy is None or not latency:
        return None
    expected_at = None
    # A candidate may be a neighbour of what the search asked for, and was judged on more images. What it was judged by
    # is not in the picture where it was the balanced accuracy.
    for trial in () if run.balanced else (*run.trials, *run.candidates.get(winner.name, ())):
        at = trial.budgets[number] if trial.key == winner.key and number < len(trial.budgets) else None
        if at is None or at.accuracy is None:
            continue
        if winner.budget.needs_thresholds or winner.over_images:
            expected_at = at.latency_s, at.accuracy
        elif "worst_case_latency_s" in trial.metrics:
            expected_at = trial.metrics["worst_case_latency_s"], at.accuracy
    return Placed(number, winner.name, (latency, accuracy), winner.measured_s is not None, expected_at)


def picture(run: ReportedRun, found: Cloud, width: float, height: float) -> tuple[Markup, int]:
    """The drawing, and how many networks lie below its lower edge; the interesting part is never squeezed by them."""
    left, right = 46.0, width - 10
    marks = [p for w in found.winners for p in (w.at, w.expected_at) if p is not None]
    points = [(x, y) for _, x, y in found.worst] + list(found.curve) + marks
    limits = [b for b in enumerate(run.budgets) if b[1].latency_s and b[1].target in ("", run.target)]
    seconds = [budget.latency_s for _, budget in limits if budget.latency_s]
    x = fitted([*(p[0] for p in points), *seconds], left, right, log=True, zero=True)
    names = _budget_names(limits, x)
    frame = Frame(left, 28 + 20.0 * max((n.row + 1 for n in names), default=0), right, height - 48)
    floor = _floor(found)
    y = fitted((p[1] for p in points if p[1] >= floor), frame.bottom, frame.top)
    y = Scale(y.low, y.high + 0.07 * (y.high - y.low), y.start, y.end)  # room for names above the best
    unit, symbol = latency_unit(x.high)
    x_axis = Scale(x.low / unit, x.high / unit, x.start, x.end, x.log)
    y_axis = Scale(100 * y.low, 100 * y.high, y.start, y.end)
    counts = (max(3, int(width // 100)), max(4, int(height // 75)))
    nodes = draw(frame, x_axis, y_axis, f"latency ({symbol})", "validation accuracy (%)", counts)

    nodes += [_budget_line(name, frame) for name in names]
    shown = [row for row in found.worst if row[2] >= y.low]
    nodes.append(svg.dots(((x(a), y(b)) for a, b in found.curve if b >= y.low), "curve-dots"))
    if len(shown) > _MOST_TITLES:
        nodes.append(svg.dots(((x(a), y(b)) for _, a, b in shown), "trial-dots"))
    else:
        nodes += [_dot(row, x, y, 2.6, "trial") for row in shown]
    nodes.append(svg.path(_steps(found.curve_front, x, y), "front-line average"))
    nodes.append(svg.path(_steps(found.worst_front, x, y), "front-line"))
    nodes += [_dot(row, x, y, 3.4, "member") for row in found.members if row[2] >= y.low]
    lines = [Box(name.at - 1, frame.top, 2, frame.bottom - frame.top) for name in names]
    nodes += _winners(found.winners, x, y, frame, lines)
    nodes += [_budget_name(name, frame) for name in names]
    text = (
        f"Accuracy against latency of {formatting.plural(len(found.worst), 'network')}; "
        f"{formatting.plural(len(found.members), 'network')} on the front; winners: "
        + (", ".join(w.name for w in found.winners) or "none")
    )
    below = sum(accuracy < y.low for _, _, accuracy in found.worst)
    return svg.drawing(width, height, text, [n for n in nodes if n.get("d") != ""]), below


def _floor(found: Cloud) -> float:
    """The accuracy below which nothing has to be seen: all of the front and nearly all of the cloud lie above."""
    cloud = sorted(y for _, _, y in found.worst)
    need = [y for _, _, y in found.members] + [y for _, y in found.worst_front] + [w.at[1] for w in found.winners]
    need += [w.expected_at[1] for w in found.winners if w.expected_at]
    need += [y for _, y in found.curve_front[len(found.curve_front) // 4 :]]
    return min([*need, *cloud[len(cloud) // 20 :][:1]], default=0.0)


def _dot(row: tuple[str, float, float], x: Scale, y: Scale, radius: float, class_: str) -> Node:
    key, latency, accuracy = row
    title = f"{key[:10]}: {formatting.percent(accuracy)}, {formatting.seconds(latency)} in the worst case"
    return svg.el("circle", cx=x(latency), cy=y(accuracy), r=radius, class_=class_, title=title)


def _steps(points: Sequence[Point], x: Scale, y: Scale) -> list[Point]:
    """The staircase with its corners, from the lower edge to the right one."""
    corners: list[Point] = []
    for latency, accuracy in points:
        if accuracy < y.low:
            continue
        corners += [(x(latency), corners[-1][1] if corners else y.start), (x(latency), y(accuracy))]
    return [*corners, (x.end, corners[-1][1])] if corners else []


@dataclass(frozen=True)
class _BudgetName:
    """A budget's line at `at`, and its name over [left, left + span] in a row above the plot, 0 the lowest."""

    number: int
    text: str
    average: bool
    at: float
    left: float
    span: float
    row: int


def _budget_names(limits: Sequence[tuple[int, BudgetRow]], x: Scale) -> list[_BudgetName]:
    """Names from the tightest budget to the loosest, each in the first row where it is free."""
    placed: list[_BudgetName] = []
    for number, budget in sorted(limits, key=lambda item: item[1].latency_s or 0.0):
        at = x(budget.latency_s or 0.0)
        text = f"{budget.name} {formatting.seconds(budget.latency_s)}".strip()
        span = svg.text_width(text, 12.5, bold=True) + 12
        left = min(max(at - span / 2, 0.0), x.end - span)
        taken = {n.row for n in placed if n.left < left + span and left < n.left + n.span}
        row = next(row for row in range(len(limits) + 1) if row not in taken)
        placed.append(_BudgetName(number, text, budget.needs_thresholds, at, left, span, row))
    return placed


def _base(name: _BudgetName, frame: Frame) -> float:
    return frame.top - 10 - 20 * name.row


def _budget_line(name: _BudgetName, frame: Frame) -> Node:
    kind = f"budget-line{' average' if name.average else ''} b{name.number % 6}"
    return svg.line(name.at, _base(name, frame) + 4, name.at, frame.bottom, kind)


def _budget_name(name: _BudgetName, frame: Frame) -> Node:
    return svg.label(name.left + name.span / 2, _base(name, frame), name.text, "budget-name", "middle")


def _winners(winners: Sequence[Placed], x: Scale, y: Scale, frame: Frame, lines: Sequence[Box]) -> list[Node]:
    nodes: list[Node] = []
    marks: list[Node] = []
    names: list[Named] = []
    places = [(x(w.at[0]), y(w.at[1])) for w in winners]
    for index, (w, at) in enumerate(zip(winners, places, strict=True)):
        # One network may win several budgets: its marks then stand one within the other.
        over = sum(abs(at[0] - ax) + abs(at[1] - ay) < 5 for ax, ay in places[index + 1 :])
        if w.expected_at is not None:
            nodes.append(svg.line(x(w.expected_at[0]), y(w.expected_at[1]), *at, "tie"))
        title = f"{w.name}: {formatting.percent(w.at[1])}, {formatting.seconds(w.at[0])}"
        title += " measured" if w.measured else " predicted, not measured"
        hollow = "" if w.measured else " hollow"
        marks.append(svg.mark(SHAPES[w.number % 6], *at, 7 + 4 * over, f"winner-mark b{w.number % 6}{hollow}", title))
        names.append(Named(*at, w.name))
    return nodes + marks + svg.place(names, frame.box, lines, size=14, gap=15)
