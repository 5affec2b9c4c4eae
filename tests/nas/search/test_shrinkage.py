"""Ranking by shrunken accuracies: nearer to the truth than scores, and by latency where scores say nothing."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from nas.run.trial import AtBudget, Trial, packed
from nas.search.shrinkage import Estimates, estimates, ranked
from search_spaces.slots import random_genomes
from search_spaces.toy import toy

SPACE = toy((1, 8, 8), 4, max_exits=0)


def trials(seed: int, images: int, n: int = 80, noise: float = 0.01) -> tuple[list[Trial], np.ndarray]:
    """Networks whose accuracy is linear in their genes and a little of their own, and their scores."""
    rng = np.random.default_rng(seed)
    genomes = np.unique(random_genomes(SPACE, 4 * n, rng), axis=0)
    genomes = genomes[rng.permutation(len(genomes))[:n]]
    slope = rng.normal(0, 0.01, genomes.shape[1])
    truth = np.clip(0.85 + genomes @ slope + rng.normal(0, noise, len(genomes)), 0.5, 0.99)
    hard = rng.random(images)
    found = []
    for slot, (genome, accuracy) in enumerate(zip(genomes, truth, strict=True)):
        own = np.where(rng.random(images) < 0.5, hard, rng.random(images))
        right = own < accuracy
        at = AtBudget(float(right.mean()), 1e-3 * (1 + genome.sum()), (), (1.0,), images, packed(right))
        found.append(Trial(0, slot, len(genomes), tuple(genome.tolist()), str(slot), "complete", budgets=(at,)))
    return found, truth


@pytest.mark.parametrize("images", [200, 1000])
def test_shrunken_accuracies_are_nearer_to_the_truth_and_the_best_is_not_the_luckiest(images: int) -> None:
    before, after, luck, left = [], [], [], []
    for seed in range(12):
        found, truth = trials(seed, images)
        score = np.array([trial.budgets[0].accuracy for trial in found])
        shrunk = estimates(SPACE, found, (), 0).accuracy
        common = (score - truth).mean()
        before.append(((score - truth - common) ** 2).mean())
        after.append(((shrunk - truth - common) ** 2).mean())
        luck.append(score.max() - truth[score.argmax()] - common)
        left.append(shrunk.max() - truth[shrunk.argmax()] - common)
    assert np.mean(after) < 0.7 * np.mean(before)
    assert abs(np.mean(left)) < 0.35 * np.mean(luck)


def test_with_many_images_scores_stay_what_they_are() -> None:
    found, _ = trials(0, 100_000, n=30)
    score = np.array([trial.budgets[0].accuracy for trial in found])
    assert np.abs(estimates(SPACE, found, (), 0).accuracy - score).max() < 0.001


def test_others_are_learned_from_and_a_network_counts_once() -> None:
    found, _ = trials(0, 300)
    few = found[:3]
    alone, together = estimates(SPACE, few, (), 0), estimates(SPACE, few, found, 0)
    assert alone.accuracy.tolist() == [trial.budgets[0].accuracy for trial in few]
    assert (together.accuracy != alone.accuracy).all()
    assert np.allclose(together.accuracy, estimates(SPACE, found, (), 0).accuracy[:3])


def test_the_paired_error_is_that_of_differences_on_the_same_images() -> None:
    found, _ = trials(0, 400)
    told = estimates(SPACE, found, (), 0)
    best = sorted(found, key=lambda trial: -trial.budgets[0].accuracy)[:2]
    one, other = (trial.budgets[0].answers().astype(float) for trial in best)
    assert told.paired_std == pytest.approx((one - other).std() / math.sqrt(400), rel=0.3)
    assert told.equal == pytest.approx(0.1 * told.paired_std) and told.gain == pytest.approx(0.25 * told.paired_std)


def test_latency_decides_only_where_accuracies_say_nothing() -> None:
    told = Estimates(np.array([0.90, 0.8999, 0.89, 0.95]), paired_std=0.01)
    assert told.order([3.0, 1.0, 0.5, 9.0]) == [3, 1, 0, 2]
    assert Estimates(told.accuracy, math.nan).order([3.0, 1.0, 0.5, 9.0]) == [3, 0, 1, 2]


def test_trials_without_answers_are_ranked_by_their_accuracy() -> None:
    found, _ = trials(0, 300, n=20)
    known = [
        Trial(0, t.slot, t.of, t.genome, t.key, "complete", budgets=(AtBudget(0.5 + 0.01 * t.slot, 1.0, (), (1.0,)),))
        for t in found
    ]
    assert [trial.slot for trial in ranked(SPACE, known, (), 0)] == list(range(19, -1, -1))
    assert math.isnan(estimates(SPACE, known, (), 0).paired_std)


def test_answers_come_back_as_they_were() -> None:
    for n in (0, 1, 7, 8, 9, 300):
        right = np.random.default_rng(n).random(n) < 0.5
        assert (AtBudget(0.5, 1.0, (), (1.0,), n, packed(right)).answers() == right).all()
    with pytest.raises(ValueError, match="the answers on 25 images do not have 4 letters"):
        AtBudget(0.5, 1.0, (), (1.0,), 25, packed(np.ones(9, bool)))


def test_no_network_leaves_the_pool_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fastest are among the less accurate, and may be all that keeps the budget."""
    found, _ = trials(0, 100, n=60)
    monkeypatch.setattr("nas.search.shrinkage.MOST", 20)
    told = ranked(SPACE, found, (), 0)
    assert sorted(trial.slot for trial in told) == sorted(trial.slot for trial in found)
    shrunk = estimates(SPACE, found, found, 0).accuracy
    score = np.array([trial.budgets[0].accuracy for trial in found])
    order = np.argsort(-score, kind="stable")
    assert shrunk[order[20:]].max() <= score[order[19]]


def test_scores_on_more_images_are_compared_as_on_the_same_ones() -> None:
    """The images that only some were judged on happen to be easy."""
    found, _ = trials(0, 200, n=20)
    more = []
    for trial in found[:5]:
        (at,) = trial.budgets
        right = np.concatenate([at.answers(), np.ones(200, bool)])
        more.append(replace(trial, budgets=(replace(at, accuracy=right.mean(), images=400, right=packed(right)),)))
    told = estimates(SPACE, [*more, *found[5:]], (), 0).accuracy
    same = estimates(SPACE, found, (), 0).accuracy
    assert abs((told[:5].mean() - told[5:].mean()) - (same[:5].mean() - same[5:].mean())) < 0.01


def test_features_that_tell_of_accuracy_bring_estimates_nearer_to_the_truth() -> None:
    errors: dict[bool, list[float]] = {True: [], False: []}
    for seed in range(3):
        found, truth = trials(seed, 100, noise=0.03)
        rng = np.random.default_rng(seed)
        noted = [
            replace(trial, metrics={**trial.metrics, "naswot": 900 + 100 * value + rng.normal(0, 0.5)})
            for trial, value in zip(found, truth, strict=True)
        ]
        for told in (True, False):
            shrunk = estimates(SPACE, noted, (), 0, ("naswot",) if told else ()).accuracy
            away = shrunk - truth
            errors[told].append(float((away - away.mean()).std()))
    assert np.mean(errors[True]) < 0.8 * np.mean(errors[False])


def test_a_feature_that_some_trials_do_not_note_is_left_out() -> None:
    found, _ = trials(0, 100)
    some = [replace(trial, metrics={"naswot": float(trial.slot)} if trial.slot else {}) for trial in found]
    told, untold = estimates(SPACE, some, (), 0, ("naswot",)), estimates(SPACE, found, (), 0)
    assert told.accuracy == pytest.approx(untold.accuracy, abs=1e-6)
