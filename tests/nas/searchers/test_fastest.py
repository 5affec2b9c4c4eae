from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.searchers.base import Genomes
from nas.searchers.fastest import fastest


def test_the_fastest_network_of_a_chain(toy: Any) -> None:
    genome, violation = fastest(toy(depth=24, options=20, budgets=(-1.0,)))
    assert genome.tolist() == [0] * 25
    assert violation == 1.0


@given(st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_a_sum_over_genes_is_minimised_exactly(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tables = rng.normal(size=(6, 5))

    class Additive:
        sizes, ordinal, seed = np.full(6, 5), np.ones(6, dtype=np.bool_), 0

        def canonical(self, genomes: Genomes) -> Genomes:
            return genomes

        def free_objectives(self, genomes: Genomes) -> tuple[np.ndarray, np.ndarray]:
            seconds = tables[np.arange(6), genomes].sum(axis=1)
            return seconds[:, None], np.maximum(seconds[:, None] - tables.min(axis=1).sum() + 1, 0)

    def seconds(genomes: Genomes) -> np.ndarray:
        total: np.ndarray = tables[np.arange(6), genomes].sum(axis=1)
        return total

    genome, value = fastest(Additive(), seconds, starts=4)
    assert genome.tolist() == tables.argmin(axis=1).tolist()
    assert value == seconds(genome[None])[0]
    by_violation, violation = fastest(Additive(), starts=4)
    assert by_violation.tolist() == genome.tolist()
    assert abs(violation - 1) < 1e-9


def test_values_that_are_not_numbers_are_avoided(toy: Any) -> None:
    problem = toy(depth=3, options=4)

    def seconds(genomes: Genomes) -> np.ndarray:
        return np.where(genomes[:, 0] == 0, np.nan, genomes.sum(axis=1))

    genome, value = fastest(problem, seconds)
    assert (genome.tolist(), value) == ([1, 0, 0, 0], 1.0)
