"""What a space tells of its genes: which one switches each exit, and which have an effect in a genome."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.testing.laws import require
from nas.testing.space_slots import random_raw
from search_spaces.slots import (
    SearchSpace,
    complete,
    exit_positions,
    find_active,
    find_exit_sites,
    random_genomes,
    sizes,
    with_exits,
)

_FIND = "search_spaces.slots has functions that work these out for any space: find_exit_sites, find_active"


def _heads(space: SearchSpace, genome: NDArray[Any]) -> set[str]:
    """The slots at which the network of a genome answers."""
    network = space.decode(genome)
    names = sorted((slot.name for slot in space.slots), key=len)
    return {[name for name in names if network.ops[index].name.startswith(f"{name}.")][-1] for index in network.exits}


def members_are_there(space: SearchSpace) -> None:
    """A space has every member of `search_spaces.slots.SearchSpace`"""
    complete(space)


def sites_are_told(space: SearchSpace) -> None:
    """`exit_sites` says for each exit position, the final one last, which gene switches it, if one does"""
    told, found = tuple(space.exit_sites), find_exit_sites(space)
    require(len(told) == len(exit_positions(space)), f"there are {len(told)} exit sites", "one per exit position")
    require(told[-1].gene is None, f"gene {told[-1].gene} switches the final exit", "it is always on: gene None")
    require(told == found, f"exit_sites are {told}, and the slots say {found}", _FIND)


def sites_switch_their_exits(space: SearchSpace) -> None:
    """The gene of an exit site switches its exit and no other"""
    positions = exit_positions(space)
    # One exit at a time, in networks that have no other, so that no limit on their number interferes.
    bare = [with_exits(space, genome, ()) for genome in (sizes(space) - 1, *random_raw(space, 8, seed=3))]
    for genome in bare:
        before = _heads(space, genome)
        for position, site in zip(positions, space.exit_sites, strict=True):
            for option in site.options if site.gene is not None else ():
                changed = genome.copy()
                changed[site.gene] = option
                # Where the network is too shallow, canonical takes the request back.
                legal = not np.array_equal(space.canonical(changed[None])[0], genome)
                name, after = space.slots[position].name, _heads(space, changed)
                require(
                    after - before == ({name} if legal else set()),
                    f"gene {site.gene} at {option} in genome {genome.tolist()} turns on {sorted(after - before)}",
                    f"its site is that of {name}, and nothing else may be turned on",
                )


def active_is_where_a_change_shows(space: SearchSpace) -> None:
    """A gene is active in a genome where changing it changes the canonical form"""
    genomes = np.concatenate(
        (random_genomes(space, 40, np.random.default_rng(6)), space.canonical((sizes(space) - 1)[None]))
    )
    told = space.active(genomes)
    require(
        told.dtype == np.bool_ and told.shape == genomes.shape,
        f"active of genomes {genomes.shape} is {told.dtype} {told.shape}",
        "it is a mask [n, genes]",
    )
    found = find_active(space.canonical, sizes(space), genomes)
    wrong = np.argwhere(told != found)
    if len(wrong):
        row, gene = wrong[0].tolist()
        said = "active" if told[row, gene] else "not active"
        require(False, f"gene {gene} of genome {genomes[row].tolist()} is said to be {said}", f"it is not so; {_FIND}")
    for gene, options in enumerate(sizes(space)):
        for step in range(1, int(options)):
            changed = genomes.copy()
            changed[:, gene] = (changed[:, gene] + step) % options
            differs = (space.canonical(changed) != genomes).any(axis=1)
            require(
                bool(np.array_equal(differs, told[:, gene])),
                f"gene {gene} moved by {step} changes {int(differs.sum())} of {len(genomes)} genomes, and "
                f"{int(told[:, gene].sum())} are said to have it active",
                "an active gene changes the network whatever it is set to, and an inactive one never",
            )


def active_treats_rows_alone(space: SearchSpace) -> None:
    """`active` treats each row alone, leaves it as it is, and takes any integer type"""
    genomes = random_genomes(space, 30, np.random.default_rng(7))
    before, together = genomes.copy(), space.active(genomes)
    require(bool(np.array_equal(genomes, before)), "the genomes that were given are changed", "work on a copy")
    alone = np.concatenate([space.active(genomes[i : i + 1]) for i in range(len(genomes))])
    require(
        bool(np.array_equal(together, alone)), "rows together are answered otherwise than alone", "treat each alone"
    )
    for dtype in (np.uint8, np.int32, np.uint64):
        same = np.array_equal(together, space.active(genomes.astype(dtype)))
        require(bool(same), f"genomes of {np.dtype(dtype)} are answered otherwise", "take any integer type")
    empty = space.active(genomes[:0]).shape
    require(empty == (0, len(space.genes)), f"no genomes give {empty}", f"the shape is (0, {len(space.genes)})")
