"""A search space as a list of slots, and the fold that turns a genome into a network.

A slot is the one place where a few genes become a few operators. Four readers share it: `decode` chains the slots'
operators into a network, a latency model prices each combination of a slot once and adds tables up, the supernet runs
each slot at its largest (elastic genes slice it) or switches between operators of their own (operator choices), and
`canonical` knows which genes an absent slot leaves without meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from search_spaces.ir import Builder, Network
from search_spaces.op import Ref
from search_spaces.operators import Shape

Genomes = NDArray[np.integer[Any]]
#: One genome: any sequence or row of integers.
Genome = Sequence[int] | Genomes
IMAGE = "image"
#: A table of more blocks than that in a row, or of more channels, is a slip of the pen, and would not come to its end.
MOST_BLOCKS: Final = 256
MOST_CHANNELS: Final = 2**20


class SpaceError(ValueError):
    """A space or a genome cannot be what was asked; the message says what, why and what to do."""


@dataclass(frozen=True, slots=True)
class Gene:
    """One decision: its name and what its integers stand for. `ordinal` options have neighbours."""

    name: str
    options: tuple[Any, ...]
    ordinal: bool = True


@dataclass(frozen=True, slots=True)
class ExitSite:
    """What switches an exit: where `gene` is `off` there is none, whatever else is set; each of `options` asks for it.

    `gene` is None where nothing switches it: the final exit, and an exit that is there whenever what it reads is.
    """

    gene: int | None
    off: int = 0
    options: tuple[int, ...] = ()


@dataclass(frozen=True)
class Slot:
    """Genes and the operators they choose.

    `build(builder, inputs, values)` adds the slot's operators for the gene values and returns the output, or None when
    the slot is absent: a body slot then passes its first input on, an exit is off. All its operators are called
    `name.…`. `input_shapes(values)` tells the shapes it reads. `operator_choice` lists the positions within `genes`
    that select operators with weights of their own; the other genes slice the largest tensors. Fusion never crosses a
    slot.
    """

    name: str
    role: Literal["body", "exit", "final"]
    genes: tuple[int, ...]
    sizes: tuple[int, ...]
    inputs: tuple[str, ...]
    build: Callable[[Builder, tuple[Ref, ...], tuple[int, ...]], Ref | None]
    input_shapes: Callable[[tuple[int, ...]], tuple[Shape, ...]]
    operator_choice: tuple[int, ...] = ()

    def combinations(self) -> Iterator[tuple[int, ...]]:
        """All gene values, in the order of `index`."""
        return product(*(range(size) for size in self.sizes))

    @property
    def count(self) -> int:
        """Number of combinations."""
        return int(np.prod(self.sizes, dtype=np.int64))

    def values(self, genome: Genome) -> tuple[int, ...]:
        """This slot's part of a genome."""
        return tuple(int(genome[gene]) for gene in self.genes)

    def index(self, genomes: Genomes) -> NDArray[np.int32]:
        """The combination that each genome [n, genes] selects, as an index into `combinations` [n]."""
        index = np.zeros(len(genomes), np.int32)
        for gene, size in zip(self.genes, self.sizes, strict=True):
            index *= size
            np.add(index, genomes[:, gene], out=index, dtype=np.int32, casting="unsafe")
        return index

    def network(self, values: tuple[int, ...]) -> Network | None:
        """The slot alone as a network whose inputs bear the names of `inputs`; None where it is absent."""
        builder = Builder()
        shapes = self.input_shapes(values)
        refs = tuple(builder.input(name, shape) for name, shape in zip(self.inputs, shapes, strict=True))
        output = self.build(builder, refs, values)
        return None if output is None else builder.network(output)


class SearchSpace(Protocol):
    """All that the rest of the project knows of a space; `StagedSpace` is one implementation."""

    @property
    def name(self) -> str:
        """Short name, used in files and reports."""

    @property
    def input_shape(self) -> Shape:
        """(channels, height, width) of the image."""

    @property
    def classes(self) -> int:
        """Number of answers."""

    @property
    def genes(self) -> tuple[Gene, ...]:
        """The decisions, in the order of the genome."""

    @property
    def slots(self) -> tuple[Slot, ...]:
        """The slots in order of execution; the last is the only one with role `final`."""

    @property
    def exit_sites(self) -> tuple[ExitSite, ...]:
        """What switches each exit, in order of execution, the final one last; `find_exit_sites` looks for it."""

    def canonical(self, genomes: Genomes) -> Genomes:
        """Genomes [n, genes] with every gene that has no effect set to 0: equal rows are equal networks."""

    def active(self, genomes: Genomes) -> NDArray[np.bool_]:
        """Whether each gene of canonical genomes [n, genes] has an effect there; `find_active` tries it out."""

    def decode(self, genome: Genome) -> Network:
        """The network of one genome; raises SpaceError for a genome outside the space."""


def sizes(space: SearchSpace) -> NDArray[np.int64]:
    """Number of options of each gene [genes]."""
    return np.array([len(gene.options) for gene in space.genes], np.int64)


def check(space: SearchSpace, genome: Genome) -> None:
    """Raise SpaceError for a genome of the wrong length or with a value out of range."""
    limits = sizes(space)
    if len(genome) != len(limits) or any(not 0 <= g < n for g, n in zip(genome, limits, strict=True)):
        raise SpaceError(
            f"genome {tuple(int(g) for g in genome)} does not fit space {space.name!r}: it takes {len(limits)} genes "
            f"below {tuple(int(n) for n in limits)}"
        )


def fold(space: SearchSpace, genome: Genome) -> Network:
    """Chain the slots' operators for one canonical genome; every space decodes through this."""
    builder = Builder()
    outputs = {IMAGE: builder.input(IMAGE, space.input_shape)}
    exits = []
    for slot in space.slots:
        inputs = tuple(outputs[name] for name in slot.inputs)
        output = slot.build(builder, inputs, slot.values(genome))
        if slot.role == "body":
            outputs[slot.name] = inputs[0] if output is None else output
        elif output is not None:
            exits.append(output)
    return builder.network(*exits, genome=tuple(int(gene) for gene in genome))


def random_genomes(space: SearchSpace, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """`n` canonical genomes drawn uniformly gene by gene [n, genes]; duplicates may occur."""
    drawn = rng.integers(0, sizes(space), size=(n, len(space.genes)))
    return space.canonical(drawn).astype(np.int64)


def exit_positions(space: SearchSpace) -> tuple[int, ...]:
    """Indices of the slots where a network may answer, in order of execution; the final one last."""
    return tuple(i for i, slot in enumerate(space.slots) if slot.role != "body")


def with_exits(space: SearchSpace, genome: Genome, on: Collection[int]) -> NDArray[np.int64]:
    """The canonical genome [genes] that has early exits at the positions `on` as far as it can, and nowhere else."""
    return np.array(space.canonical(switched(space, genome, on)[None])[0], np.int64)


def switched(space: SearchSpace, genome: Genome, on: Collection[int]) -> NDArray[np.int64]:
    """The genome [genes] with early exits asked for at the positions `on` and nowhere else, legal or not."""
    result = np.array(genome, np.int64)
    sites = [(position, site, site.gene) for position, site in enumerate(space.exit_sites) if site.gene is not None]
    for _, site, gene in sites:
        result[gene] = site.off
    for position, site, gene in sites:
        if position in on:
            before = int(genome[gene])
            result[gene] = before if before in site.options else site.options[0]
    return result


def find_exit_sites(space: SearchSpace) -> tuple[ExitSite, ...]:
    """The exit sites of any space, from all combinations of its exits; for a space that cannot tell them itself.

    An exit is switched by the first of its genes that no slot but exits reads and that has an option without it.
    """
    elsewhere = {gene for slot in space.slots if slot.role != "exit" for gene in slot.genes}
    return tuple(_site(slot, elsewhere) for slot in space.slots if slot.role != "body")


def _site(slot: Slot, elsewhere: Collection[int]) -> ExitSite:
    there = np.array([slot.network(values) is not None for values in slot.combinations()]).reshape(slot.sizes)
    for axis, gene in enumerate(slot.genes):
        on = there.any(axis=tuple(other for other in range(there.ndim) if other != axis))
        if gene not in elsewhere and on.any() and not on.all():
            return ExitSite(gene, int(on.argmin()), tuple(np.flatnonzero(on).tolist()))
    return ExitSite(None)


def find_active(
    canonical: Callable[[Genomes], Genomes], sizes: NDArray[np.integer[Any]], genomes: Genomes
) -> NDArray[np.bool_]:
    """Whether each gene of canonical genomes [n, genes] has an effect, for any `canonical` of genes of these `sizes`.

    A gene without effect is 0 in every canonical form, whatever it is set to, so each 0 is tried as a 1.
    """
    result: NDArray[np.bool_] = np.not_equal(genomes, 0)
    row, gene = np.nonzero(~result & (np.asarray(sizes) > 1))
    if len(row):
        tried = np.array(genomes, np.int64)[row]
        tried[np.arange(len(row)), gene] = 1
        result[row, gene] = canonical(tried)[np.arange(len(row)), gene] != 0
    return result


def complete(space: SearchSpace) -> SearchSpace:
    """The space itself; raises SpaceError if it lacks a member of `SearchSpace`."""
    missing = [name for name in vars(SearchSpace) if not name.startswith("_") and not hasattr(space, name)]
    if missing:
        raise SpaceError(
            f"{type(space).__name__} is no search space: it lacks {', '.join(missing)}; "
            "see `SearchSpace` in search_spaces.slots, where find_exit_sites and find_active answer for any space"
        )
    return space
