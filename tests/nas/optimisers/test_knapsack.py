"""The knapsack against enumeration, on spaces small enough to be enumerated."""

from __future__ import annotations

from collections.abc import Iterator

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from latency_models.additive import compile as compile_tables
from nas.errors import NothingFits
from nas.optimisers.base import Floats, Ints, total
from nas.optimisers.cost import Additive, Factor, of_tables
from nas.optimisers.derive import derive
from nas.optimisers.knapsack import CELLS, affordable_cells, best_per_cell
from nas.testing.problems import Choices, chained, padded, separate
from search_spaces.nasbench201 import nasbench201
from search_spaces.toy import toy


@pytest.fixture(scope="module", autouse=True)
def through_the_knapsack() -> Iterator[None]:
    """Spaces as small as these are enumerated otherwise."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nas.optimisers.derive.ENUMERABLE", 1)
        yield


SPACES = st.lists(st.integers(2, 4), min_size=2, max_size=6).map(tuple)


def enumerated(problem: Choices, preference: Floats, cost: Additive, limit: float, floor: float) -> tuple[float, bool]:
    """The best preference within the limit, of networks above the floor if there are any; and whether there are."""
    genomes = problem.every()
    value, seconds = total(problem, preference, genomes), cost.seconds(genomes)
    fits = seconds <= limit
    band = fits & (seconds >= floor * limit)
    return float(value[band if band.any() else fits].max()), bool(band.any())


@settings(max_examples=60, deadline=None)
@given(options=SPACES, seed=st.integers(0, 10**6), share=st.floats(0.05, 1.1), floor=st.sampled_from([0.0, 0.9]))
def test_genes_that_stand_alone(options: tuple[int, ...], seed: int, share: float, floor: float) -> None:
    rng = np.random.default_rng(seed)
    problem = Choices(options)
    preference, cost = padded(problem, rng), separate(problem, rng)
    every = np.sort(cost.seconds(problem.every()))
    limit = float(every[0] + share * (every[-1] - every[0]))
    genomes, seconds = derive(problem, preference, cost, limit, np.zeros(len(options), np.int64), floor)
    wanted, in_band = enumerated(problem, preference, cost, limit, floor)
    assert (seconds <= limit).all() and np.allclose(seconds, cost.seconds(genomes))
    # Where two networks share a cell the better one counts; it may be the one just above the limit.
    near = enumerated(problem, preference, cost, limit * (1 - len(options) / CELLS), floor)[0]
    assert min(near, wanted) - 1e-9 <= total(problem, preference, genomes[:1])[0] <= wanted + 1e-9
    assert (seconds[0] >= floor * limit) == in_band


@settings(max_examples=60, deadline=None)
@given(options=SPACES, seed=st.integers(0, 10**6), share=st.floats(0.0, 1.0))
def test_genes_that_share_factors_and_genes_that_may_have_no_effect(
    options: tuple[int, ...], seed: int, share: float
) -> None:
    rng = np.random.default_rng(seed)
    problem = Choices(options, optional=tuple(range(2, len(options), 2)))
    preference, cost = padded(problem, rng), chained(problem, rng)
    every = np.sort(cost.seconds(problem.every()))
    limit = float(every[0] + share * (every[-1] - every[0])) * (1 + 1e-9)
    genomes, seconds = derive(problem, preference, cost, limit, np.zeros(len(options), np.int64), 0.0)
    wanted = enumerated(problem, preference, cost, limit, 0.0)[0]
    assert (seconds <= limit).all()
    reached = total(problem, preference, genomes[:1])[0]
    assert reached <= wanted + 1e-9
    slack = limit * (1 - len(options) / CELLS)
    if slack >= every[0]:
        assert reached >= enumerated(problem, preference, cost, slack, 0.0)[0] - 1e-9


def test_whole_numbers_of_cells_are_solved_exactly() -> None:
    rng = np.random.default_rng(3)
    problem = Choices((3,) * 7)
    preference = padded(problem, rng)
    cost = separate(problem, rng)
    for factor in cost.factors:
        factor.seconds[:] = np.floor(factor.seconds * 20)
    cost = Additive(1.0, cost.factors)
    for limit in np.quantile(cost.seconds(problem.every()), (0.0, 0.01, 0.5, 0.99), method="nearest"):
        genomes = best_per_cell(preference, problem.sizes, cost, limit, cells=int(limit))
        fits = genomes[cost.seconds(genomes) <= limit]
        best = total(problem, preference, fits).max()
        assert best == pytest.approx(enumerated(problem, preference, cost, limit, 0.0)[0], abs=1e-12)


def test_what_is_absent_is_not_liked_for_options_it_cannot_use() -> None:
    """Gene 1 only matters where gene 0 is 1, and both of its options are liked: worth more than leaving it out."""
    problem = Choices((2, 2), optional=(1,))
    present = np.array([[False, False], [True, True]])
    free = np.zeros(2)
    cost = Additive(1.0, (Factor((0,), free, np.ones(2, np.bool_)), Factor((0, 1), np.zeros((2, 2)), present)))
    preference = np.array([[1.0, 0.0], [4.0, 5.0]])
    genomes, _ = derive(problem, preference, cost, 1.0, np.zeros(2, np.int64))
    assert genomes[0].tolist() == [1, 1]


def test_a_space_of_networks_is_solved_through_its_tables() -> None:
    """Depth removes blocks and exits, widths are shared by neighbours: never better than enumeration, nor far below."""
    from hardware_profiles import Target, load
    from latency_models.roofline import Roofline

    space = toy((1, 8, 8), 4, max_exits=1)
    tables = compile_tables(space, Roofline(load("rpi4b"), Target("rpi4b", "onnxruntime")))
    sizes = np.array([len(gene.options) for gene in space.genes])
    cost = of_tables(tables.seconds)

    class Space(Choices):
        def canonical(self, genomes: Ints) -> Ints:
            return np.asarray(space.canonical(genomes))

    problem = Space(tuple(sizes.tolist()))
    every = problem.every()
    np.testing.assert_allclose(cost.seconds(every), tables.latency_s(every), rtol=1e-12)
    rng = np.random.default_rng(0)
    for share in (0.2, 0.5, 0.8):
        limit = float(np.quantile(cost.seconds(every), share))
        preference = padded(problem, rng)
        genomes, seconds = derive(problem, preference, cost, limit, every[0], 0.0)
        value = total(problem, preference, every)[cost.seconds(every) <= limit]
        assert (seconds <= limit).all()
        assert np.array_equal(genomes, problem.canonical(genomes))
        reached = total(problem, preference, genomes[:1])[0]
        # An exit behind a block that depth removes is paid for here and not in the network.
        assert np.quantile(value, 0.99) <= reached <= value.max() + 1e-9


def test_a_loose_limit_leaves_as_many_proposals_as_a_tight_one() -> None:
    """Networks a thousand times faster than the limit must not share a cell."""
    rng = np.random.default_rng(6)
    problem = Choices((4,) * 5)
    preference, cost = padded(problem, rng), separate(problem, rng)
    genomes, _ = derive(problem, preference, cost, 1e3 * float(cost.seconds(problem.every()).max()), problem.every()[0])
    assert len(genomes) >= 16
    assert genomes[0].tolist() == preference.argmax(axis=1).tolist()


def test_too_many_shared_genes_are_not_carried_through_the_knapsack() -> None:
    """Every factor reads the same 12 genes: 4^12 states of 20,000 cells each would be 670 GB."""
    rng = np.random.default_rng(7)
    problem = Choices((4,) * 13)
    ones = np.ones((4, 4), np.bool_)
    pairs = [(a, b) for a in range(13) for b in range(a)]
    cost = Additive(0.1, tuple(Factor(pair, rng.uniform(size=(4, 4)), ones) for pair in pairs))
    assert affordable_cells(cost, problem.sizes) == 0
    assert affordable_cells(separate(problem, rng), problem.sizes) == CELLS
    preference = padded(problem, rng)
    limit = float(np.median(cost.seconds(rng.integers(4, size=(500, 13)))))
    genomes, seconds = derive(problem, preference, cost, limit, preference.argmax(axis=1))
    assert (seconds <= limit).all() and seconds[0] >= 0.99 * limit
    drawn = rng.integers(4, size=(2000, 13))
    drawn = drawn[cost.seconds(drawn) <= limit]
    assert total(problem, preference, genomes[:1])[0] > total(problem, preference, drawn).max()


def test_cells_that_all_read_the_same_genes_are_enumerated(monkeypatch: pytest.MonkeyPatch) -> None:
    """NAS-Bench-201 repeats one cell fifteen times; its six genes would be carried from the first to the last."""
    from hardware_profiles import Target, load
    from latency_models.roofline import Roofline

    monkeypatch.setattr("nas.optimisers.derive.ENUMERABLE", 1 << 16)
    space = nasbench201((3, 32, 32), 10)
    tables = compile_tables(space, Roofline(load("rpi4b"), Target("rpi4b", "onnxruntime")))
    cost = of_tables(tables.seconds)

    class Cells(Choices):
        def canonical(self, genomes: Ints) -> Ints:
            return np.asarray(space.canonical(genomes))

    problem = Cells((5,) * 6)
    rng = np.random.default_rng(8)
    preference = padded(problem, rng)
    every = problem.every()
    limit = float(np.median(cost.seconds(every)))
    genomes, seconds = derive(problem, preference, cost, limit, every[0], 0.0)
    best = total(problem, preference, every)[cost.seconds(every) <= limit].max()
    assert total(problem, preference, genomes[:1])[0] == pytest.approx(best) and (seconds <= limit).all()


def test_nothing_fits_only_below_the_fastest() -> None:
    rng = np.random.default_rng(5)
    problem = Choices((4, 3, 4))
    preference, cost = padded(problem, rng), separate(problem, rng)
    fastest = float(cost.seconds(problem.every()).min())
    start = np.zeros(3, np.int64)
    genomes, seconds = derive(problem, preference, cost, fastest, start)
    assert seconds.tolist() == [fastest] and len(genomes) == 1
    with pytest.raises(NothingFits, match="no network of the space is predicted to take at most"):
        derive(problem, preference, cost, 0.999 * fastest, start)
