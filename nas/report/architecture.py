"""A network drawn from its genome: blocks as bars as wide as their channels, and the samples as a stream.

The stream narrows where samples leave, in proportion to the share that is left, as in a diagram by Sankey (1898).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from markupsafe import Markup

from nas.report import formatting, svg
from nas.report.exits import colour
from nas.report.svg import Node
from nas.run.verdict import ExitRow
from search_spaces.op import Op
from search_spaces.slots import SearchSpace, Slot

_WIDTH = 336.0
_CENTRE, _WIDEST, _LABELS = 120.0, 132.0, 200.0
_BLOCK, _GAP, _EXIT, _STREAM = 20.0, 10.0, 36.0, 22.0
_STAGES = 6


@dataclass(frozen=True)
class Layer:
    """A present slot: the `shape` (channels, height, width) it gives, a short text, and its stage from 0 (-1: none)."""

    name: str
    role: Literal["body", "exit", "final"]
    stage: int
    channels_in: int
    shape: tuple[int, ...]
    text: str
    macs: int


def layers(space: SearchSpace, genome: Sequence[int]) -> tuple[Layer, ...]:
    """The present slots of a genome in order; raises SpaceError for a genome that is not of the space."""
    network = space.decode(genome)
    by_slot: dict[str, list[Op]] = {}
    for op in network.ops:
        by_slot.setdefault(_slot_of(op.name, space), []).append(op)
    found: list[Layer] = []
    before: tuple[int, ...] = space.input_shape
    stages: list[str] = []
    for slot in space.slots:
        ops = by_slot.get(slot.name, [])
        if not ops:
            continue
        stage, dot, _ = slot.name.partition(".")
        if slot.role == "body" and dot and stage not in stages:
            stages.append(stage)
        text = _options(space, slot, genome, ops)
        macs = sum(network.op_macs(op) for op in ops)
        shape = ops[-1].shape
        found.append(Layer(slot.name, slot.role, len(stages) - 1, _channels(before), shape, text, macs))
        if slot.role == "body":
            before = shape
    return tuple(found)


def _slot_of(name: str, space: SearchSpace) -> str:
    return max((s.name for s in space.slots if name.startswith(f"{s.name}.")), key=len, default="")


def _channels(shape: tuple[int, ...]) -> int:
    return shape[0] if shape else 0


def _options(space: SearchSpace, slot: Slot, genome: Sequence[int], ops: Sequence[Op]) -> str:
    """The slot's own decisions, as short as `k5 e4 SE`."""
    kernels = [op.attr("kernel") for op in ops if op.kind in ("conv", "avg_pool", "max_pool")]
    parts = [f"k{max(kernels)}"] if kernels else []
    for index in slot.genes:
        gene = space.genes[index]
        owner, _, option = gene.name.rpartition(".")
        if owner == slot.name and option != "kernel":
            parts.append(_option(option, gene.options[int(genome[index])]))
    return " ".join(part for part in parts if part)


def _option(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return (name.upper() if len(name) <= 3 else name) if value else ""
    if isinstance(value, str):
        return value
    return f"{name[0]}{value}"


def drawing(space: SearchSpace, genome: Sequence[int], exits: Sequence[ExitRow], name: str) -> Markup:
    """The network of one genome with its exits; `exits` are matched in order, and drawn without rates if they differ.

    Raises SpaceError for a genome that is not of the space.
    """
    found = layers(space, genome)
    leaving = [layer for layer in found if layer.role != "body"]
    rows = list(exits) if len(exits) == len(leaving) else [None] * len(leaving)
    rates = [row.share if row else None for row in rows]
    known = all(rate is not None for rate in rates) and sum(rate or 0 for rate in rates) > 0
    shares = [(rate or 0.0) / sum(r or 0.0 for r in rates) for rate in rates] if known else [0.0] * len(rates)
    widest = max((_channels(layer.shape) for layer in found if layer.role == "body"), default=1)

    stream: list[Node] = []
    front: list[Node] = []
    size = formatting.shape(space.input_shape)
    span = svg.text_width(size, 12.5) + 10
    front += [
        svg.rect(svg.Box(_CENTRE - span / 2, 2, span, _BLOCK), "picture", 4),
        svg.label(_CENTRE, 16.5, size, "tick", "middle"),
    ]
    front.append(svg.label(_LABELS, 16.5, "image", "layer-name"))
    y, left, number, stage = 2 + _BLOCK, 1.0, 0, -2
    resolution: tuple[int, ...] = ()
    for layer in found:
        if layer.role == "body":
            if layer.stage != stage:
                y += 6 if stage > -2 else 0
            if layer.shape[1:] != resolution:
                front.append(_resolution(layer, y + _GAP))
                resolution = layer.shape[1:]
            stream.append(_trunk(y - 8, y + _GAP + 2, left if known else 0.3))
            y += _GAP
            front += _block(layer, y, widest)
            stage, y = layer.stage, y + _BLOCK
        else:
            final = layer.role == "final"
            kind = colour(number, len(leaving))
            share = shares[number]
            stream += _leave(y, left if known else 0.3, share if known else 0.08, kind, final)
            front += _answer(layer, rows[number], number, y + _EXIT / 2, kind)
            left, number, y = max(0.0, left - share), number + 1, y + (_EXIT if not final else _EXIT / 2 + 18)
    blocks = sum(layer.role == "body" for layer in found)
    text = (
        f"{name}, from top to bottom: {formatting.plural(blocks, 'block')}, {formatting.plural(len(leaving), 'exit')}"
    )
    return svg.drawing(_WIDTH, y + 4, text, [*stream, *front], "architecture")


def _trunk(top: float, bottom: float, share: float) -> Node:
    width = max(1.5, _STREAM * share)
    return svg.rect(svg.Box(_CENTRE - width / 2, top, width, bottom - top), "stream")


def _block(layer: Layer, y: float, widest: int) -> list[Node]:
    channels = _channels(layer.shape)
    width = max(6.0, _WIDEST * channels / widest)
    title = f"{layer.name}: {layer.channels_in} to {channels} channels, {formatting.count(layer.macs)} MACs"
    kind = "stem" if layer.stage < 0 else f"s{min(layer.stage, _STAGES - 1)}"
    text = _LABELS + svg.text_width(f"{widest} ch ", 12.5) + 4
    return [
        svg.rect(svg.Box(_CENTRE - width / 2, y, width, _BLOCK), f"block {kind}", 4, title),
        svg.label(_LABELS, y + 14.5, f"{channels} ch", "channels"),
        svg.label(text, y + 14.5, layer.text, "layer-name"),
    ]


def _resolution(layer: Layer, y: float) -> Node:
    return svg.label(0, y + 14.5, formatting.shape(layer.shape[1:]), "tick")


def _leave(y: float, left: float, share: float, kind: str, final: bool) -> list[Node]:
    """The stream bends to the right by the share that leaves; the rest goes on downwards."""
    middle = y + _EXIT / 2
    width = max(1.5, _STREAM * share)
    # What leaves lies on the right side of the stream, so that stream and branch join without a step.
    at = _CENTRE if final else _CENTRE + _STREAM * left / 2 - width / 2
    bend = f"M{svg.number(at)} {svg.number(y - 8)}V{svg.number(y)}Q{svg.number(at)} {svg.number(middle)} "
    nodes = [] if final else [_trunk(y - 8, y + _EXIT + 8, left - share if left > share else 0.0)]
    end = f"{svg.number(at + 30)} {svg.number(middle)}H{svg.number(_LABELS - 4)}"
    branch = svg.el("path", d=bend + end, class_=f"branch {kind}")
    branch.set("stroke-width", svg.number(width))
    return [*nodes, branch]


def _answer(layer: Layer, row: ExitRow | None, number: int, middle: float, kind: str) -> list[Node]:
    name = "final" if layer.role == "final" else f"exit {number + 1}"
    text = f"{name} {formatting.percent(row.share, 0)}" if row and row.share is not None else name
    span = svg.text_width(text, 13, bold=True) + 16
    title = f"{layer.name}: {formatting.count(layer.macs)} MACs"
    nodes = [
        svg.rect(svg.Box(_LABELS - 4, middle - 11, span, 22), f"pill {kind}", 11, title),
        svg.label(_LABELS - 4 + span / 2, middle + 4.5, text, f"share-name {kind}", "middle"),
    ]
    if row and row.cumulative_s is not None:
        nodes.append(svg.label(_LABELS + span + 4, middle + 4.5, formatting.seconds(row.cumulative_s), "channels"))
    return nodes
