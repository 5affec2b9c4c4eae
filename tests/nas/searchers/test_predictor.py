"""The predictor and the joint search: what the model is for, what a prior does, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import moocore
import numpy as np
import pytest

from nas.errors import InputError
from nas.searchers import joint
from nas.searchers.base import Genomes
from nas.searchers.joint import Joint
from nas.searchers.predictor import Predictor, expected_improvement
from nas.searchers.prior import Prior
from nas.searchers.random import RandomSearch
from nas.searchers.regularised import RegularisedEvolution

GUIDED = pytest.mark.parametrize("make", [Predictor, Joint])


def interacting(seed: int, genes: int, options: int) -> Callable[[Genomes], np.ndarray]:
    """A loss of single genes and of pairs of neighbouring genes."""
    rng = np.random.default_rng(seed)
    single, pair = rng.normal(size=(genes, options)), 0.7 * rng.normal(size=(genes - 1, options, options))

    def loss(genomes: Genomes) -> np.ndarray:
        g = np.arange(genes)
        total: np.ndarray = single[g, genomes].sum(axis=1) + pair[g[:-1], genomes[:, :-1], genomes[:, 1:]].sum(axis=1)
        return total

    return loss


def best_loss(searcher: Any, problem: Any, loss: Callable[[Genomes], np.ndarray], batches: int, n: int = 6) -> float:
    best = np.inf
    for _ in range(batches):
        genomes = searcher.ask(n)
        values = loss(genomes)
        searcher.tell(genomes, values[:, None], problem.free_objectives(genomes)[1])
        best = min(best, float(values.min()))
    return best


@pytest.mark.slow
def test_offspring_in_many_chunks_are_as_good_and_all_different(plain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    losses: dict[int, list[float]] = {1 << 14: [], 64: []}
    for chunk, found in losses.items():
        monkeypatch.setattr(joint, "_CHUNK", chunk)
        for seed in range(4):
            loss, problem = interacting(seed, 12, 5), plain(12, 5, budget=24.0, seed=seed)
            searcher = Joint(problem, offspring=8000)
            found.append(best_loss(searcher, problem, loss, 10))
            candidates = searcher._pool(np.random.default_rng(seed), 300).genomes
            assert len(np.unique(candidates, axis=0)) == len(candidates) >= 300
            assert (problem.free_objectives(candidates)[1] == 0).all()
    assert np.mean(losses[64]) < np.mean(losses[1 << 14]) + 1


@GUIDED
@pytest.mark.parametrize("genes", [6, 12])
def test_they_beat_evolution_and_random_search(plain: Any, make: Callable[..., Any], genes: int) -> None:
    """In a space that is scored whole and in one that is not; mean over seeds, 96 evaluations, half of it too slow."""
    losses: dict[Any, list[float]] = {make: [], RegularisedEvolution: [], RandomSearch: []}
    for seed in range(3):
        loss = interacting(seed, genes, 5)
        problem = plain(genes, 5, budget=2.0 * genes, seed=seed)
        for kind, found in losses.items():
            found.append(best_loss(kind(problem), problem, loss, 16))
    assert np.mean(losses[make]) < np.mean(losses[RegularisedEvolution]) - 0.5
    assert np.mean(losses[make]) < np.mean(losses[RandomSearch]) - 1


@GUIDED
def test_the_scale_of_the_loss_does_not_matter(plain: Any, make: Callable[..., Any]) -> None:
    problem, loss = plain(5, 4), interacting(0, 5, 4)
    found = [best_loss(make(problem), problem, lambda g, s=scale: s * loss(g), 8) / scale for scale in (1.0, 256.0)]
    assert found[0] == found[1]


@GUIDED
def test_several_objectives_spread_along_the_front(toy: Any, make: Callable[..., Any]) -> None:
    reference = np.array([1.1, 11.0])
    volumes = []
    for kind in (make, RandomSearch):
        problem = toy(depth=8, options=8, deep=True)
        searcher, told = kind(problem), []
        for _ in range(12):
            genomes = searcher.ask(10)
            told.append(problem.evaluate(genomes)[0])
            searcher.tell(genomes, told[-1], problem.free_objectives(genomes)[1])
        values = np.concatenate(told)
        volumes.append(moocore.hypervolume(values, ref=reference))
    assert volumes[0] > volumes[1] + 0.5


@GUIDED
def test_a_prior_directs_the_first_genomes_and_rules_nothing_out(plain: Any, make: Callable[..., Any]) -> None:
    problem = plain(6, 6)
    first = make(problem, prior=[np.eye(6)[-1]] * 6).ask(200)
    # 0.83 are drawn; what was drawn twice is asked once.
    assert 0.55 < (first == 5).mean() < 0.83


@GUIDED
def test_a_prior_that_is_taken_is_one_that_was_given(plain: Any, make: Callable[..., Any]) -> None:
    """To the last genome; `proposals` count as so many more genomes to begin with."""
    problem, shares = plain(6, 4), tuple(tuple(row) for row in np.random.default_rng(0).dirichlet(np.ones(4), 6))
    given, taken = make(problem, initial=4 + 3, prior=shares), make(problem, initial=4)
    assert taken.wants_prior and not given.wants_prior
    taken.take_prior(shares, 3)
    assert not taken.wants_prior
    for _ in range(4):
        asked = [searcher.ask(5) for searcher in (given, taken)]
        assert np.array_equal(*asked)
        values = np.sort(asked[0], axis=1)[:, :1] * 1.0
        for searcher in (given, taken):
            searcher.tell(asked[0], values, problem.free_objectives(asked[0])[1])


@GUIDED
def test_a_prior_that_knows_helps_and_one_that_errs_is_overcome(plain: Any, make: Callable[..., Any]) -> None:
    loss = interacting(1, 12, 5)
    sample = np.random.default_rng(0).integers(5, size=(4000, 12))
    order = np.argsort(loss(sample))
    priors = (shares(sample[order[:40]]), None, shares(sample[order[-40:]]))
    helped, none, misled = (
        np.mean([best_loss(make(plain(12, 5, seed=seed), prior=p), plain(12, 5), loss, 6) for seed in range(3)])
        for p in priors
    )
    assert helped < none
    assert misled < np.quantile(loss(sample), 0.05)


def shares(genomes: np.ndarray) -> list[list[float]]:
    """How often each option occurs in each gene."""
    return [[float((column == option).mean()) for option in range(5)] for column in genomes.T]


def test_failures_are_avoided(plain: Any) -> None:
    """Every evaluation fails where gene 1 is below 2, which would be the best; soon such genomes are avoided."""
    problem = plain(10, 6)
    searcher = Predictor(problem)
    failing = []
    for _ in range(12):
        genomes = searcher.ask(8)
        values = genomes.sum(axis=1, keepdims=True) * 1.0
        values[genomes[:, 1] < 2] = np.nan
        failing.append(float((genomes[:, 1] < 2).mean()))
        searcher.tell(genomes, values, problem.free_objectives(genomes)[1])
    assert np.mean(failing[:2]) > 0.2
    assert np.mean(failing[4:]) < 0.5 * np.mean(failing[:2])


def test_expected_improvement_is_the_mean_of_what_is_gained() -> None:
    rng = np.random.default_rng(0)
    gain, sd = np.array([0.5, -1.0, 0.0]), np.array([1.0, 2.0, 0.1])
    drawn = np.maximum(gain + sd * rng.normal(size=(400_000, 3)), 0).mean(axis=0)
    np.testing.assert_allclose(expected_improvement(gain, sd), drawn, rtol=0.02)


def test_without_a_prior_genomes_are_uniform_and_it_has_no_opinion() -> None:
    prior = Prior(np.array([2, 5]))
    drawn = prior.source(np.random.default_rng(0), 10_000, 0)
    np.testing.assert_allclose(np.bincount(drawn[:, 1]) / 10_000, 0.2, atol=0.02)
    assert prior.score(drawn).shape == (10_000, 0)


def test_genomes_follow_the_prior() -> None:
    prior = Prior(np.array([2, 3]), [[0.0, 1.0], [0.5, 0.25, 0.25]])
    drawn = prior.source(np.random.default_rng(0), 20_000, 0)
    # A fifth of the draws ignores it.
    np.testing.assert_allclose(np.bincount(drawn[:, 0]) / 20_000, [0.1, 0.9], atol=0.02)
    np.testing.assert_allclose(np.bincount(drawn[:, 1]) / 20_000, [0.4667, 0.2667, 0.2667], atol=0.02)
    assert prior.score(np.array([[1, 0]]))[0, 0] == pytest.approx(np.log(0.9 * (0.8 * 0.5 + 0.2 / 3)))


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        ([[1.0, 1.0]], "one probability per option"),
        ([[1.0, 1.0], [1.0, 1.0]], "one probability per option"),
        ([[1.0, -1.0], [1.0, 1.0, 1.0]], "must be positive"),
        ([[0.0, 0.0], [1.0, 1.0, 1.0]], "must be positive"),
        ([[float("nan"), 1.0], [1.0, 1.0, 1.0]], "must be positive"),
    ],
)
def test_priors_that_are_none_are_refused(prior: list[list[float]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Prior(np.array([2, 3]), prior)


@pytest.mark.parametrize(
    ("make", "parameters", "message"),
    [
        (Predictor, {"initial": 1}, "initial is 1"),
        (Predictor, {"candidates": 0}, "candidates 0"),
        (Joint, {"population": 1}, "a population of 1"),
        (Joint, {"offspring": 0}, "0 offspring"),
        (Joint, {"initial": 1}, "initial is 1"),
    ],
)
def test_parameters_out_of_range_are_refused(
    toy: Any, make: Callable[..., Any], parameters: dict[str, int], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        make(toy(), **parameters)


@GUIDED
def test_what_a_problem_knows_of_genomes_is_learned_from(make: Any, plain: Any) -> None:
    """A score that tells the loss but for noise, in a unit of its own, beside which genes alone say little."""
    found: dict[bool, list[float]] = {True: [], False: []}
    for seed in range(4):
        loss, problem = interacting(seed, 12, 5), plain(12, 5, seed=seed)

        def features(genomes: Genomes, loss: Any = loss) -> np.ndarray:
            noise = np.random.default_rng(7).normal(size=len(genomes))
            return np.column_stack((1e4 - 300 * loss(genomes) + 30 * noise, np.zeros(len(genomes))))

        for known in (True, False):
            chosen = SimpleNamespace(
                **{
                    name: getattr(problem, name)
                    for name in ("sizes", "ordinal", "seed", "canonical", "free_objectives")
                },
                **({"features": features} if known else {}),
            )
            found[known].append(best_loss(make(chosen), chosen, loss, 6))
    assert np.mean(found[True]) < np.mean(found[False]) - 1
