"""The cell space of NAS-Bench-201: six edges between four nodes, five operators each, the same cell fifteen times.

Dong & Yang 2020, "NAS-Bench-201" (arXiv 2001.00326): a 3x3 stem, three stages of five cells with 16, 32 and 64
channels, a residual block that halves the image before the second and the third, batch norm, ReLU, pooling, classifier.

An edge is a slot that adds its operator's output to the sum before it. So a cell is priced and trained from 190
combinations of its six slots instead of its 15,625 cells, and every operator of every edge has weights of its own.
Three things differ from the benchmark. Edges that cannot be reached, or lead nowhere, are left out (there they
turn zeros into constants). A cell without a path hands its input on (there it gives zeros, and nothing is learned).
Average pooling divides by nine at the border as well.

Some runtimes merge a ReLU or a sum into the convolution of an edge before it. A slot does not see that, so tables may
say more than the whole network takes, never less.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from search_spaces.ir import Builder, Network
from search_spaces.op import Ref
from search_spaces.operators import Shape
from search_spaces.slots import (
    IMAGE,
    MOST_BLOCKS,
    MOST_CHANNELS,
    ExitSite,
    Gene,
    Genome,
    Genomes,
    Slot,
    SpaceError,
    check,
    fold,
)

#: Order of the genes, which is that of the benchmark's architecture strings: edge (source, target).
EDGES: Final = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
OPERATORS: Final = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
STAGES: Final = 3
Build = Callable[[Builder, tuple[Ref, ...], tuple[int, ...]], Ref | None]


def _constant(shapes: tuple[Shape, ...], values: tuple[int, ...]) -> tuple[Shape, ...]:
    """The shapes a slot reads, whatever its genes."""
    return shapes


def _relu_conv_bn(b: Builder, name: str, x: Ref, filters: int, kernel: int, stride: int = 1) -> Ref:
    x = b("relu", f"{name}.relu", x)
    x = b("conv", name, x, filters=filters, kernel=kernel, stride=stride, padding=kernel // 2)
    return b("batch_norm", f"{name}.bn", x)


def _operator(b: Builder, name: str, x: Ref, choice: int) -> Ref:
    """Any operator but `none`; the names differ, so that no two share a weight."""
    operator, name = OPERATORS[choice], f"{name}.{OPERATORS[choice]}"
    if operator == "skip_connect":
        return b("reshape", name, x, shape=b.shape(x))
    if operator == "avg_pool_3x3":
        return b("avg_pool", name, x, kernel=3, stride=1, padding=1)
    return _relu_conv_bn(b, name, x, b.shape(x)[0], 1 if operator == "nor_conv_1x1" else 3)


def _edge(name: str, before: int) -> Build:
    """Build an edge; of its values the first `before` tell whether there is a sum to add to, the last its operator.

    Without an operator it is absent, and a body slot that is absent hands its first input on: the sum so far.
    """

    def build(b: Builder, inputs: tuple[Ref, ...], values: tuple[int, ...]) -> Ref | None:
        if values[-1] == 0:
            return None
        result = _operator(b, name, inputs[-1], values[-1])
        return b("add", f"{name}.{OPERATORS[values[-1]]}.sum", result, inputs[0]) if any(values[:before]) else result

    return build


def _reduction(name: str, filters: int) -> Build:
    """A residual block of stride 2 (He et al. 2016, arXiv 1512.03385), with the benchmark's pooled short cut."""

    def build(b: Builder, inputs: tuple[Ref, ...], values: tuple[int, ...]) -> Ref:
        y = _relu_conv_bn(b, f"{name}.conv_a", inputs[0], filters, 3, stride=2)
        y = _relu_conv_bn(b, f"{name}.conv_b", y, filters, 3)
        x = b("avg_pool", f"{name}.pool", inputs[0], kernel=2, stride=2)
        x = b("conv", f"{name}.downsample", x, filters=filters, kernel=1)
        return b("add", f"{name}.residual", y, x)

    return build


@dataclass(frozen=True)
class CellSpace:
    """Six genes, one per edge, that all `cells` cells of each stage follow; satisfies `SearchSpace`."""

    input_shape: Shape
    classes: int
    channels: int
    cells: int
    name: str = "nasbench201"

    @property
    def genes(self) -> tuple[Gene, ...]:
        """The operator of each edge."""
        return tuple(Gene(f"edge{source}{target}", OPERATORS, ordinal=False) for source, target in EDGES)

    @cached_property
    def slots(self) -> tuple[Slot, ...]:
        """Stem, the edges of each cell, a reduction between stages, the classifier."""
        shape = (self.channels, *self.input_shape[1:])
        slots = [self._plain("stem", "body", IMAGE, self.input_shape, self._stem)]
        for stage in range(STAGES):
            if stage:
                name, before = f"reduction{stage}", shape
                shape = (2 * shape[0], shape[1] // 2, shape[2] // 2)
                slots.append(self._plain(name, "body", slots[-1].name, before, _reduction(name, shape[0])))
            for cell in range(self.cells):
                slots += self._cell(f"stage{stage}.cell{cell}", slots[-1].name, shape)
        return (*slots, self._plain("final", "final", slots[-1].name, shape, self._head))

    def _stem(self, b: Builder, inputs: tuple[Ref, ...], values: tuple[int, ...]) -> Ref:
        x = b("conv", "stem.conv", inputs[0], filters=self.channels, kernel=3, padding=1)
        return b("batch_norm", "stem.conv.bn", x)

    def _head(self, b: Builder, inputs: tuple[Ref, ...], values: tuple[int, ...]) -> Ref:
        x = b("relu", "final.relu", b("batch_norm", "final.bn", inputs[0]))
        x = b("global_pool", "final.pool", x)
        x = b("reshape", "final.flat", x, shape=(b.shape(x)[0],))
        return b("dense", "final.dense", x, units=self.classes)

    @staticmethod
    def _plain(name: str, role: Literal["body", "final"], source: str, shape: Shape, build: Build) -> Slot:
        return Slot(name, role, (), (), (source,), build, partial(_constant, (shape,)))

    @staticmethod
    def _cell(name: str, source: str, shape: Shape) -> list[Slot]:
        """The edges in order of the genes; the last one into a node holds that node's sum."""
        nodes = {0: source}
        slots = []
        for gene, (start, end) in enumerate(EDGES):
            earlier = [i for i, (_, other) in enumerate(EDGES[:gene]) if other == end]
            edge = f"{name}.edge{start}{end}"
            inputs = (nodes[end], nodes[start]) if earlier else (nodes[start],)
            shapes = (shape,) * len(inputs)
            slots.append(
                Slot(
                    edge, "body", (*earlier, gene), (len(OPERATORS),) * (len(earlier) + 1), inputs,
                    _edge(edge, len(earlier)), partial(_constant, shapes), operator_choice=(len(earlier),),
                )
            )  # fmt: skip
            nodes[end] = edge
        return slots

    @property
    def exit_sites(self) -> tuple[ExitSite, ...]:
        """The final exit alone, which nothing switches."""
        return (ExitSite(None),)

    def canonical(self, genomes: Genomes) -> Genomes:
        """Genomes [n, 6] with every edge that no path from the cell's input to its output uses set to `none`."""
        genomes = np.asarray(genomes)
        return genomes * self.active(genomes).astype(genomes.dtype)

    def active(self, genomes: Genomes) -> NDArray[np.bool_]:
        """Whether a path from the cell's input to its output uses each edge, or would if it had an operator [n, 6]."""
        on: NDArray[np.bool_] = np.asarray(genomes) != 0
        e01, e02, e12, _, e13, e23 = on.T
        reached2 = e02 | (e12 & e01)
        leaves1 = e13 | (e12 & e23)
        return np.column_stack((leaves1, e23, e01 & e23, np.ones(len(on), np.bool_), e01, reached2))

    def decode(self, genome: Genome) -> Network:
        """The network of a genome; raises SpaceError for one outside the space."""
        check(self, genome)
        return fold(self, self.canonical(np.asarray(genome)[None])[0])


def nasbench201(input_shape: Shape, classes: int, channels: int = 16, cells: int = 5) -> CellSpace:
    """The space for images of `input_shape` (channels, height, width), both sides multiples of 4 for two halvings.

    `channels` of the first stage and `cells` per stage are the benchmark's; smaller ones train faster. Raises
    SpaceError for other sizes.
    """
    if len(input_shape) != 3 or input_shape[1] % 4 or input_shape[2] % 4:
        raise SpaceError(
            f"space nasbench201 halves the image twice, and {tuple(input_shape)} (channels, height, width) is not "
            "divisible by 4; resize the images"
        )
    if min(channels, cells) < 1 or classes < 2:
        raise SpaceError(
            f"space nasbench201 needs channels and cells of at least 1 and classes of at least 2, got channels "
            f"{channels}, cells {cells} and classes {classes}"
        )
    if channels > MOST_CHANNELS or cells > MOST_BLOCKS:
        raise SpaceError(
            f"space nasbench201 has at most {MOST_CHANNELS:,} channels and {MOST_BLOCKS:,} cells per stage, got "
            f"{channels} and {cells}"
        )
    return CellSpace(tuple(input_shape), classes, channels, cells)
