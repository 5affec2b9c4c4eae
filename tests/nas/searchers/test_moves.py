from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.searchers.moves import change, neighbours, other_options


def test_ordinal_genes_move_to_neighbours_more_often() -> None:
    genomes = np.tile([2, 4, 4, 4, 0, 8], (4000, 1))
    sizes, ordinal = np.array([5, 9, 9, 9, 9, 9]), np.arange(6) % 2 == 0
    moved = other_options(np.random.default_rng(0), genomes, sizes, ordinal)
    assert (moved != genomes).all()
    assert ((moved >= 0) & (moved < sizes)).all()
    near = (abs(moved - genomes) == 1).mean(axis=0)
    # Other options are equally likely: 2 of 8 are neighbours inside, 1 of 8 at an end, 2 of 4 for the first gene.
    assert near == pytest.approx([0.75, 0.25, 0.625, 0.25, 0.5625, 0.125], abs=0.03)


def test_genes_without_a_choice_do_not_move() -> None:
    ones = np.ones(2, dtype=np.int64)
    assert not other_options(np.random.default_rng(0), np.zeros((10, 2), np.int64), ones, ones == 1).any()


@given(st.lists(st.integers(1, 6), min_size=1, max_size=6), st.integers(0, 7), st.integers(0, 2**32 - 1), st.booleans())
@settings(max_examples=50, deadline=None)
def test_exactly_as_many_genes_change_as_asked_or_have_a_choice(
    options: list[int], count: int, seed: int, ordinal: bool
) -> None:
    sizes, rng = np.array(options), np.random.default_rng(seed)
    genomes = rng.integers(sizes, size=(20, len(sizes)))
    changed = change(rng, genomes, sizes, np.full(len(sizes), ordinal), count)
    assert ((changed >= 0) & (changed < sizes)).all()
    assert ((changed != genomes).sum(axis=1) == min(count, int((sizes > 1).sum()))).all()


@given(st.lists(st.integers(1, 5), min_size=1, max_size=5), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_neighbours_are_all_genomes_one_gene_away(options: list[int], seed: int) -> None:
    sizes = np.array(options)
    genome = np.random.default_rng(seed).integers(sizes)
    everything = np.stack(np.unravel_index(np.arange(sizes.prod()), tuple(options)), axis=1)
    wanted = {tuple(row) for row in everything[(everything != genome).sum(axis=1) == 1].tolist()}
    found = [tuple(row) for row in neighbours(genome, sizes).tolist()]
    assert set(found) == wanted and len(found) == len(wanted)
