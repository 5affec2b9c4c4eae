"""The contract of a search space, run on any `module:name`: what `nas check` says yes or no to."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from nas import config, registry
from nas.supernet.union import plan
from search_spaces.slots import SearchSpace, SpaceError, random_genomes, sizes

_IMAGE, _CLASSES, _SAMPLES, _NEIGHBOURHOODS = (3, 32, 32), 10, 64, 3


def check_space(reference: str) -> Iterator[str]:
    """Build the space for 32x32 images of 10 classes and yield one line per law that holds.

    Raises SpaceError naming the law that is broken and the genome, InputError where there is no such space.
    """
    part = config.part(reference, "space", "space")
    space: SearchSpace = registry.load(part.reference)(input_shape=_IMAGE, classes=_CLASSES, **part.arguments)
    limits = sizes(space)
    genomes = _with_neighbours(space, random_genomes(space, _SAMPLES, np.random.default_rng(0)))
    yield f"{reference}: {len(limits)} genes, {float(np.prod(limits.astype(float))):.1e} genomes"
    again = space.canonical(genomes)
    if not np.array_equal(again, genomes):
        row = int(np.flatnonzero((again != genomes).any(axis=1))[0])
        raise SpaceError(f"{reference}: canonical is not idempotent for {genomes[row].tolist()}")
    yield "canonical is idempotent"
    keys: dict[str, tuple[int, ...]] = {}
    for genome in genomes:
        network = space.decode(genome)
        names = {slot.name for slot in space.slots}
        outside = [op.name for op in network.ops if op.kind != "input" and not _within(op.name, names)]
        if outside:
            raise SpaceError(f"{reference}: operator {outside[0]!r} does not bear the name of a slot before its dot")
        known = keys.setdefault(network.key, tuple(genome.tolist()))
        if known != tuple(genome.tolist()):
            raise SpaceError(f"{reference}: {known} and {genome.tolist()} differ and give the same network")
    yield f"{len(genomes)} genomes decode, and equal networks have equal genomes"
    users = [gene for slot in space.slots for gene in slot.genes]
    for slot in space.slots:
        plan(slot, frozenset(gene for gene in slot.genes if users.count(gene) == 1))
        for number, values in enumerate(slot.combinations()):
            one = np.zeros((1, len(limits)), np.int64)
            one[0, list(slot.genes)] = values
            if slot.index(one)[0] != number:
                raise SpaceError(f"{reference}: slot {slot.name} numbers its combination {values} wrongly")
    count = sum(slot.count for slot in space.slots)
    yield f"all {count} combinations of {len(space.slots)} slots build, and share weights"


def _with_neighbours(space: SearchSpace, genomes: NDArray[np.int64]) -> NDArray[np.int64]:
    """The genomes, and for the first few all that differ in one gene: equal networks are found among those."""
    limits = sizes(space)
    changed = [genomes]
    for gene, options in enumerate(limits):
        for value in range(options):
            row = genomes[:_NEIGHBOURHOODS].copy()
            row[:, gene] = value
            changed.append(space.canonical(row).astype(np.int64))
    return np.unique(np.concatenate(changed), axis=0)


def _within(name: str, slots: set[str]) -> bool:
    parts = name.split(".")
    return any(".".join(parts[:n]) in slots for n in range(1, len(parts)))
