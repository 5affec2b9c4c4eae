"""What the pictures are made of: fronts, agreement, layers, marks and words."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.report import agreement, architecture, exits, formatting, svg
from nas.report.front import staircase
from nas.report.records import Pair, pair
from nas.run.lenient_json import LenientJson
from nas.run.verdict import ExitRow
from search_spaces.mobile import mobile
from search_spaces.slots import SpaceError
from search_spaces.toy import toy

POINTS = st.lists(st.tuples(st.floats(0, 10), st.floats(0, 1)), max_size=30)


@given(POINTS)
@settings(max_examples=100, deadline=None)
def test_a_staircase_is_what_nothing_dominates(points: list[tuple[float, float]]) -> None:
    best = staircase(points)
    assert set(best) <= set(points)
    assert all(a[0] < b[0] and a[1] < b[1] for a, b in pairwise(best))
    assert all(any(b[0] <= x and b[1] >= y for b in best) for x, y in points)


def _pair(predicted: float, measured: float) -> Pair:
    return Pair("winner", "t", "k", predicted, None, measured, None, False, False)


def test_what_was_refused_is_compared_with_no_prediction() -> None:
    read = {"purpose": "candidate", "target": "t", "key": "k", "predicted_s": [1e-3]}
    taken = {"median_s": 4e-3, "upper_95_s": None, "contended": True, "refused": ""}
    assert pair(LenientJson({**read, "exits": [taken]})) is not None
    assert pair(LenientJson({**read, "exits": [{**taken, "refused": "the core was busy"}]})) is None


def test_agreement_counts_errors_relative_to_the_measured() -> None:
    found = agreement.agreement([_pair(0.9, 1), _pair(1.05, 1), _pair(1.2, 1)])
    assert found is not None
    assert (found.count, round(found.median_error, 6), round(found.median_bias, 6)) == (3, 0.1, 0.05)
    assert found.share_within == pytest.approx(2 / 3)
    assert agreement.agreement([]) is None


@pytest.mark.parametrize("factor", [1.0, 1.2, 1e3])
def test_agreement_is_drawn_at_any_spread(factor: float) -> None:
    drawing = agreement.picture([_pair(1e-3, 1.1e-3), _pair(factor * 1e-3, factor * 1e-3)])
    assert len(ET.fromstring(drawing).findall(".//polygon")) == 2


def _exits(*rates: float) -> list[ExitRow]:
    return [ExitRow(f"e{n}", 1e-3 * (n + 1), rate, None, accuracy=0.9) for n, rate in enumerate(rates)]


def test_layers_are_the_present_slots() -> None:
    space = mobile((1, 28, 28), 10)
    smallest, largest = [0] * len(space.genes), [len(gene.options) - 1 for gene in space.genes]
    assert [layer.name for layer in architecture.layers(space, smallest)] == [
        "stem", "stage0.block0", "stage1.block0", "stage2.block0", "final",
    ]  # fmt: skip
    found = architecture.layers(space, largest)
    assert sum(layer.role == "exit" for layer in found) == space.max_exits
    assert found[-2].shape == (96, 4, 4)
    assert found[-2].text == "k5 e6 SE"
    assert sum(layer.macs for layer in found) == space.decode(largest).macs


def test_another_space_is_drawn_with_its_own_words() -> None:
    space = toy((1, 8, 8), 10)
    texts = [layer.text for layer in architecture.layers(space, [0] * len(space.genes))]
    assert any("conv3" in text for text in texts)
    with pytest.raises(SpaceError):
        architecture.layers(space, [99])


def test_the_stream_narrows_by_what_leaves() -> None:
    space = mobile((1, 28, 28), 10)
    genome = [len(gene.options) - 1 for gene in space.genes]
    drawing = ET.fromstring(architecture.drawing(space, genome, _exits(0.5, 0.25, 0.25, 0.0), "n"))
    widths = [float(node.get("width", 0)) for node in drawing.iter("rect") if node.get("class") == "stream"]
    assert widths == sorted(widths, reverse=True)
    branches = [float(node.get("stroke-width", 0)) for node in drawing.iter("path")]
    assert branches[0] == pytest.approx(2 * branches[1])
    # Exits that do not fit the network leave it without rates, not without a drawing.
    ET.fromstring(architecture.drawing(space, genome, _exits(1.0), "n"))


@pytest.mark.parametrize(
    ("rates", "drawn"), [((0.5, 0.5), True), ((1.0, 0.0), True), ((0.0, 0.0), False), ((1.0,), False)]
)
def test_shares_are_drawn_where_there_are_some(rates: tuple[float, ...], drawn: bool) -> None:
    bar = exits.rates_bar(_exits(*rates))
    assert (bar is not None) == drawn
    if bar is not None:
        assert len(ET.fromstring(bar).findall("rect")) == sum(rate > 0 for rate in rates)


@given(st.text(max_size=40))
@settings(max_examples=100, deadline=None)
def test_any_text_makes_well_formed_graphics(text: str) -> None:
    nodes = [svg.label(0, 0, text, title=text), svg.mark("square", 1, 2, 3, text)]
    found = ET.fromstring(svg.drawing(10, 10, text or "x", nodes))
    # XML knows one kind of line end.
    expected = svg.clean(text).replace("\r\n", "\n").replace("\r", "\n") or None
    assert found.findall("text")[0].text == expected


def test_names_stand_apart_beside_their_points() -> None:
    wanted = (("one", 50, 50), ("two", 58, 50), ("three", 54, 56), ("corner", 199, 3))
    names = [svg.Named(x, y, text) for text, x, y in wanted]
    placed = [node for node in svg.place(names, svg.Box(0, 0, 200, 120), ()) if node.tag == "text"]
    boxes = [
        svg.Box(float(n.get("x", 0)) - svg.text_width(n.text or "", 13, True) / 2, float(n.get("y", 0)) - 12,
                svg.text_width(n.text or "", 13, True), 14)
        for n in placed
    ]  # fmt: skip
    assert [n.text for n in placed] == [name.text for name in names]
    assert all(a.overlap(b) == 0 for i, a in enumerate(boxes) for b in boxes[:i])
    assert all(box.x >= 0 and box.x + box.width <= 200 and box.y >= -2 for box in boxes)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (formatting.seconds(0.00761), "7.61 ms"),
        (formatting.seconds(4e-4), "400 µs"),
        (formatting.seconds(None), "\N{EN DASH}"),
        (formatting.duration(3.21), "3.2 s"),
        (formatting.duration(59.7), "1 min 0 s"),
        (formatting.duration(4133), "1 h 8 min"),
        (formatting.percent(0.91234), "91.2 %"),
        (formatting.signed_percent(-0.02), "\N{MINUS SIGN}2.0 %"),
        (formatting.percent_range((0.9, 0.912)), "90.0 to 91.2 %"),
        (formatting.count(56076), "56 076"),
        (formatting.count(2.2e6), "2.20 million"),
        (formatting.count(999_800), "1.00 million"),
        (formatting.size(233_000), "228 KiB"),
        (formatting.energy(1.2345e-3), "1.23 mJ"),
        (formatting.small(2.86e-6), "2.9 \N{MULTIPLICATION SIGN} 10⁻⁶"),
        (formatting.small(9.99e-4), "1.0 \N{MULTIPLICATION SIGN} 10⁻³"),
        (formatting.small(0.0), "0"),
        (formatting.times(21.5), "22 \N{MULTIPLICATION SIGN}"),
        (formatting.plural(1, "network"), "1 network"),
        (formatting.plural(3, "network"), "3 networks"),
        (formatting.budget(0.008, "on average"), "at most 8.00 ms on average"),
        (formatting.target("host-onnxruntime-t1-b1-float32", {"host": "a chip"}),
         "ONNX Runtime on a chip, 1 thread, batch 1, float32"),
        (formatting.target("=50i-4-tvm-t4-b1-float32-mode_max-version_0.27", {}),
         "TVM 0.27 on Pi-4, 4 threads, batch 1, float32, power mode max"),
        (formatting.target("something else", {}), "something else"),
    ],
)  # fmt: skip
def test_words(text: str, expected: str) -> None:
    assert text.replace("\N{NO-BREAK SPACE}", " ").replace("\N{NARROW NO-BREAK SPACE}", " ") == expected
