"""Exact expectations against enumeration and finite differences."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from latency_models.choice_table import ChoiceTable
from nas.optimisers.base import Floats
from nas.optimisers.cost import Additive, of_choices
from nas.testing.problems import Choices, chained, padded, separate

PROBLEM = Choices((3, 2, 4, 2), optional=(2,))


def distribution(problem: Choices, rng: np.random.Generator) -> Floats:
    weights = np.exp(padded(problem, rng)) * (np.arange(max(problem.options)) < problem.sizes[:, None])
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), shared=st.booleans())
def test_the_expectation_is_that_of_an_enumeration(seed: int, shared: bool) -> None:
    rng = np.random.default_rng(seed)
    cost = (chained if shared else separate)(PROBLEM, rng)
    probability = distribution(PROBLEM, rng)
    genomes = np.array(list(np.ndindex(*PROBLEM.options)))
    weights = probability[np.arange(4), genomes].prod(axis=1)
    assert weights.sum() == pytest.approx(1)
    assert cost.expected(probability) == pytest.approx(float(weights @ cost.seconds(genomes)), rel=1e-12)
    # The derivative by one probability is the mean over the genomes that take the choice, up to a constant per gene.
    marginal = cost.marginal(probability)
    for gene, size in enumerate(PROBLEM.options):
        given_choice = [
            (weights * cost.seconds(genomes))[genomes[:, gene] == k].sum() / probability[gene, k] for k in range(size)
        ]
        np.testing.assert_allclose(np.diff(marginal[gene, :size]), np.diff(given_choice), rtol=1e-9, atol=1e-12)


def test_the_marginal_is_the_gradient_of_the_expectation() -> None:
    rng = np.random.default_rng(1)
    cost, probability = chained(PROBLEM, rng), distribution(PROBLEM, rng)
    numeric = np.zeros_like(probability)
    for gene, size in enumerate(PROBLEM.options):
        for option in range(size):
            step = np.zeros_like(probability)
            step[gene, option] = 1e-6
            numeric[gene, option] = (cost.expected(probability + step) - cost.expected(probability - step)) / 2e-6
    np.testing.assert_allclose(cost.marginal(probability), numeric, rtol=1e-7, atol=1e-9)


def test_a_choice_table_is_its_own_cost() -> None:
    rng = np.random.default_rng(2)
    table = ChoiceTable(rng.uniform(0, 1, (5, 3)), 0.25, ("a", "b", "c"))
    genomes = rng.integers(0, 3, (20, 5))
    np.testing.assert_allclose(of_choices(table).seconds(genomes), table.latency_s(genomes), rtol=1e-12)


def test_two_factors_of_the_same_gene_add_up() -> None:
    ones = np.ones(2, np.bool_)
    factor = separate(Choices((2,)), np.random.default_rng(0)).factors[0]
    cost = Additive(1.0, (factor, type(factor)((0,), np.array([1.0, 2.0]), ones)))
    both = factor.seconds + np.array([1.0, 2.0])
    np.testing.assert_allclose(cost.seconds(np.array([[0], [1]])), 1.0 + both)
    np.testing.assert_allclose(cost.marginal(np.array([[0.5, 0.5]]))[0], both)
