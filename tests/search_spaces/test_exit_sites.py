"""Exits that nobody told anything about: what switches them is found from their slots."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from nas.supernet.elastic import Supernet
from search_spaces.ir import Builder, Network
from search_spaces.mobile import conv_bn, linear_exit
from search_spaces.op import Ref
from search_spaces.operators import Shape
from search_spaces.slots import (
    IMAGE,
    ExitSite,
    Gene,
    Genome,
    Genomes,
    Slot,
    SpaceError,
    check,
    complete,
    find_active,
    find_exit_sites,
    fold,
    sizes,
    with_exits,
)

SHAPE = (1, 4, 4)


@dataclass(frozen=True)
class Two:
    """Two convolutions with an exit after each, and nothing more of its own than a space must have."""

    genes: tuple[Gene, ...]
    exits: tuple[tuple[tuple[int, ...], Callable[[tuple[int, ...]], bool]], ...]
    final_genes: tuple[int, ...] = ()
    name: str = "two"
    input_shape: Shape = SHAPE
    classes: int = 3

    @property
    def slots(self) -> tuple[Slot, ...]:
        found, source = [], IMAGE
        for number, (genes, there) in enumerate(self.exits):
            found.append(_slot(f"body{number}", "body", (), (), source, _body(f"body{number}")))
            source = f"body{number}"
            options = tuple(len(self.genes[gene].options) for gene in genes)
            found.append(_slot(f"exit{number}", "exit", genes, options, source, _head(f"exit{number}", there)))
        options = tuple(len(self.genes[gene].options) for gene in self.final_genes)
        return (*found, _slot("final", "final", self.final_genes, options, source, _head("final", lambda values: True)))

    @property
    def exit_sites(self) -> tuple[ExitSite, ...]:
        return find_exit_sites(self)

    def canonical(self, genomes: Genomes) -> Genomes:
        return np.array(genomes)

    def active(self, genomes: Genomes) -> NDArray[np.bool_]:
        return find_active(self.canonical, sizes(self), genomes)

    def decode(self, genome: Genome) -> Network:
        check(self, genome)
        return fold(self, self.canonical(np.asarray(genome)[None])[0])


def _slot(name: str, role: str, genes: tuple[int, ...], options: tuple[int, ...], source: str, build: object) -> Slot:
    channels = 1 if source == IMAGE else 2
    return Slot(name, role, genes, options, (source,), build, lambda values: ((channels, 4, 4),))


def _body(name: str) -> Callable[[Builder, tuple[Ref, ...], tuple[int, ...]], Ref]:
    return lambda b, refs, values: conv_bn(b, f"{name}.conv", refs[0], 2, 3, "relu")


def _head(
    name: str, there: Callable[[tuple[int, ...]], bool]
) -> Callable[[Builder, tuple[Ref, ...], tuple[int, ...]], Ref | None]:
    return lambda b, refs, values: linear_exit(b, name, refs[0], 3) if there(values) else None


def answers(space: Two, genome: Genome) -> list[str]:
    network = space.decode(genome)
    return [network.ops[index].name.split(".")[0] for index in network.exits]


def test_one_gene_may_say_which_exit_there_is() -> None:
    """It is read by two slots, and yet by exits alone; the shared weights have always taken it for a switch."""
    space = Two((Gene("where", (None, 0, 1)),), (((0,), lambda v: v[0] == 1), ((0,), lambda v: v[0] == 2)))
    assert space.exit_sites == (ExitSite(0, 0, (1,)), ExitSite(0, 0, (2,)), ExitSite(None))
    found = [answers(space, with_exits(space, (1,), on)) for on in ((), (0,), (1,))]
    assert found == [["final"], ["exit0", "final"], ["exit1", "final"]]
    assert Supernet(space).choices(np.array([[0], [1], [2]])).legal.all()


def test_a_gene_that_the_final_exit_reads_too_is_no_switch() -> None:
    """Switching by it would change the network; nothing switches such an exit."""
    space = Two(
        (Gene("both", (0, 1)), Gene("own", (0, 1))), (((0,), lambda v: v[0] == 1), ((1,), lambda v: v[0] == 1)), (0,)
    )
    assert space.exit_sites == (ExitSite(None), ExitSite(1, 0, (1,)), ExitSite(None))


def test_an_exit_may_be_off_at_any_option_and_have_genes_that_do_not_switch_it() -> None:
    genes = (Gene("kind", ("a", "b")), Gene("exit", ("small", "none", "large")))
    space = Two(genes, (((0, 1), lambda v: v[1] != 1), ((), lambda v: True)))
    assert space.exit_sites == (ExitSite(1, 1, (0, 2)), ExitSite(None), ExitSite(None))
    assert answers(space, (0, 1)) == ["exit1", "final"]
    # What is on already stays as it is; what is not takes the first option.
    assert with_exits(space, (1, 2), (0,)).tolist() == [1, 2]
    assert with_exits(space, (1, 1), (0,)).tolist() == [1, 0]
    assert with_exits(space, (1, 2), ()).tolist() == [1, 1]
    assert Supernet(space).choices(np.array([[0, 1], [1, 2]])).legal.all()


def test_a_space_that_lacks_a_member_is_told_which() -> None:
    class Old:
        name, input_shape, classes, genes, slots = "old", SHAPE, 3, (), ()

        def canonical(self, genomes: Genomes) -> Genomes:
            return genomes

        def decode(self, genome: Genome) -> Network:
            raise NotImplementedError

    with pytest.raises(SpaceError, match="Old is no search space: it lacks exit_sites, active; see"):
        complete(Old())
