"""The search as a whole: what it ends at must follow the limit and not the scale of the loss."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from nas.errors import InputError, NothingFits
from nas.optimisers.base import Feedback, SearchResult, total
from nas.optimisers.differentiable import Differentiable, Search, unbound
from nas.testing.problems import Choices, Noisy, Opaque, chained, padded, separate

SHORT = Differentiable(steps=400)
PROBLEM = Choices((4,) * 8)
RNG = np.random.default_rng(11)
COST = separate(PROBLEM, RNG)
#: Slower options are better on the whole, so that the limit binds.
UTILITY = np.stack([factor.seconds for factor in COST.factors]) + 0.3 * padded(PROBLEM, RNG)
LIMITS = (2.7, 3.3, 3.9, 4.5)


def search(limit: float, settings: Differentiable = SHORT, problem: Any = PROBLEM, **loss: Any) -> SearchResult:
    return settings.run(problem, Noisy(UTILITY, **loss), COST, limit)


@pytest.mark.parametrize("gradient", [True, False])
@pytest.mark.parametrize("limit", LIMITS)
def test_it_ends_near_the_optimum_within_the_limit(limit: float, gradient: bool) -> None:
    result = search(limit, noise=0.2, gradient=gradient)
    every = PROBLEM.every()
    value, seconds = total(PROBLEM, UTILITY, every), COST.seconds(every)
    fits = seconds <= limit
    lowest, best = value[seconds.argmin()], value[fits].max()
    reached = total(PROBLEM, UTILITY, result.proposals[:1])[0]
    assert 0.99 * limit <= result.seconds[0] <= limit
    assert (reached - lowest) / (best - lowest) > 0.97
    assert (result.seconds <= limit).all()


def test_options_that_are_seen_at_once_are_told_apart_sooner() -> None:
    """The noise of a network and a batch is the same for all its options."""
    rng = np.random.default_rng(3)
    settings = Differentiable(steps=40, warm_up=1)
    every = PROBLEM.every()
    value, limit = total(PROBLEM, UTILITY, every), 3.3
    best = value[COST.seconds(every) <= limit].max()

    def lost(elastic: frozenset[int]) -> float:
        found = [
            settings.run(replace(PROBLEM, seed=seed), Noisy(UTILITY, 1.0, seed=seed, elastic=elastic), COST, limit)
            for seed in rng.integers(0, 1000, 5).tolist()
        ]
        return float(np.mean([best - total(PROBLEM, UTILITY, one.proposals[:1])[0] for one in found]))

    assert lost(frozenset(range(8))) < 0.3 * lost(frozenset())


@pytest.mark.parametrize("gradient", [True, False])
def test_a_limit_that_does_not_bind_is_said_to_be_so_and_not_filled_up(gradient: bool) -> None:
    """Where the preferred network is within the limit, more seconds buy nothing, and their price is zero."""
    cheap = np.stack([-factor.seconds for factor in COST.factors])
    slowest = float(COST.seconds(PROBLEM.every()).max())
    result = SHORT.run(PROBLEM, Noisy(cheap, noise=0.1, gradient=gradient), COST, 0.9 * slowest)
    assert result.report["price_loss_per_s"] == 0
    assert result.report["preferred_of_limit"] < 1
    assert result.seconds[0] == COST.seconds(PROBLEM.every()).min()
    assert "does not bind" in unbound(result.report)
    assert unbound(search(3.0, noise=0.2).report) == ""


def test_moving_the_target_moves_the_result() -> None:
    """Elsewhere users found that their latency objective was ignored; here each limit has a network of its own."""
    results = [search(limit, noise=0.2) for limit in LIMITS]
    assert np.all(np.diff([result.seconds[0] for result in results]) > 0.5)
    assert np.all(np.diff([result.before_s for result in results]) > 0)
    assert np.all(np.diff([COST.expected(result.probabilities) for result in results]) > 0)
    prices = [result.report["price_loss_per_s"] for result in results]
    assert np.all(np.diff(prices) < 0), "a second costs more where there are fewer"


@pytest.mark.parametrize("gradient", [True, False])
@pytest.mark.parametrize("factor", [0.01, 100.0])
def test_the_scale_of_the_loss_changes_nothing_but_the_price(factor: float, gradient: bool) -> None:
    one, other = (search(3.0, noise=0.2, gradient=gradient, scale=scale) for scale in (1.0, factor))
    assert np.array_equal(one.proposals, other.proposals) and np.array_equal(one.before, other.before)
    np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-6)
    ratio = other.report["price_loss_per_s"] / one.report["price_loss_per_s"]
    assert ratio == pytest.approx(factor, rel=1e-6)


def test_the_unit_of_time_changes_nothing() -> None:
    slower = replace(COST, constant_s=1e3 * COST.constant_s, factors=tuple(
        replace(factor, seconds=1e3 * factor.seconds) for factor in COST.factors
    ))  # fmt: skip
    one, other = search(3.0), SHORT.run(PROBLEM, Noisy(UTILITY), slower, 3000.0)
    assert np.array_equal(one.proposals[0], other.proposals[0]) and np.array_equal(one.before, other.before)


def test_the_same_seed_gives_the_same_result_and_another_seed_other_samples() -> None:
    again, other = search(3.0, noise=0.2), search(3.0, noise=0.2, problem=replace(PROBLEM, seed=1))
    first = search(3.0, noise=0.2)
    assert np.array_equal(first.probabilities, again.probabilities)
    assert not np.array_equal(first.probabilities, other.probabilities)


@pytest.mark.parametrize("gradient", [True, False])
@pytest.mark.parametrize("cost", [COST, Opaque(COST.seconds)], ids=["additive", "opaque"])
@pytest.mark.parametrize("stop", [0, 7, 60])
def test_a_search_goes_on_from_its_state_to_the_same_end(gradient: bool, cost: Any, stop: int) -> None:
    settings, loss = Differentiable(steps=100), Noisy(UTILITY, noise=0.2, gradient=gradient)
    whole, first = (Search(settings, PROBLEM, cost, 3.3) for _ in range(2))
    for step in range(120):
        whole.update(genome := whole.sample(step), step, loss(genome, step))
    for step in range(stop):
        first.update(genome := first.sample(step), step, loss(genome, step))
    file = io.BytesIO()
    np.savez(file, **first.state())
    file.seek(0)
    second = Search(settings, PROBLEM, cost, 3.3)
    with np.load(file) as state:
        second.restore(dict(state))
    for step in range(stop, 120):
        second.update(genome := second.sample(step), step, loss(genome, step))
    assert np.array_equal(whole.result().proposals, second.result().proposals)
    assert np.array_equal(whole.logits, second.logits)
    assert whole.controller.multiplier == second.controller.multiplier


def test_every_option_is_tried_equally_often_before_any_is_preferred() -> None:
    problem, genomes = Choices((2, 3, 4)), []
    utility = padded(problem, np.random.default_rng(0))

    def loss(genome: Any, step: int) -> Any:
        genomes.append(genome)
        return Noisy(utility)(genome, step)

    settings = Differentiable(steps=5, warm_up=3)
    settings.run(problem, loss, separate(problem, np.random.default_rng(1)), 10.0)
    assert len(genomes) == 3 * 4 + 5
    for step in range(1, 13):
        for gene, size in enumerate(problem.options):
            counts = np.bincount([genome[gene] for genome in genomes[:step]], minlength=size)
            assert counts.max() - counts.min() <= 1


def test_a_loss_that_does_not_care_keeps_the_limit() -> None:
    result = SHORT.run(PROBLEM, Noisy(np.zeros_like(UTILITY)), COST, 3.0)
    assert result.seconds[0] <= 3.0 and np.isfinite(result.probabilities).all()


@pytest.mark.parametrize("gradient", [True, False])
def test_steps_that_diverge_are_counted_and_left_out(gradient: bool) -> None:
    loss = Noisy(UTILITY, gradient=gradient)

    def sometimes(genome: Any, step: int) -> Any:
        if step % 10 != 3:
            return loss(genome, step)
        return Feedback(np.nan, *((np.full((8, 4), np.inf), np.ones((8, 4), np.bool_)) if gradient else ()))

    result = SHORT.run(PROBLEM, sometimes, COST, 3.3)
    assert result.report["failed_steps"] == 42
    assert np.isfinite(result.probabilities).all() and 0.99 * 3.3 <= result.seconds[0] <= 3.3


def test_costs_that_do_not_add_up_and_genes_without_effect() -> None:
    problem = Choices((3, 4, 3, 4), optional=(2, 3))
    rng = np.random.default_rng(4)
    additive, utility = chained(problem, rng), padded(problem, rng)
    opaque = Opaque(lambda genomes: additive.seconds(genomes) ** 2)
    every = problem.every()
    seconds, value = opaque.seconds(every), total(problem, utility, every)
    for share in (0.3, 0.6):
        limit = float(np.quantile(seconds, share))
        result = SHORT.run(problem, Noisy(utility, noise=0.1), opaque, limit)
        assert (result.seconds <= limit).all()
        assert np.array_equal(problem.canonical(result.proposals), result.proposals)
        reached = total(problem, utility, result.proposals).max()
        assert (value[seconds <= limit] <= reached).mean() > 0.9


def test_a_gene_with_a_single_option_decides_nothing() -> None:
    """A space may look its options up in tables, where there is no second one."""

    class Looked(Choices):
        def canonical(self, genomes: Any) -> Any:
            return np.stack([np.arange(n)[column] for n, column in zip(self.options, genomes.T, strict=True)], axis=1)

    problem = Looked((3, 1, 4))
    assert problem.active(np.array([[0, 0, 1], [2, 0, 0]])).tolist() == [[True, False, True]] * 2


def test_it_says_so_if_nothing_fits() -> None:
    with pytest.raises(NothingFits, match="the fastest takes"):
        search(0.1, Differentiable(steps=2, warm_up=1))


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(InputError, match="steps of a differentiable search must be at least 1, got 0"):
        Differentiable(steps=0)
    with pytest.raises(InputError, match="0 < cold <= hot and a positive gain, got hot 1, cold 2"):
        Differentiable(hot=1, cold=2)


def test_the_report_knows_what_was_learned_from_noise() -> None:
    problem = Choices((2, 2, 2, 3))
    cost = separate(problem, np.random.default_rng(0))
    liked = np.array([[0, 5.0, 0]] * 3 + [[0, 0, 0.0]])
    rng = np.random.default_rng(1)
    sure = SHORT.run(problem, Noisy(liked), cost, 100.0).report
    noise = SHORT.run(problem, lambda genome, step: Feedback(float(rng.normal())), cost, 100.0).report
    flat = SHORT.run(problem, lambda genome, step: Feedback(1.0), cost, 100.0).report
    assert sure["loss_explained"] > sure["loss_explained_chance"]
    assert noise["loss_explained"] < 2 * noise["loss_explained_chance"] and flat["loss_explained"] == 0.0
    for report in (sure, noise, flat):
        assert 0 <= report["entropy_mean"] <= report["entropy_max"] <= 1
