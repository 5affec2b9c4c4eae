"""The laws of search spaces, for every entry of the registry; what ours promise beside them."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from nas.testing import Law, laws_of
from nas.testing.space import neighbours
from nas.testing.space_slots import random_raw
from search_spaces import SPACES
from search_spaces.lightnas import Row
from search_spaces.mobile import TABLES
from search_spaces.slots import IMAGE, SearchSpace, fold, sizes

PLAN = (Row(8, 2, 2), Row(12, 2, 2))
#: Arguments to build each registered space with; one that is not named is built for 32x32 images of ten classes.
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "lightnas": [
        {"input_shape": (3, 32, 32), "classes": 10, "max_exits": 2},
        {
            "input_shape": (3, 16, 16),
            "classes": 4,
            "plan": (Row(8, 2, 2), Row(12, 2, 2)),
            "head": (16, 8),
            "max_exits": 1,
        },
    ],
    "mobile": [
        {"input_shape": (3, *row.size), "classes": 10, "table": table, "max_exits": number}
        for number, (table, row) in enumerate(TABLES.items(), start=1)
    ],
    "toy": [{"input_shape": (3, 8, 8), "classes": 4, "max_exits": 2}],
}
MAX_EXITS = "max_exits"
#: Laws that compile a whole supernet.
COMPILES = ("every_choice_runs",)


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


def test_every_registered_space_is_here() -> None:
    assert {space.name.split("-")[0] for space, _ in CASES} == set(SPACES)
    assert len({space.name for space, _ in CASES}) == len(CASES)


@EVERY_SPACE
@pytest.mark.parametrize("law", [law for law in laws_of("space") if law.name not in COMPILES], ids=str)
def test_it_keeps(law: Law[SearchSpace], space: SearchSpace) -> None:
    law(space)


@pytest.mark.parametrize(
    "space",
    [
        pytest.param(space, id=space.name, marks=[] if max(space.input_shape[1:]) <= 8 else pytest.mark.slow)
        for space, _ in CASES
    ],
)
@pytest.mark.parametrize("law", [law for law in laws_of("space") if law.name in COMPILES], ids=str)
def test_it_runs(law: Law[SearchSpace], space: SearchSpace) -> None:
    law(space)


@EVERY_SPACE
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_any_genome_decodes_to_the_network_of_its_canonical_form(space: SearchSpace, data: st.DataObject) -> None:
    """The law with genomes that hypothesis looks for."""
    genome = data.draw(st.tuples(*(st.integers(0, int(n) - 1) for n in sizes(space))))
    canonical = space.canonical(np.array([genome]))
    assert np.array_equal(space.canonical(canonical), canonical)
    network = space.decode(genome)
    assert network.key == space.decode(canonical[0].tolist()).key == fold(space, canonical[0].tolist()).key
    assert network.op(IMAGE).shape == space.input_shape
    assert all(network.ops[index].shape == (space.classes,) for index in network.exits)
    assert network.exits[-1] == len(network.ops) - 1


@EVERY_SPACE
def test_laws_meet_genomes_that_are_equal_networks(space: SearchSpace) -> None:
    """A space in which every gene always counts would keep the laws of `canonical` by doing nothing; ours do not."""
    genomes = np.concatenate([
        random_raw(space, 60),
        neighbours(space, sizes(space) - 1),
        neighbours(space, random_raw(space, 1, seed=1)[0]),
    ])  # fmt: skip
    canonical = {tuple(row) for row in space.canonical(genomes).tolist()}
    assert len(canonical) < len({tuple(row) for row in genomes.tolist()})


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
