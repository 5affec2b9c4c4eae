"""The mean over samples with early exits, against enumeration."""

from __future__ import annotations

import numpy as np
import pytest

from hardware_profiles import Target, load
from latency_models.additive import compile as compile_tables
from latency_models.roofline import Roofline
from nas.optimisers.cost import of_tables
from nas.optimisers.differentiable import Differentiable
from nas.optimisers.exits_cost import ExpectedExits
from nas.testing.problems import Choices, Noisy, padded
from search_spaces.slots import sizes
from search_spaces.toy import toy

SPACE = toy((1, 8, 8), 4, max_exits=3)
TABLES = compile_tables(SPACE, Roofline(load("rpi4b"), Target("rpi4b", "onnxruntime"))).seconds
SIZES = tuple(sizes(SPACE).tolist())
LEAVES = (0.5, 0.25, 0.4)
COST = ExpectedExits(TABLES, SPACE.exit_sites, LEAVES)


class Space(Choices):
    def canonical(self, genomes: np.ndarray) -> np.ndarray:
        return np.asarray(SPACE.canonical(genomes))


def distribution(seed: int) -> np.ndarray:
    problem = Choices(SIZES)
    weights = np.exp(padded(problem, np.random.default_rng(seed))) * (np.arange(max(SIZES)) < problem.sizes[:, None])
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def test_seconds_are_those_of_the_exits_weighted_by_who_leaves() -> None:
    genomes = SPACE.canonical(np.random.default_rng(0).integers(0, SIZES, (200, len(SIZES))))
    cumulative = TABLES.cumulative(genomes)
    arriving, wanted = np.ones(len(genomes)), np.zeros(len(genomes))
    for position in range(cumulative.shape[1]):
        here = np.isfinite(cumulative[:, position])
        last = position == cumulative.shape[1] - 1
        leaving = arriving * here * (1.0 if last else LEAVES[position])
        wanted += leaving * np.nan_to_num(cumulative[:, position])
        arriving = arriving - leaving
    assert (np.isfinite(cumulative).sum(axis=1) > 1).any()
    np.testing.assert_allclose(COST.seconds(genomes), wanted, rtol=1e-12)
    nobody = ExpectedExits(TABLES, SPACE.exit_sites, (0.0,) * 3)
    np.testing.assert_allclose(nobody.seconds(genomes), TABLES.total(genomes), rtol=1e-12)


def test_the_expectation_over_networks_is_that_of_an_enumeration() -> None:
    probability = distribution(1)
    genomes = np.array(list(np.ndindex(*SIZES)))
    weights = probability[np.arange(len(SIZES)), genomes].prod(axis=1)
    assert weights.sum() == pytest.approx(1)
    assert COST.expected(probability) == pytest.approx(float(weights @ COST.seconds(genomes)), rel=1e-10)
    worst = of_tables(TABLES)
    assert worst.expected(probability) == pytest.approx(float(weights @ worst.seconds(genomes)), rel=1e-10)
    assert COST.expected(probability) < worst.expected(probability)


def test_the_marginal_is_the_gradient_of_the_expectation() -> None:
    probability = distribution(2)
    scale = COST.expected(probability)
    numeric = np.zeros_like(probability)
    for gene, size in enumerate(SIZES):
        for option in range(size):
            step = np.zeros_like(probability)
            step[gene, option] = 1e-5
            numeric[gene, option] = (COST.expected(probability + step) - COST.expected(probability - step)) / 2e-5
    np.testing.assert_allclose(COST.marginal(probability) / scale, numeric / scale, atol=1e-8)
    on_genes = [i for i, gene in enumerate(SPACE.genes) if gene.name.startswith("exit")]
    assert len(on_genes) == 3 and (COST.marginal(probability)[on_genes, 1] != 0).all()


def test_a_search_with_exits_keeps_a_limit_on_the_mean() -> None:
    problem = Space(SIZES)
    every = SPACE.canonical(np.random.default_rng(3).integers(0, SIZES, (500, len(SIZES))))
    utility = padded(problem, np.random.default_rng(4))
    found = []
    for share in (0.2, 0.6):
        limit = float(np.quantile(COST.seconds(every), share))
        result = Differentiable(steps=200).run(problem, Noisy(utility), COST, limit)
        assert (result.seconds <= limit).all()
        np.testing.assert_allclose(result.seconds, COST.seconds(result.proposals))
        found.append(result.seconds[0])
    assert found[0] < found[1]


def test_shares_that_cannot_be_are_refused() -> None:
    for exit_rates in ((0.5, 0.5), (0.5, 0.5, 1.0), (-0.1, 0.5, 0.5)):
        with pytest.raises(ValueError, match=r"3 shares in \[0, 1\) are needed"):
            ExpectedExits(TABLES, SPACE.exit_sites, exit_rates)
