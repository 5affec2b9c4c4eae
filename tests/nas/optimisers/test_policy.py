"""Sampling and its statistics; what estimates of effects converge to."""

from __future__ import annotations

import numpy as np
import pytest

from nas.optimisers.base import Feedback, legal
from nas.optimisers.controller import Controller
from nas.optimisers.effects import GateMeans, Guided, LossRegression
from nas.optimisers.policy import draw, entropy, probabilities, standardised, temperature
from nas.testing.problems import Choices, Noisy, padded

PROBLEM = Choices((3, 2, 4))
LEGAL = legal(PROBLEM)
SIZES = PROBLEM.options


def test_paths_are_drawn_from_the_softmax_of_the_logits() -> None:
    rng = np.random.default_rng(0)
    logits = np.where(LEGAL, rng.normal(size=LEGAL.shape), -np.inf)
    genomes = np.array([draw(logits, rng) for _ in range(20_000)])
    wanted = probabilities(logits)
    np.testing.assert_allclose(wanted.sum(axis=1), 1)
    assert (wanted[~LEGAL] == 0).all()
    for gene in range(3):
        shares = np.bincount(genomes[:, gene], minlength=4) / len(genomes)
        # Five standard errors.
        np.testing.assert_allclose(shares, wanted[gene], atol=5 * 0.5 / np.sqrt(len(genomes)))


def test_temperature_falls_geometrically() -> None:
    assert [temperature(p, 4.0, 0.25) for p in (0.0, 0.5, 1.0)] == pytest.approx([4.0, 1.0, 0.25])


def test_standardised_values_have_no_unit_and_no_origin() -> None:
    values = padded(PROBLEM, np.random.default_rng(1))
    one, spread = standardised(values, LEGAL)
    assert (one[~LEGAL] == 0).all()
    np.testing.assert_allclose(one.sum(axis=1), 0, atol=1e-12)
    assert np.sqrt((one[LEGAL] ** 2).mean()) == pytest.approx(1)
    other, wide = standardised(np.where(LEGAL, 7 * values + np.array([[3.0], [0.0], [-5.0]]), 0.0), LEGAL)
    np.testing.assert_allclose(one, other, atol=1e-12)
    assert wide == pytest.approx(7 * spread)
    assert standardised(np.ones(LEGAL.shape), LEGAL)[1] == 1


def test_entropy_is_a_share_of_the_largest_possible() -> None:
    uniform = LEGAL / LEGAL.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(entropy(uniform, LEGAL), 1)
    decided = np.zeros(LEGAL.shape)
    decided[:, 1] = 1.0
    np.testing.assert_allclose(entropy(decided, LEGAL), 0)


@pytest.mark.parametrize("kind", [GateMeans, LossRegression])
def test_effects_of_an_additive_loss_are_found_from_single_paths(kind: type[GateMeans | LossRegression]) -> None:
    rng = np.random.default_rng(2)
    utility = padded(PROBLEM, rng)
    loss, effects = Noisy(utility, noise=0.2), kind(LEGAL)
    # Some options are rare: what is found must not depend on how often they were taken.
    logits = np.where(LEGAL, 1.5 * rng.normal(size=LEGAL.shape), -np.inf)
    for step in range(3000):
        genome = draw(logits, rng)
        effects.observe(genome, np.ones(3, np.bool_), loss(genome, step))
    found = np.where(LEGAL, effects.estimate(), 0.0)
    for gene, size in enumerate(PROBLEM.options):
        np.testing.assert_allclose(np.diff(found[gene, :size]), -np.diff(utility[gene, :size]), atol=0.15)


@pytest.mark.parametrize("kind", [GateMeans, LossRegression])
def test_what_was_learned_early_fades(kind: type[GateMeans | LossRegression]) -> None:
    """A tenth of the steps see the opposite utility, as young weights might have it."""
    rng = np.random.default_rng(3)
    utility = padded(PROBLEM, rng)
    effects = kind(LEGAL)
    for step in range(2000):
        genome = draw(np.where(LEGAL, 0.0, -np.inf), rng)
        effects.observe(genome, np.ones(3, np.bool_), Noisy(-utility if step < 200 else utility)(genome, step))
    found = np.where(LEGAL, effects.estimate(), 0.0)
    for gene, size in enumerate(PROBLEM.options):
        # A plain mean would be off by a fifth of every difference.
        wanted = -np.diff(utility[gene, :size])
        np.testing.assert_allclose(np.diff(found[gene, :size]), wanted, atol=0.08 * np.abs(wanted).max())


@pytest.mark.parametrize(
    ("noise", "bias", "steps"), [(0.5, 0.0, 100), (0.5, 0.4, 100), (2.0, 0.4, 600), (0.5, 3.0, 600)]
)
def test_gradients_say_what_losses_leave_open_and_losses_correct_them(noise: float, bias: float, steps: int) -> None:
    """Gradients of a scale that is wrong, with a bias: what is found is as good as the better of both, or better."""

    def error(kind: type[GateMeans | LossRegression | Guided]) -> float:
        found = []
        for seed in range(6):
            utility = padded(PROBLEM, rng := np.random.default_rng(seed))
            slope, effects = bias * padded(PROBLEM, rng) - 3 * utility, kind(LEGAL)
            for _ in range(steps):
                genome = draw(np.where(LEGAL, 0.0, -np.inf), rng)
                loss = float(noise * rng.normal() - utility[np.arange(3), genome].sum())
                gradient = np.where(LEGAL, slope + 0.5 * rng.normal(size=LEGAL.shape), 0.0)
                effects.observe(genome, np.ones(3, np.bool_), Feedback(loss, gradient, LEGAL))
            steps_of = [np.diff(table[g, :n]) for table in (effects.estimate(), utility) for g, n in enumerate(SIZES)]
            found.append(1 + float(np.corrcoef(*np.split(np.concatenate(steps_of), 2))[0, 1]))
        return float(np.mean(found))

    assert error(Guided) < 1.2 * min(error(GateMeans), error(LossRegression)) + 0.003


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
@pytest.mark.parametrize("slope", [0.0, 0.1, 3.0])
def test_gradients_stand_where_losses_of_one_network_say_nothing(scale: float, slope: float) -> None:
    """Rounding errors are no variation, from which the size of the gradients' multiple would follow."""
    rng = np.random.default_rng(0)
    gradient = scale * slope * np.where(LEGAL, rng.normal(size=LEGAL.shape), 0.0)
    effects = Guided(LEGAL)
    for _ in range(3):
        effects.observe(np.array([2, 1, 3]), np.ones(3, np.bool_), Feedback(2.3 * scale, gradient, LEGAL))
    found = np.concatenate([np.diff(effects.estimate()[gene, :size])[:-1] for gene, size in enumerate(SIZES)])
    # What the losses say of the chosen options is that they are all of it: the others keep their distances, up to how
    # much gradients are believed, which nothing says.
    kept = np.concatenate([np.diff(gradient[gene, : size - 1]) for gene, size in enumerate(SIZES)])
    believed = float(found @ kept) / float(kept @ kept) if slope else 0.5
    assert 0.4 <= believed <= 1
    np.testing.assert_allclose(found, believed * kept, rtol=1e-6, atol=1e-9 * scale * slope)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_gradients_that_say_nothing_do_no_harm_whatever_their_scale(scale: float) -> None:
    rng = np.random.default_rng(5)
    utility, noise = padded(PROBLEM, rng), np.where(LEGAL, scale * rng.normal(size=LEGAL.shape), 0.0)
    effects = Guided(LEGAL)
    for _ in range(400):
        genome = draw(np.where(LEGAL, 0.0, -np.inf), rng)
        loss = float(0.3 * rng.normal() - utility[np.arange(3), genome].sum())
        effects.observe(genome, np.ones(3, np.bool_), Feedback(loss, noise, LEGAL))
    steps_of = [np.diff(table[g, :n]) for table in (effects.estimate(), utility) for g, n in enumerate(SIZES)]
    assert np.corrcoef(*np.split(np.concatenate(steps_of), 2))[0, 1] < -0.98


def test_genes_without_effect_learn_nothing() -> None:
    effects = GateMeans(LEGAL)
    genome = np.array([1, 1, 1])
    seen = genome[:, None] == np.arange(4)
    seen[2] = True
    gradient = np.where(seen, np.array([[2.0], [9.0], [3.0]]), 0.0)
    effects.observe(genome, np.array([True, False, True]), Feedback(1.0, gradient, seen))
    assert effects.count.sum(axis=1).tolist() == [1, 0, PROBLEM.options[2]]
    assert effects.estimate()[1].tolist() == [0, 0, 0, 0]
    with pytest.raises(ValueError, match="gave a gradient before"):
        effects.observe(np.array([0, 0, 0]), np.ones(3, np.bool_), Feedback(1.0))


def test_genes_are_active_where_changing_them_changes_the_network() -> None:
    problem = Choices((2, 3, 3), optional=(2,))
    found = problem.active(np.array([[0, 0, 0], [1, 0, 0], [1, 2, 1]]))
    assert found.tolist() == [[True, True, False], [True, True, True], [True, True, True]]


def test_the_price_rises_while_too_slow_and_has_the_unit_of_loss_per_second() -> None:
    controller = Controller(gain=0.1)
    controller.update(3.0, 2.0, 0.5, 4)
    assert controller.multiplier == pytest.approx(0.05)
    controller.update(1.0, 2.0, 0.5, 4, share=0.5)
    assert controller.multiplier == pytest.approx(0.025)
    assert controller.units(10.0, 0.5) == pytest.approx(0.5)
    for _ in range(3):
        controller.update(1.0, 2.0, 0.5, 4)
    assert controller.multiplier == 0
