"""Draw the rooms of the house, and who imports whom, from the code as it stands.

    python benchmarks/rooms.py [--out docs/rooms.svg]

A room is one of the four packages, or a folder of `nas`; files directly in `nas` are left out. An arrow goes from a
room to one that it imports, at any depth of its functions, imports for type checkers excepted; arrows that follow from
others are left out, so that what remains can be read. Rooms stand above what they import. Exits 1 where rooms import
each other in a circle: then there is no such picture.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
import textwrap
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("nas", "search_spaces", "latency_models", "hardware_profiles")

WIDTH, HEIGHT, GAP_X, GAP_Y, MARGIN = 186, 66, 22, 56, 20


def room_of(module: str) -> str | None:
    """The room of a module; None for files directly in `nas`."""
    parts = module.split(".")
    if parts[0] != "nas":
        return parts[0]
    return parts[1] if len(parts) > 1 and (ROOT / "nas" / parts[1]).is_dir() else None


def files() -> Iterator[tuple[str, Path]]:
    """Modules and their files, those that ship with bundles excepted, which stand alone."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if "bundle" not in parts:
                yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imported(tree: ast.AST) -> Iterator[str]:
    """What is imported anywhere below a node, except for type checkers."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for other in node.orelse:
                yield from imported(other)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        else:
            yield from imported(node)


def rooms() -> dict[str, set[str]]:
    """What each room imports."""
    edges: dict[str, set[str]] = {}
    for module, path in files():
        room = room_of(module)
        if room is not None:
            names = imported(ast.parse(path.read_text(encoding="utf-8")))
            found = {room_of(name) for name in names if name.split(".")[0] in PACKAGES}
            edges.setdefault(room, set()).update(other for other in found if other is not None and other != room)
    return edges


def purpose(room: str) -> str:
    """The first phrase of what a room says of itself that is more than its name."""
    folder = ROOT / room if room in PACKAGES else ROOT / "nas" / room
    said = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))) or ""
    phrases = [phrase.strip() for phrase in re.split(r"[.:;,]", said)]
    return next((phrase for phrase in phrases if len(phrase.split()) > 2), phrases[0])


def levels(edges: Mapping[str, set[str]]) -> dict[str, int]:
    """How high each room stands: one above the highest that it imports. Raises ValueError for a circle."""
    known: dict[str, int] = {}

    def level(room: str, above: tuple[str, ...]) -> int:
        if room in above:
            raise ValueError(" -> ".join((*above[above.index(room) :], room)))
        if room not in known:
            known[room] = max((level(other, (*above, room)) + 1 for other in edges[room]), default=0)
        return known[room]

    for room in edges:
        level(room, ())
    return known


def needed(edges: Mapping[str, set[str]]) -> Iterator[tuple[str, str]]:
    """The arrows that do not follow from others."""
    reach: dict[str, set[str]] = {}

    def below(room: str) -> set[str]:
        if room not in reach:
            reach[room] = set(edges[room]).union(*(below(other) for other in edges[room]))
        return reach[room]

    for room, others in sorted(edges.items()):
        for other in sorted(others):
            if not any(other in below(between) for between in others - {other}):
                yield room, other


def drawing(edges: Mapping[str, set[str]]) -> str:
    """The picture as SVG."""
    height = levels(edges)
    rows = [sorted(room for room in edges if height[room] == at) for at in range(max(height.values()) + 1)][::-1]
    across = max(map(len, rows)) * (WIDTH + GAP_X) - GAP_X + 2 * MARGIN
    down = len(rows) * (HEIGHT + GAP_Y) - GAP_Y + 2 * MARGIN
    at: dict[str, tuple[float, float]] = {}
    for number, row in enumerate(rows):
        left = (across - len(row) * (WIDTH + GAP_X) + GAP_X) / 2
        for place, room in enumerate(row):
            at[room] = left + place * (WIDTH + GAP_X), MARGIN + number * (HEIGHT + GAP_Y)
    body = []
    for room, other in needed(edges):
        (x1, y1), (x2, y2) = at[room], at[other]
        start, end = (x1 + WIDTH / 2, y1 + HEIGHT), (x2 + WIDTH / 2, y2 - 4)
        bend = (end[1] - start[1]) / 2
        body.append(
            f'<path d="M{start[0]:.0f},{start[1]:.0f} C{start[0]:.0f},{start[1] + bend:.0f} '
            f'{end[0]:.0f},{end[1] - bend:.0f} {end[0]:.0f},{end[1]:.0f}" marker-end="url(#tip)"/>'
        )
    for room, (x, y) in at.items():
        kind, name = ("package", room) if room in PACKAGES else ("room", f"nas/{room}")
        lines = textwrap.wrap(purpose(room), 28)[:2]
        said = "".join(
            f'<text class="small" x="{x + WIDTH / 2:.0f}" y="{y + 40 + 15 * number:.0f}">{escape(line)}</text>'
            for number, line in enumerate(lines)
        )
        body.append(
            f'<g class="{kind}"><rect x="{x:.0f}" y="{y:.0f}" width="{WIDTH}" height="{HEIGHT}" rx="8"/>'
            f'<text x="{x + WIDTH / 2:.0f}" y="{y + 22:.0f}">{escape(name)}</text>{said}</g>'
        )
    style = (
        "text{font:600 15px system-ui,sans-serif;text-anchor:middle;fill:#1c2733}"
        ".small{font-weight:400;font-size:12px;fill:#5b6875}"
        "rect{fill:#eef3f8;stroke:#7d93a8}.package rect{fill:#fdf3e1;stroke:#c79a4b}"
        "path{fill:none;stroke:#8a98a6;stroke-width:1.4}#tip path{fill:#8a98a6;stroke:none}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {across:.0f} {down:.0f}" role="img" '
        f'aria-label="Rooms and what they import"><style>{style}</style><rect width="100%" height="100%" '
        'style="fill:#fff;stroke:none"/><defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0,0 L8,4 L0,8 z"/></marker></defs>\n' + "\n".join(body) + "\n</svg>\n"
    )


def main() -> int:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "rooms.svg", help="default: docs/rooms.svg")
    args = parser.parse_args()
    try:
        picture = drawing(rooms())
    except ValueError as error:
        print(f"there is a circle: {error}", file=sys.stderr)
        return 1
    args.out.write_text(picture, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
