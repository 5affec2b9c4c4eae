"""Predicted against measured latencies, and how well they agree for networks of one kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from markupsafe import Markup

from nas.report import formatting, svg
from nas.report.axes import Frame, draw, latency_unit
from nas.report.records import Pair
from nas.report.scales import Scale, fitted
from nas.report.svg import Node, Point

#: Predictions within this share of the measurement are within the band that is drawn.
WITHIN = 0.10
PURPOSES = {"calibration": "circle", "candidate": "triangle", "winner": "diamond"}


@dataclass(frozen=True)
class Agreement:
    """How `count` predictions compare with measurements: shares of the measured seconds."""

    count: int
    median_error: float
    median_bias: float
    share_within: float


def agreement(pairs: Sequence[Pair]) -> Agreement | None:
    """The agreement of some pairs, None of no pairs."""
    if not pairs:
        return None
    errors = [pair.error for pair in pairs]
    within = sum(abs(error) <= WITHIN for error in errors) / len(errors)
    return Agreement(len(errors), median(map(abs, errors)), median(errors), within)


def picture(pairs: Sequence[Pair], width: float = 420, height: float = 400) -> Markup:
    """Measured over predicted with the identity and the band of WITHIN; a bar up to the upper bound of the median."""
    frame = Frame(48, 32, width - 10, height - 46)
    values = [v for p in pairs for v in (p.predicted_s, p.measured_s, p.upper_95_s) if v]
    x = fitted(values, frame.left, frame.right, log=True)
    if not x.log:
        x = Scale(max(0.0, x.low), x.high, x.start, x.end)
    y = Scale(x.low, x.high, frame.bottom, frame.top, x.log)
    unit, symbol = latency_unit(x.high)
    shown = [Scale(s.low / unit, s.high / unit, s.start, s.end, s.log) for s in (x, y)]
    nodes = [_band(x, y)]
    nodes += draw(frame, shown[0], shown[1], f"predicted ({symbol})", f"measured ({symbol})")
    nodes.append(svg.line(x.start, y.start, x.end, y.end, "identity"))
    for purpose in sorted({p.purpose for p in pairs}, key=lambda p: [*PURPOSES, p].index(p)):
        for pair in (p for p in pairs if p.purpose == purpose):
            nodes += _pair(pair, x, y)
    count = formatting.plural(len(pairs), "network")
    text = f"Measured against predicted latency of {count}; the numbers are in the table"
    return svg.drawing(width, height, text, nodes)


def _band(x: Scale, y: Scale) -> Node:
    """Where the prediction is within WITHIN of the measured: between two curves through the corners, clipped."""
    steps = [x.start + (x.end - x.start) * i / 40 for i in range(41)]
    low, high = [], []
    for at in steps:
        value = _value(x, at)
        low.append((at, y(max(y.low, min(value / (1 + WITHIN), y.high)))))
        high.append((at, y(min(y.high, value / (1 - WITHIN)))))
    return svg.path([*low, *reversed(high)], "band", closed=True)


def _value(scale: Scale, at: float) -> float:
    share = (at - scale.start) / (scale.end - scale.start)
    if scale.log:
        return float(scale.low * (scale.high / scale.low) ** share)
    return scale.low + share * (scale.high - scale.low)


def _pair(pair: Pair, x: Scale, y: Scale) -> list[Node]:
    at: Point = x(pair.predicted_s), y(pair.measured_s)
    kind = pair.purpose if pair.purpose in PURPOSES else "candidate"
    nodes = []
    if pair.predicted_std_s:
        left = max(pair.predicted_s - pair.predicted_std_s, x.low)
        nodes.append(svg.line(x(left), at[1], x(min(pair.predicted_s + pair.predicted_std_s, x.high)), at[1], "error"))
    if pair.upper_95_s:
        nodes.append(svg.line(*at, at[0], y(min(pair.upper_95_s, y.high)), "error"))
    title = (
        f"{pair.purpose} {pair.key[:10]}: predicted {formatting.seconds(pair.predicted_s)}, "
        f"measured {formatting.seconds(pair.measured_s)} ({formatting.signed_percent(pair.error)})"
    )
    contended = " contended" if pair.contended else ""
    radius = {"calibration": 3.4, "candidate": 5.0}.get(kind, 6.0)
    return [*nodes, svg.mark(PURPOSES[kind], *at, radius, f"pair {kind}{contended}", title)]
