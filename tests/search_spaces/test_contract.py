"""What every search space promises; a space added to the registry is held to it without another line here."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from search_spaces import SPACES
from search_spaces.ir import Network
from search_spaces.mobile import TABLES
from search_spaces.slots import (
    IMAGE,
    SearchSpace,
    SpaceError,
    exit_positions,
    find_active,
    find_exit_sites,
    fold,
    random_genomes,
    sizes,
    switched,
    with_exits,
)

#: Arguments to build each registered space with; one that is not named is built for 32x32 images of ten classes.
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "lightnas": [{"input_shape": (3, 32, 32), "classes": 10, "max_exits": 2}],
    "mobile": [
        {"input_shape": (3, *row.size), "classes": 10, "table": table, "max_exits": number}
        for number, (table, row) in enumerate(TABLES.items(), start=1)
    ],
    "toy": [{"input_shape": (3, 8, 8), "classes": 4, "max_exits": 2}],
}
MAX_EXITS = "max_exits"


def _build(reference: str, arguments: dict[str, Any]) -> SearchSpace:
    module, _, name = reference.partition(":")
    factory: Callable[..., SearchSpace] = getattr(importlib.import_module(module), name)
    return factory(**arguments)


CASES: list[tuple[SearchSpace, dict[str, Any]]] = [
    (_build(reference, arguments), arguments)
    for name, reference in SPACES.items()
    for arguments in VARIANTS.get(name, [{"input_shape": (3, 32, 32), "classes": 10}])
]
EVERY_SPACE = pytest.mark.parametrize("space", [space for space, _ in CASES], ids=lambda space: space.name)
Ints = np.ndarray[Any, np.dtype[np.int64]]


def random_raw(space: SearchSpace, n: int, seed: int = 0) -> Ints:
    """Genomes drawn gene by gene, not canonical [n, genes]."""
    return np.random.default_rng(seed).integers(0, sizes(space), size=(n, len(space.genes)))


def neighbours(space: SearchSpace, genome: Ints) -> Ints:
    """All genomes that differ in one gene, and the genome itself."""
    rows = [genome]
    for gene, size in enumerate(sizes(space)):
        for value in range(size):
            if value != genome[gene]:
                rows.append(genome.copy())
                rows[-1][gene] = value
    return np.array(rows)


def names(network: Network) -> list[str]:
    return [op.name for op in network.ops if op.kind != "input"]


def test_every_registered_space_is_here() -> None:
    assert {space.name.split("-")[0] for space, _ in CASES} == set(SPACES)
    assert len({space.name for space, _ in CASES}) == len(CASES)


@EVERY_SPACE
def test_genes_have_names_and_at_least_two_options(space: SearchSpace) -> None:
    assert len({gene.name for gene in space.genes}) == len(space.genes)
    assert all(len(set(gene.options)) == len(gene.options) >= 2 for gene in space.genes)
    assert sizes(space).tolist() == [len(gene.options) for gene in space.genes]


@EVERY_SPACE
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_any_genome_decodes_to_the_network_of_its_canonical_form(space: SearchSpace, data: st.DataObject) -> None:
    genome = data.draw(st.tuples(*(st.integers(0, int(n) - 1) for n in sizes(space))))
    canonical = space.canonical(np.array([genome]))
    assert np.array_equal(space.canonical(canonical), canonical)
    network = space.decode(genome)
    assert network.key == space.decode(canonical[0].tolist()).key == fold(space, canonical[0].tolist()).key
    assert network.op(IMAGE).shape == space.input_shape
    assert all(network.ops[index].shape == (space.classes,) for index in network.exits)
    assert network.exits[-1] == len(network.ops) - 1


@EVERY_SPACE
def test_equal_canonical_genomes_are_equal_networks_and_no_others(space: SearchSpace) -> None:
    """Random genomes would hardly ever meet, so every change of a single gene is tried as well."""
    largest = sizes(space) - 1
    genomes = np.concatenate([
        random_raw(space, 60),
        neighbours(space, largest),
        neighbours(space, random_raw(space, 1, seed=1)[0]),
    ])  # fmt: skip
    canonical = [tuple(row) for row in space.canonical(genomes).tolist()]
    keys = [space.decode(genome).key for genome in genomes.tolist()]
    pairs = set(zip(canonical, keys, strict=True))
    assert len(pairs) == len(set(canonical)) == len(set(keys))
    # The test would be empty if no two genomes met.
    assert len(pairs) < len({tuple(row) for row in genomes.tolist()})


@EVERY_SPACE
def test_canonical_treats_each_row_alone_and_leaves_its_argument(space: SearchSpace) -> None:
    genomes = random_raw(space, 50)
    before = genomes.copy()
    together = space.canonical(genomes)
    assert np.array_equal(genomes, before)
    alone = np.concatenate([space.canonical(genomes[i : i + 1]) for i in range(50)])
    assert np.array_equal(together, alone)
    assert np.array_equal(space.canonical(np.ascontiguousarray(genomes[:, ::-1])[:, ::-1]), together)
    assert space.canonical(genomes[:0]).shape == (0, len(space.genes))


@EVERY_SPACE
def test_a_canonical_genome_keeps_every_gene_or_sets_it_to_zero(space: SearchSpace) -> None:
    genomes = random_raw(space, 300)
    canonical = space.canonical(genomes)
    assert ((canonical == genomes) | (canonical == 0)).all()
    assert (canonical != genomes).any()


@EVERY_SPACE
@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.int32, np.uint32, np.int64, np.uint64])
def test_any_integer_type_will_do(space: SearchSpace, dtype: type[np.integer[Any]]) -> None:
    genomes = random_raw(space, 20)
    typed = genomes.astype(dtype)
    canonical = space.canonical(typed)
    assert canonical.dtype == dtype
    assert np.array_equal(canonical, space.canonical(genomes))
    for slot in space.slots:
        assert np.array_equal(slot.index(typed), slot.index(genomes))
    assert space.decode(typed[0]).key == space.decode(genomes[0].tolist()).key


@EVERY_SPACE
def test_a_genome_outside_the_space_is_refused(space: SearchSpace) -> None:
    good = (sizes(space) - 1).tolist()
    space.decode(good)
    wrong = [good[:-1], [*good, 0]]
    for gene, value in ((0, -1), (len(good) - 1, good[-1] + 1), (len(good) // 2, 10**6)):
        wrong.append([*good[:gene], value, *good[gene + 1 :]])
    for genome in wrong:
        with pytest.raises(SpaceError, match=f"does not fit space {space.name!r}: it takes {len(good)} genes"):
            space.decode(genome)


@EVERY_SPACE
def test_the_last_slot_alone_is_final_and_slots_read_earlier_ones(space: SearchSpace) -> None:
    roles = [slot.role for slot in space.slots]
    assert roles.count("final") == 1 and roles[-1] == "final"
    known = {IMAGE}
    for slot in space.slots:
        assert set(slot.inputs) <= known
        known.add(slot.name)
    assert len(known) == len(space.slots) + 1
    assert exit_positions(space) == tuple(i for i, role in enumerate(roles) if role != "body")


@EVERY_SPACE
def test_every_gene_is_read_by_a_slot_with_its_size(space: SearchSpace) -> None:
    read = {gene for slot in space.slots for gene in slot.genes}
    assert read == set(range(len(space.genes)))
    for slot in space.slots:
        assert slot.sizes == tuple(len(space.genes[gene].options) for gene in slot.genes)
        assert len(set(slot.genes)) == len(slot.genes)
        assert set(slot.bank) <= set(range(len(slot.genes)))


@EVERY_SPACE
def test_slots_one_after_the_other_are_the_network(space: SearchSpace) -> None:
    for genome in random_genomes(space, 8, np.random.default_rng(2)).tolist():
        network = space.decode(genome)
        shapes = {IMAGE: space.input_shape}
        parts, exits = [], []
        for slot in space.slots:
            values = slot.values(genome)
            assert slot.input_shapes(values) == tuple(shapes[name] for name in slot.inputs)
            part = slot.network(values)
            if part is None:
                assert slot.role != "final"
                if slot.role == "body":
                    shapes[slot.name] = shapes[slot.inputs[0]]
                continue
            assert tuple(op.name for op in part.inputs) == slot.inputs
            assert all(name.startswith(f"{slot.name}.") for name in names(part))
            out = part.ops[part.exits[0]]
            if slot.role == "body":
                shapes[slot.name] = out.shape
            else:
                exits.append(out.name)
            parts.append(part)
        assert [name for part in parts for name in names(part)] == names(network)
        assert exits == [network.ops[index].name for index in network.exits]
        for part in parts:
            for op in part.ops:
                if op.kind != "input":
                    same = network.op(op.name)
                    assert (op.kind, op.shape, op.attrs) == (same.kind, same.shape, same.attrs)
        assert sum(part.macs for part in parts) == network.macs
        assert sum(part.weight_bytes for part in parts) == network.weight_bytes


@EVERY_SPACE
def test_the_index_of_a_slot_numbers_its_combinations(space: SearchSpace) -> None:
    genomes = random_raw(space, 40)
    for slot in space.slots:
        combinations = list(slot.combinations())
        assert len(combinations) == slot.count == len(set(combinations))
        rows = np.zeros((slot.count, len(space.genes)), np.int64)
        rows[:, list(slot.genes)] = combinations
        assert slot.index(rows).tolist() == list(range(slot.count))
        for genome, index in zip(genomes.tolist(), slot.index(genomes), strict=True):
            assert combinations[index] == slot.values(genome)


@EVERY_SPACE
def test_every_combination_of_every_slot_builds(space: SearchSpace) -> None:
    for slot in space.slots:
        built = [slot.network(values) for values in slot.combinations()]
        assert any(part is not None for part in built)
        if slot.role == "final":
            assert None not in built
        if slot.role == "exit":
            assert None in built


@EVERY_SPACE
def test_operators_of_a_bank_share_no_array_and_elastic_ones_slice_one_largest(space: SearchSpace) -> None:
    """For each choice from the bank there is one combination whose arrays hold those of all others."""
    for slot in space.slots:
        arrays: dict[tuple[int, ...], list[dict[str, tuple[int, ...]]]] = {}
        kinds: dict[str, str] = {}
        for values in slot.combinations():
            part = slot.network(values)
            if part is not None:
                bank = tuple(values[position] for position in slot.bank)
                arrays.setdefault(bank, []).append({key: weight.shape for key, weight in part.weight_shapes.items()})
                for op in part.ops:
                    assert kinds.setdefault(op.name, op.kind) == op.kind
        owners = [set().union(*found) for found in arrays.values()]
        assert len(set().union(*owners)) == sum(len(keys) for keys in owners)
        for found in arrays.values():
            largest = max(found, key=lambda shapes: (len(shapes), sum(map(math.prod, shapes.values()))))
            for shapes in found:
                assert all(
                    all(small <= large for small, large in zip(shape, largest[key], strict=True))
                    for key, shape in shapes.items()
                )


@EVERY_SPACE
def test_exits_never_exceed_their_number_and_none_sits_on_the_last_block(space: SearchSpace) -> None:
    limit = next(arguments for other, arguments in CASES if other is space).get(MAX_EXITS)
    counts = set()
    genomes = random_raw(space, 60)
    genomes[:10] = sizes(space) - 1
    for genome in genomes.tolist():
        network = space.decode(genome)
        counts.add(len(network.exits) - 1)
        final = next(op for op in network.ops if op.name.startswith("final."))
        for index in network.exits[:-1]:
            head = network.ops[index].name.split(".")[0]
            first = next(op for op in network.ops if op.name.startswith(f"{head}."))
            assert first.inputs != final.inputs
    if limit is not None:
        assert max(counts) == limit


@EVERY_SPACE
def test_exits_are_switched_on_and_off_where_they_are_asked_for(space: SearchSpace) -> None:
    positions = exit_positions(space)
    largest = (sizes(space) - 1).tolist()
    for position, index in enumerate(positions[:-1]):
        slot = space.slots[index]
        asked = switched(space, largest, {position})
        on = [
            p for p, i in enumerate(positions[:-1]) if space.slots[i].network(space.slots[i].values(asked)) is not None
        ]
        assert on == [position]
        network = space.decode(with_exits(space, largest, {position}))
        assert [network.ops[e].name.startswith(f"{slot.name}.") for e in network.exits] == [True, False]
    assert len(space.decode(with_exits(space, largest, ())).exits) == 1


def heads(space: SearchSpace, genome: Ints) -> set[str]:
    """The slots at which the network of a genome answers."""
    network = space.decode(genome)
    return {network.ops[index].name.split(".")[0] for index in network.exits}


@EVERY_SPACE
def test_a_site_switches_its_exit_and_no_other(space: SearchSpace) -> None:
    """One exit at a time, in networks that have no other, so that no limit on their number interferes."""
    positions = exit_positions(space)
    assert space.exit_sites == find_exit_sites(space) and len(space.exit_sites) == len(positions)
    assert space.exit_sites[-1].gene is None
    seen = set()
    bare = np.stack([with_exits(space, genome, ()) for genome in [sizes(space) - 1, *random_raw(space, 8, seed=3)]])
    for genome in bare:
        before = heads(space, genome)
        assert before == {space.slots[-1].name}
        for position, site in zip(positions, space.exit_sites, strict=True):
            for option in site.options:
                changed = genome.copy()
                assert site.gene is not None and changed[site.gene] == site.off
                changed[site.gene] = option
                # Where the network is too shallow, canonical takes the request back.
                legal = not np.array_equal(space.canonical(changed[None])[0], genome)
                assert heads(space, changed) - before == ({space.slots[position].name} if legal else set())
                seen |= {position} if legal else set()
    assert seen == set(positions[:-1])


@EVERY_SPACE
def test_a_gene_is_active_where_changing_it_changes_the_canonical_form(space: SearchSpace) -> None:
    genomes = np.concatenate([
        random_genomes(space, 40, np.random.default_rng(6)),
        space.canonical((sizes(space) - 1)[None]),
    ])  # fmt: skip
    told = space.active(genomes)
    assert told.dtype == np.bool_ and told.shape == genomes.shape and told.any() and not told.all()
    for gene, options in enumerate(sizes(space)):
        for step in range(1, int(options)):
            changed = genomes.copy()
            changed[:, gene] = (changed[:, gene] + step) % options
            assert np.array_equal((space.canonical(changed) != genomes).any(axis=1), told[:, gene])
    assert np.array_equal(told, find_active(space.canonical, sizes(space), genomes))


@EVERY_SPACE
def test_active_treats_each_row_alone_and_takes_any_integer_type(space: SearchSpace) -> None:
    genomes = random_genomes(space, 30, np.random.default_rng(7))
    before, together = genomes.copy(), space.active(genomes)
    assert np.array_equal(genomes, before)
    assert np.array_equal(together, np.concatenate([space.active(genomes[i : i + 1]) for i in range(30)]))
    for dtype in (np.uint8, np.int32, np.uint64):
        assert np.array_equal(together, space.active(genomes.astype(dtype)))
    assert space.active(genomes[:0]).shape == (0, len(space.genes))


@EVERY_SPACE
def test_random_genomes_are_canonical_and_follow_their_seed(space: SearchSpace) -> None:
    genomes = random_genomes(space, 30, np.random.default_rng(5))
    assert genomes.shape == (30, len(space.genes)) and genomes.dtype == np.int64
    assert np.array_equal(space.canonical(genomes), genomes)
    assert np.array_equal(genomes, random_genomes(space, 30, np.random.default_rng(5)))
    assert not np.array_equal(genomes, random_genomes(space, 30, np.random.default_rng(6)))
