"""Spaces of stages: a table of rows, each a run of alike blocks with elastic depth and width, and exits after blocks.

`StagedSpace` knows how a table becomes genes and slots; what a block is made of is a function given to it, so that a
new family of networks is one function and one table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from search_spaces.effects import Keep, active, canonical
from search_spaces.ir import Builder, Network
from search_spaces.op import Ref
from search_spaces.operators import Shape
from search_spaces.slots import IMAGE, ExitSite, Gene, Genome, Genomes, Slot, SpaceError, check, fold

#: Beyond any network for a device: building one would take minutes, or all memory.
MOST_WIDTH, MOST_DEPTH = 100_000, 100


@dataclass(frozen=True)
class Stage:
    """One row: `max(depths)` blocks of one resolution, the first of which strides.

    `widths` are output channels, `depths` numbers of blocks, `options` the decisions of each block by name, `exits`
    whether a sample may leave after each of its blocks.
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    stride: int
    options: Mapping[str, tuple[Any, ...]]
    activation: str = "relu"
    exits: bool = True

    def __post_init__(self) -> None:
        for name, values in (("widths", self.widths), ("depths", self.depths), *self.options.items()):
            if not all(isinstance(value, bool | int | float | str) for value in values):
                raise SpaceError(f"a stage's {name} {values} must be numbers, truth values or texts")
            if not values or len(set(values)) != len(values):
                raise SpaceError(f"a stage's {name} {values} must be a list of different values")
        if min(self.widths) < 1 or min(self.depths) < 1 or self.stride < 1:
            raise SpaceError(f"a stage needs widths, depths and stride of at least 1, got {self}")
        if max(self.widths) > MOST_WIDTH or max(self.depths) > MOST_DEPTH or self.stride > MOST_WIDTH:
            raise SpaceError(
                f"a stage has at most {MOST_DEPTH} blocks of {MOST_WIDTH:,} channels, got widths {self.widths}, depths "
                f"{self.depths} and stride {self.stride}"
            )


class Block(Protocol):
    """Adds one block called `name` and returns its output of `width` channels."""

    def __call__(
        self, b: Builder, name: str, x: Ref, width: int, stride: int, activation: str, options: Mapping[str, Any]
    ) -> Ref: ...


@dataclass(frozen=True)
class _Choice:
    """A decision as a slot sees it: the gene that makes it, or none when there is only one option."""

    label: str
    gene: int | None
    options: tuple[Any, ...]


@dataclass(frozen=True)
class _Decisions:
    """What decides about one block: the width that enters, where it is not the stage's own, and the rest."""

    width_in: _Choice | None
    width: _Choice
    depth: _Choice
    options: list[_Choice]


class _Table:
    """Collects genes; a decision with a single option costs no gene."""

    def __init__(self) -> None:
        self.genes: list[Gene] = []

    def choice(self, label: str, name: str, options: tuple[Any, ...], ordinal: bool = True) -> _Choice:
        if len(options) == 1:
            return _Choice(label, None, options)
        self.genes.append(Gene(name, options, ordinal))
        return _Choice(label, len(self.genes) - 1, options)


def _reader(choices: Sequence[_Choice]) -> Callable[[tuple[int, ...]], dict[str, Any]]:
    """From a slot's gene values to the options they stand for, by label."""

    def read(values: tuple[int, ...]) -> dict[str, Any]:
        rest = iter(values)
        return {c.label: c.options[0 if c.gene is None else next(rest)] for c in choices}

    return read


@dataclass(frozen=True)
class StagedSpace:
    """A space given by a table of stages; satisfies `SearchSpace`.

    `stem(b, x)`, `block`, `exit_head(b, name, x, classes)` and `final_head(b, x, classes)` add operators called
    `stem.…`, `stageS.blockB.…`, `exitP.…` and `final.…`. `operator_choice` names the block options whose values have
    weights of their own; all others are elastic. At most `max_exits` early exits are kept, a deterministic random
    subset.
    """

    name: str
    input_shape: Shape
    classes: int
    stages: tuple[Stage, ...]
    stem: Callable[[Builder, Ref], Ref]
    block: Block
    exit_head: Callable[[Builder, str, Ref, int], Ref]
    final_head: Callable[[Builder, Ref, int], Ref]
    operator_choice: tuple[str, ...] = ()
    max_exits: int = 3

    def __post_init__(self) -> None:
        if not self.stages:
            raise SpaceError(f"space {self.name!r} has no stages")
        if self.max_exits < 0:
            raise SpaceError(f"max_exits must not be negative, got {self.max_exits}")
        if self.classes < 2:
            raise SpaceError(f"a classifier needs at least 2 classes, got {self.classes}")

    @property
    def genes(self) -> tuple[Gene, ...]:
        """The decisions: per stage depth, width and the blocks' options, then one per legal exit."""
        return self._layout[0]

    @property
    def slots(self) -> tuple[Slot, ...]:
        """Stem, then each block followed by its exit, then the final head."""
        return self._layout[1]

    def decode(self, genome: Genome) -> Network:
        """The network of a genome; equal for genomes with equal canonical forms."""
        check(self, genome)
        return fold(self, self.canonical(np.asarray(genome)[None])[0])

    @cached_property
    def _layout(self) -> tuple[tuple[Gene, ...], tuple[Slot, ...], tuple[Keep, ...], tuple[int, ...]]:
        table = _Table()
        size, before = self._after_stem
        depth_choices, width_choices, block_choices = [], [], []
        for s, stage in enumerate(self.stages):
            depth_choices.append(table.choice("depth", f"stage{s}.depth", stage.depths))
            width_choices.append(table.choice("width", f"stage{s}.width", stage.widths))
            block_choices.append(
                [
                    [
                        table.choice(
                            label, f"stage{s}.block{i}.{label}", tuple(options), label not in self.operator_choice
                        )
                        for label, options in stage.options.items()
                    ]
                    for i in range(max(stage.depths))
                ]
            )
        exit_genes: dict[tuple[int, int], _Choice] = {}
        last = len(self.stages) - 1
        for s, stage in enumerate(self.stages):
            # An exit after the deepest block of the last stage would be the final one.
            for i in range(max(stage.depths) - (s == last)):
                if stage.exits and self.max_exits:
                    exit_genes[s, i] = table.choice("on", f"exit{len(exit_genes)}", (False, True))

        slots = [self._stem_slot()]
        previous, width_in = "stem", _Choice("width_in", None, (before,))
        for s, stage in enumerate(self.stages):
            inside = _Choice("width_in", width_choices[s].gene, stage.widths)
            for i in range(max(stage.depths)):
                stride = stage.stride if i == 0 else 1
                entering = width_in if i == 0 else None
                decisions = _Decisions(entering, width_choices[s], depth_choices[s], block_choices[s][i])
                slots.append(self._block_slot(s, i, previous, size, stride, decisions))
                size = (-(-size[0] // stride), -(-size[1] // stride))
                previous = f"stage{s}.block{i}"
                if (s, i) in exit_genes:
                    number = list(exit_genes).index((s, i))
                    slots.append(self._exit_slot(number, previous, size, inside, exit_genes[s, i]))
            width_in = inside
        slots.append(self._final_slot(previous, size, width_in))

        keeps = tuple(self._keep(s, depth_choices[s], block_choices[s], exit_genes) for s in range(len(self.stages)))
        exits = tuple(choice.gene for choice in exit_genes.values() if choice.gene is not None)
        return tuple(table.genes), tuple(slots), keeps, exits

    @property
    def _after_stem(self) -> tuple[tuple[int, int], int]:
        b = Builder()
        channels, height, width = b.shape(self.stem(b, b.input(IMAGE, self.input_shape)))
        return (height, width), channels

    def _stem_slot(self) -> Slot:
        return Slot(
            "stem", "body", (), (), (IMAGE,),
            lambda b, refs, values: self.stem(b, refs[0]),
            lambda values: (self.input_shape,),
        )  # fmt: skip

    def _slot(self, name: str, role: Any, source: str, choices: list[_Choice], build: Any, shapes: Any) -> Slot:
        """A slot whose build and shapes read options by label instead of gene values by position."""
        read = _reader(choices)
        active = [c for c in choices if c.gene is not None]
        return Slot(
            name, role,
            tuple(c.gene for c in active if c.gene is not None),
            tuple(len(c.options) for c in active),
            (source,),
            lambda b, refs, values: build(b, refs[0], read(values)),
            lambda values: (shapes(read(values)),),
            tuple(i for i, c in enumerate(active) if c.label in self.operator_choice),
        )  # fmt: skip

    def _block_slot(
        self, s: int, i: int, source: str, size: tuple[int, int], stride: int, decisions: _Decisions
    ) -> Slot:
        stage, name, options = self.stages[s], f"stage{s}.block{i}", decisions.options
        always, width_in = i < min(stage.depths), decisions.width_in
        choices = [*([] if always else [decisions.depth]), *([width_in] if width_in else []), decisions.width, *options]

        def build(b: Builder, x: Ref, read: dict[str, Any]) -> Ref | None:
            if not always and i >= read["depth"]:
                return None
            chosen = {c.label: read[c.label] for c in options}
            return self.block(b, name, x, read["width"], stride, stage.activation, chosen)

        return self._slot(
            name, "body", source, choices, build, lambda read: (read.get("width_in", read["width"]), *size)
        )

    def _exit_slot(self, number: int, source: str, size: tuple[int, int], width: _Choice, on: _Choice) -> Slot:
        def build(b: Builder, x: Ref, read: dict[str, Any]) -> Ref | None:
            return self.exit_head(b, f"exit{number}", x, self.classes) if read["on"] else None

        return self._slot(f"exit{number}", "exit", source, [width, on], build, lambda read: (read["width_in"], *size))

    def _final_slot(self, source: str, size: tuple[int, int], width: _Choice) -> Slot:
        return self._slot(
            "final", "final", source, [width],
            lambda b, x, read: self.final_head(b, x, self.classes),
            lambda read: (read["width_in"], *size),
        )  # fmt: skip

    def _keep(self, s: int, depth: _Choice, blocks: list[list[_Choice]], exits: dict[tuple[int, int], _Choice]) -> Keep:
        genes, floors = [], []
        for i, choices in enumerate(blocks):
            genes += [c.gene for c in choices if c.gene is not None]
            floors += [i] * sum(c.gene is not None for c in choices)
        for (stage, i), choice in exits.items():
            if stage == s and choice.gene is not None:
                genes.append(choice.gene)
                # The exit after the last block of the network is the final one.
                floors.append(i + (s == len(self.stages) - 1))
        table = np.array([[d > floor for floor in floors] for d in depth.options], np.bool_)
        return Keep(depth.gene, np.array(genes, np.intp), table.reshape(len(depth.options), len(floors)))

    @cached_property
    def exit_sites(self) -> tuple[ExitSite, ...]:
        """A gene of its own for each early exit; none for the final one."""
        return (*(ExitSite(gene, off=0, options=(1,)) for gene in self._layout[3]), ExitSite(None))

    def canonical(self, genomes: Genomes) -> Genomes:
        """Genomes [n, genes] with genes of absent blocks, exits that depth removed and surplus exits set to 0.

        Of too many exits a deterministic random subset stays, which follows from the set of them: keeping the earliest
        would make late exits as good as unreachable for whoever draws genes one by one.
        """
        return canonical(genomes, *self._layout[2:], self.max_exits)

    def active(self, genomes: Genomes) -> NDArray[np.bool_]:
        """Whether each gene of canonical genomes [n, genes] has an effect there: its block or exit is, or could be."""
        return active(genomes, *self._layout[2:], self.max_exits)
