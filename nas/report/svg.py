"""Scalable graphics as elements: text is escaped and the result well formed, because an XML writer writes it.

Colours and fonts come from the page's style sheet by class, so that a drawing follows the light and the dark theme.
"""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

Node = ET.Element
Point = tuple[float, float]

#: Marks by number: one per budget, different in shape so that colour is never the only difference.
SHAPES = ("diamond", "square", "triangle", "circle", "down", "hexagon")
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_OUTLINES: dict[str, tuple[Point, ...]] = {
    "diamond": ((0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)),
    "square": ((-1, -1), (1, -1), (1, 1), (-1, 1)),
    "triangle": ((0, -1.25), (1.2, 0.9), (-1.2, 0.9)),
    "down": ((0, 1.25), (1.2, -0.9), (-1.2, -0.9)),
    "hexagon": ((1.15, 0), (0.58, 1), (-0.58, 1), (-1.15, 0), (-0.58, -1), (0.58, -1)),
}


def el(tag: str, *children: Node | None, title: str = "", text: str = "", **attributes: str | float) -> Node:
    """An element; `class_` is class, `_` in names is `-`, numbers are rounded; `title` is what a pointer shows."""
    node = ET.Element(tag)
    for name, value in attributes.items():
        node.set(name.rstrip("_").replace("_", "-"), clean(value) if isinstance(value, str) else number(value))
    if text:
        node.text = clean(text)
    if title:
        ET.SubElement(node, "title").text = clean(title)
    node.extend(child for child in children if child is not None)
    return node


def drawing(width: float, height: float, label: str, children: Iterable[Node], class_: str = "") -> Markup:
    """A whole drawing, `width` by `height` pixels at its natural size.

    It says `label` to who cannot see it; without a label it is an ornament.
    """
    node = ET.Element("svg", {"viewBox": f"0 0 {number(width)} {number(height)}"})
    node.attrib |= {"role": "img", "aria-label": clean(label)} if label else {"aria-hidden": "true"}
    node.set("class", f"drawing {class_}".strip())
    node.set("style", f"max-width:{number(width)}px")
    node.extend(children)
    return render(node)


def render(node: Node) -> Markup:
    """The element as text that is safe within a page."""
    return Markup(ET.tostring(node, encoding="unicode", short_empty_elements=True))


def clean(text: str) -> str:
    """The text without the control characters that XML cannot hold."""
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)


def number(value: float) -> str:
    """A coordinate with a tenth of a pixel."""
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def label(x: float, y: float, text: str, class_: str = "", anchor: str = "start", title: str = "") -> Node:
    """A line of text whose baseline is at y."""
    return el("text", x=x, y=y, class_=class_, text_anchor=anchor, text=text, title=title)


def line(x1: float, y1: float, x2: float, y2: float, class_: str, title: str = "") -> Node:
    """A straight line."""
    return el("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_, title=title)


def rect(box: Box, class_: str, radius: float = 0, title: str = "") -> Node:
    """A rectangle; a negative size is drawn as none."""
    width, height = max(0, box.width), max(0, box.height)
    return el("rect", x=box.x, y=box.y, width=width, height=height, rx=radius, class_=class_, title=title)


def path(points: Sequence[Point], class_: str, closed: bool = False) -> Node:
    """Straight lines through points."""
    d = " ".join(f"{'M' if i == 0 else 'L'}{number(x)} {number(y)}" for i, (x, y) in enumerate(points))
    return el("path", d=d + ("Z" if closed else ""), class_=class_)


def dots(points: Iterable[Point], class_: str) -> Node:
    """Many small dots as one element: lines of no length with round ends; the style's stroke width is their size."""
    places = dict.fromkeys(f"M{number(x)} {number(y)}h0" for x, y in points)
    return el("path", d="".join(places), class_=class_)


def mark(shape: str, x: float, y: float, size: float, class_: str, title: str = "") -> Node:
    """A mark of one of SHAPES, of about `size` pixels in radius, centred on (x, y)."""
    if shape not in _OUTLINES:
        return el("circle", cx=x, cy=y, r=size * 1.1, class_=class_, title=title)
    corners = " ".join(f"{number(x + size * dx)},{number(y + size * dy)}" for dx, dy in _OUTLINES[shape])
    return el("polygon", points=corners, class_=class_, title=title)


def text_width(text: str, size: float, bold: bool = False) -> float:
    """About the width of a text in a wide sans-serif font of `size` pixels; rather too wide than too narrow."""
    narrow = sum(character in " .,:;'|iIljt()·\N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}" for character in text)
    return size * (0.69 if bold else 0.61) * (len(text) - 0.42 * narrow)


@dataclass(frozen=True)
class Box:
    """An axis-parallel rectangle."""

    x: float
    y: float
    width: float
    height: float

    def overlap(self, other: Box) -> float:
        """Area in common with another box."""
        width = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        height = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        return max(0.0, width) * max(0.0, height)

    def distance(self, x: float, y: float) -> float:
        """From a point to the nearest place of the box; 0 within it."""
        return math.hypot(max(self.x - x, 0, x - self.x - self.width), max(self.y - y, 0, y - self.y - self.height))


@dataclass(frozen=True)
class Named:
    """A point that wants its name beside it."""

    x: float
    y: float
    text: str
    class_: str = ""


def place(
    names: Sequence[Named], inside: Box, avoid: Sequence[Box], size: float = 13.0, gap: float = 9.0
) -> list[Node]:
    """Names beside their points, within `inside` if they can be, where they cover each other and `avoid` least and
    are not taken for a neighbour's.

    Greedy, in the given order, over eight places around the point at growing distances; a name that had to go far is
    tied to its point by a thin line.
    """
    taken = [*avoid, *(Box(n.x - gap / 2, n.y - gap / 2, gap, gap) for n in names)]
    nodes: list[Node] = []
    for name in names:
        width, height = text_width(name.text, size, bold=True), size * 1.15
        best: tuple[float, Box] | None = None
        for ring in (1.0, 2.4, 4.0):
            for dx, dy in ((1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (-1, -1), (1, 1), (-1, 1)):
                reach = gap * ring
                x = name.x + dx * reach - width * (1 - dx) / 2
                y = name.y + dy * (reach if dx == 0 else 0.75 * reach) - height * (1 - dy) / 2
                box = Box(x - 3, y, width + 6, height)
                outside = width * height - box.overlap(inside)
                cost = sum(box.overlap(other) for other in taken) + 4 * outside + 6 * (ring - 1) * size
                own = box.distance(name.x, name.y)
                cost += 8 * size * sum(box.distance(n.x, n.y) < 1.2 * own for n in names if n is not name)
                if best is None or cost < best[0]:
                    best = cost, box
        assert best is not None
        box = best[1]
        taken.append(box)
        centre = box.x + box.width / 2, box.y + height / 2
        if box.distance(name.x, name.y) > 1.6 * gap:
            nearest = min(max(name.x, box.x), box.x + box.width), min(max(name.y, box.y), box.y + height)
            nodes.append(line(name.x, name.y, *nearest, "tie"))
        nodes.append(label(centre[0], box.y + 0.82 * height, name.text, f"name {name.class_}".strip(), "middle"))
    return nodes
