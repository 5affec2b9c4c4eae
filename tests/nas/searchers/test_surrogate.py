from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.searchers.surrogate import Encoding, Points, Surrogate, normal_scores

SIZES, ORDINAL = np.array([5, 4, 3, 6]), np.array([False, True, False, True])


def points(n: int, seed: int = 0, features: int = 2) -> tuple[Encoding, Points, np.ndarray]:
    rng = np.random.default_rng(seed)
    encoding = Encoding(SIZES, ORDINAL)
    genomes = rng.integers(SIZES, size=(n, 4))
    return encoding, Points(encoding(genomes), rng.normal(size=(n, features)).astype(np.float32)), genomes


def test_codes_are_as_far_apart_as_genomes() -> None:
    encoding, found, genomes = points(30)
    model = Surrogate(encoding, 4, 2)
    apart = model._gene_distances(found)
    for gene, (size, ordinal) in enumerate(zip(SIZES, ORDINAL, strict=True)):
        column = genomes[:, gene]
        steps = abs(column[:, None] - column[None])
        np.testing.assert_allclose(apart[gene], steps / (size - 1) if ordinal else steps != 0, atol=1e-12)


def test_the_gradient_is_that_of_the_loss() -> None:
    encoding, found, _ = points(25)
    model = Surrogate(encoding, 4, 2)
    rng = np.random.default_rng(1)
    target = rng.normal(size=25)
    gaps = (found.features.T[:, :, None] - found.features.T[:, None, :]).astype(np.float64) ** 2
    outer = found.features.astype(np.float64) @ found.features.T.astype(np.float64)
    theta = model.theta + 0.3 * rng.normal(size=len(model.theta))
    arguments = (model._gene_distances(found), gaps, outer, target)
    steps = 1e-5 * np.eye(len(theta))
    numeric = [(model._loss(theta + s, *arguments)[0] - model._loss(theta - s, *arguments)[0]) / 2e-5 for s in steps]
    np.testing.assert_allclose(model._loss(theta, *arguments)[1], numeric, rtol=1e-5, atol=1e-6)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_any_kernel_is_positive_definite(seed: int) -> None:
    encoding, found, _ = points(30, seed)
    model = Surrogate(encoding, 4, 2)
    model.theta = model.theta + np.random.default_rng(seed).normal(size=len(model.theta))
    kernel = model.kernel(found, found).astype(np.float64)
    np.testing.assert_allclose(kernel, kernel.T, rtol=1e-4, atol=1e-5)
    assert np.linalg.eigvalsh(kernel).min() > -1e-4 * np.linalg.eigvalsh(kernel).max()


def test_it_learns_which_gene_matters_and_predicts_unseen_genomes() -> None:
    encoding, found, genomes = points(120, features=0)
    effect = np.array([-1.5, 0.0, 1.0, 0.4, 2.0])
    model = Surrogate(encoding, 4, 0)
    target = effect[genomes[:60, 0]]
    model.learn(found[:60], target)
    model.condition(found[:60], target[:, None])
    predicted = model.mean(found[60:])[:, 0]
    assert np.corrcoef(predicted, effect[genomes[60:, 0]])[0, 1] > 0.98
    assert model.theta[:4].argmax() == 0


def test_intervals_cover_what_is_drawn_from_the_model_itself() -> None:
    encoding, found, _ = points(400, features=1)
    model = Surrogate(encoding, 4, 1)
    kernel = model.kernel(found, found).astype(np.float64) + 1e-6 * np.eye(400)
    drawn = np.linalg.cholesky(kernel) @ np.random.default_rng(3).normal(size=(400, 20))
    noise = np.exp(model.theta[4 + 3])
    told = drawn[:60] + np.sqrt(noise) * np.random.default_rng(4).normal(size=(60, 20))
    model.condition(found[:60], told)
    z = (drawn[60:] - model.mean(found[60:])) / model.spread(found[60:]).sd[:, None]
    assert (abs(z) < 1.645).mean() == pytest.approx(0.9, abs=0.04)


def test_measuring_a_point_is_conditioning_on_it() -> None:
    encoding, found, _ = points(40)
    model = Surrogate(encoding, 4, 2)
    model.condition(found[:20], np.zeros((20, 1)))
    spread = model.spread(found[20:], measurements=2)
    spread.measure(3)
    spread.measure(7)
    model.condition(found[np.array([*range(20), 23, 27])], np.zeros((22, 1)))
    np.testing.assert_allclose(spread.sd, model.spread(found[20:]).sd, rtol=1e-3, atol=1e-4)


def test_scores_know_order_alone() -> None:
    values = np.array([3.0, 1.0, 2.0, 2.0])
    np.testing.assert_allclose(normal_scores(values), normal_scores(np.exp(5 * values)))
    assert normal_scores(values).sum() == pytest.approx(0)
    assert normal_scores(values).argmin() == 1
