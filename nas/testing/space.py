"""What every search space promises; a law takes the space. Slots stand in `space_slots`, weights in `space_runs`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nas.testing import small, space_effects, space_runs, space_slots
from nas.testing.laws import BrokenLaw, laws, require
from nas.testing.space_slots import random_raw
from search_spaces.slots import (
    IMAGE,
    SearchSpace,
    SpaceError,
    fold,
    random_genomes,
    sizes,
)

Ints = NDArray[np.int64]
Genomes = NDArray[np.integer[Any]]
_TYPES: Final = (np.int8, np.uint8, np.int16, np.int32, np.uint32, np.int64, np.uint64)


def neighbours(space: SearchSpace, genome: Ints) -> Ints:
    """A genome, and all genomes that differ from it in one gene."""
    changed = [genome]
    for gene, size in enumerate(sizes(space)):
        for value in range(size):
            if value != genome[gene]:
                changed.append(genome.copy())
                changed[-1][gene] = value
    return np.array(changed)


def genes_have_names_and_options(space: SearchSpace) -> None:
    """Genes have different names, and at least two different options each"""
    named = [gene.name for gene in space.genes]
    require(len(set(named)) == len(named), f"gene names are {named}", "give each gene its own name")
    for gene in space.genes:
        require(
            len(set(gene.options)) == len(gene.options) >= 2,
            f"gene {gene.name!r} has the options {gene.options}",
            "give at least two, all different, or leave the gene out",
        )


def canonical_is_idempotent(space: SearchSpace) -> None:
    """`canonical` is idempotent"""
    genomes = random_genomes(space, 64, np.random.default_rng(0))
    changed = np.flatnonzero((space.canonical(genomes) != genomes).any(axis=1))
    if len(changed):
        raise BrokenLaw(
            f"canonical is not idempotent for {genomes[changed[0]].tolist()}; what it returns must be left as it is"
        )


def canonical_treats_rows_alone(space: SearchSpace) -> None:
    """`canonical` treats each row alone, keeps every gene or sets it to 0, and leaves its argument"""
    genomes = random_raw(space, 50)
    before = genomes.copy()
    together = space.canonical(genomes)
    require(np.array_equal(genomes, before), "canonical changes its argument", "return another array")
    alone = np.concatenate([space.canonical(genomes[i : i + 1]) for i in range(50)])
    strided = space.canonical(np.ascontiguousarray(genomes[:, ::-1])[:, ::-1])
    require(
        np.array_equal(together, alone) and np.array_equal(strided, together),
        "canonical of 50 genomes is not that of each",
        "let no row depend on another, nor on how the array lies in memory",
    )
    require(
        space.canonical(genomes[:0]).shape == (0, len(space.genes)),
        "canonical of no genomes has another shape",
        "keep it",
    )
    require(
        ((together == genomes) | (together == 0)).all(),
        "canonical sets a gene to something other than itself or 0",
        "set genes without effect to 0 and keep the others",
    )


def equal_networks_have_equal_genomes(space: SearchSpace) -> None:
    """Equal networks have equal canonical genomes, and others have not"""
    # Random genomes would hardly ever meet, so every change of a single gene is tried as well.
    genomes = np.concatenate(
        [
            random_raw(space, 60),
            neighbours(space, sizes(space) - 1),
            neighbours(space, random_raw(space, 1, seed=1)[0]),
        ]
    )
    by_key: dict[str, tuple[int, ...]] = {}
    by_genome: dict[tuple[int, ...], str] = {}
    for raw, canonical in zip(genomes.tolist(), space.canonical(genomes).tolist(), strict=True):
        genome, key = tuple(canonical), space.decode(raw).key
        known = by_key.setdefault(key, genome)
        if known != genome:
            raise BrokenLaw(
                f"{list(known)} and {list(genome)} differ and give the same network; set genes without effect to 0"
            )
        require(
            by_genome.setdefault(genome, key) == key,
            f"{list(genome)} is the canonical form of two networks",
            "set to 0 only what has no effect",
        )


def genomes_decode(space: SearchSpace) -> None:
    """Any genome decodes to the network of its canonical form, which reads the image and answers every class"""
    for raw in random_raw(space, 15, seed=2):
        (canonical,) = space.canonical(raw[None])
        network = space.decode(raw)
        require(
            network.key == space.decode(canonical.tolist()).key == fold(space, canonical.tolist()).key,
            f"{raw.tolist()} and its canonical form {canonical.tolist()} decode to different networks",
            "decode the canonical form through `search_spaces.slots.fold`",
        )
        require(
            network.op(IMAGE).shape == space.input_shape,
            f"the image has shape {network.op(IMAGE).shape}",
            f"read {space.input_shape}",
        )
        answers = [network.ops[index].shape for index in network.exits]
        require(
            set(answers) == {(space.classes,)} and network.exits[-1] == len(network.ops) - 1,
            f"{raw.tolist()} answers with shapes {answers}",
            f"every exit gives {(space.classes,)}, and the final one is the last operator",
        )


def any_integer_type_will_do(space: SearchSpace) -> None:
    """Genomes may be of any integer type"""
    genomes = random_raw(space, 20)
    for kind in _TYPES:
        typed: Genomes = genomes.astype(kind)
        canonical = space.canonical(typed)
        require(
            canonical.dtype == kind and np.array_equal(canonical, space.canonical(genomes)),
            f"canonical of {np.dtype(kind)} genomes gives {canonical.dtype}, or other values",
            "keep the type",
        )
        same = all(np.array_equal(slot.index(typed), slot.index(genomes)) for slot in space.slots)
        require(
            same and space.decode(typed[0]).key == space.decode(genomes[0].tolist()).key,
            f"genomes of {np.dtype(kind)} are other networks",
            "read values, not bytes",
        )


def genomes_outside_are_refused(space: SearchSpace) -> None:
    """A genome outside the space is refused, with a SpaceError that says what fits"""
    good = (sizes(space) - 1).tolist()
    space.decode(good)
    wrong = [good[:-1], [*good, 0]]
    for gene, value in ((0, -1), (len(good) - 1, good[-1] + 1), (len(good) // 2, 10**6)):
        wrong.append([*good[:gene], value, *good[gene + 1 :]])
    for genome in wrong:
        try:
            space.decode(genome)
        except SpaceError as error:
            text = f"does not fit space {space.name!r}: it takes {len(good)} genes"
            require(text in str(error), f"{genome} is refused with {str(error)!r}", "use `search_spaces.slots.check`")
        else:
            raise BrokenLaw(f"{genome} is decoded; call `search_spaces.slots.check` first")


def random_genomes_follow_their_seed(space: SearchSpace) -> None:
    """Random genomes are canonical and follow their seed"""
    genomes, again, other = (random_genomes(space, 30, np.random.default_rng(seed)) for seed in (5, 5, 6))
    require(genomes.shape == (30, len(space.genes)), f"30 genomes have shape {genomes.shape}", "canonical keeps shapes")
    require(
        np.array_equal(space.canonical(genomes), genomes) and np.array_equal(genomes, again),
        "random genomes are not canonical, or not the same again",
        "let `canonical` draw nothing",
    )
    require(not np.array_equal(genomes, other), "another seed gives the same genomes", "keep genes that have an effect")


def subject(make: Callable[..., SearchSpace]) -> tuple[SearchSpace, str]:
    """The space that laws take, and how large it is."""
    space = make(input_shape=small.IMAGE, classes=small.CLASSES)
    count = math.prod(float(len(gene.options)) for gene in space.genes)
    return space, f"{len(space.genes)} genes, {count:.1e} genomes"


LAWS: Final = laws(
    space_effects.members_are_there,
    genes_have_names_and_options,
    space_slots.slots_are_in_order,
    canonical_is_idempotent,
    canonical_treats_rows_alone,
    equal_networks_have_equal_genomes,
    genomes_decode,
    any_integer_type_will_do,
    genomes_outside_are_refused,
    space_slots.operators_bear_the_name_of_their_slot,
    space_slots.slots_are_the_network,
    space_slots.slots_number_their_combinations,
    space_effects.sites_are_told,
    space_slots.exits_are_switched_where_they_are_asked_for,
    space_effects.sites_switch_their_exits,
    space_effects.active_is_where_a_change_shows,
    space_effects.active_treats_rows_alone,
    random_genomes_follow_their_seed,
    space_runs.operator_choices_share_no_array,
    space_runs.combinations_share_weights,
    space_runs.every_choice_runs,
    space_runs.networks_export,
)
