"""Thresholds for what each sample counts: of ones as without any, and of classes as the balanced accuracy asks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nas.exits.cross_fit import CrossFitted
from nas.exits.levels import Levels
from nas.exits.placement import best_placement
from nas.exits.scores import Scores
from nas.exits.thresholds import Policies, evaluate, exit_index, within_on_others
from nas.tasks.image_classification.balance import balanced_accuracy, class_weights

COST = np.array([0.4, 0.7, 1.0])


def drawn(seed: int, n: int, exits: int) -> Scores:
    rng = np.random.default_rng(seed)
    sure = rng.random((n, exits))
    return Scores(sure.round(2), rng.random((n, exits)) < 0.4 + 0.5 * sure)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 200), st.integers(1, 5), st.sampled_from([0.0, 1.0]), st.floats(0.1, 50))
def test_weights_that_are_all_the_same_change_nothing(seed: int, n: int, exits: int, doubt: float, one: float) -> None:
    found, cost = drawn(seed, n, exits), np.linspace(0.3, 1, exits)
    for weights in (np.ones(n), np.full(n, one)):
        plain, weighted = (Policies.of(found.confidence, found.correct, cost, doubt, each) for each in (None, weights))
        assert np.array_equal(plain.thresholds, weighted.thresholds) and np.array_equal(plain.rates, weighted.rates)
        assert np.array_equal(plain.worth, weighted.worth) and np.array_equal(plain.accuracy, weighted.accuracy)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(5, 100), st.sampled_from([0.0, 1.0]))
def test_samples_that_count_twice_are_as_two_samples(seed: int, n: int, doubt: float) -> None:
    """In what policies are right on; the doubt of two that are one is larger."""
    found, twice = drawn(seed, n, 3), np.arange(n) % 3 == 0
    weights = np.where(twice, 2.0, 1.0)
    rows = np.repeat(np.arange(n), np.where(twice, 2, 1))
    one = Levels.of(found.confidence, found.correct, doubt, weights)
    policies = np.random.default_rng(seed).integers(0, one.thresholds.shape[1], (50, 2))
    _, right, worth = one.evaluate(policies)
    for policy, share, less in zip(policies, right / n, worth / n, strict=True):
        thresholds = one.thresholds[np.arange(2), policy].tolist()
        repeated = evaluate(thresholds, found.confidence[rows], found.correct[rows], COST)
        assert share == pytest.approx(repeated.accuracy) and less <= share


def imbalanced(rng: np.random.Generator, n: int) -> tuple[Scores, NDArray[np.int64]]:
    """One image in ten is rare. The first exit is surest, and right, on common ones, and hardly ever on rare ones."""
    rare = rng.random(n) < 0.1
    sure = np.where(rare, rng.uniform(0.3, 0.9, n), rng.uniform(0.5, 1.0, n))
    first = rng.random(n) < np.where(rare, 0.1, 0.93)
    last = rng.random(n) < np.where(rare, 0.9, 0.88)
    return Scores(np.column_stack((sure, np.ones(n))), np.column_stack((first, last))), rare.astype(np.int64)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_thresholds_of_unequal_classes_are_those_of_the_best_balanced_accuracy(seed: int) -> None:
    rng, limit_s = np.random.default_rng(seed), 0.8
    found, labels = imbalanced(rng, 2000)
    others, other_labels = imbalanced(rng, 20_000)
    cost = np.array([0.3, 1.0])

    def balanced(threshold: float, on: Scores, of: NDArray[np.int64]) -> float:
        leaving = exit_index((threshold,), on.confidence)
        return balanced_accuracy(on.correct[np.arange(len(of)), leaving], of.astype(np.int32))

    weights = class_weights(labels.astype(np.int32))
    plain = Policies.of(found.confidence, found.correct, cost).best(limit_s)
    best = Policies.of(found.confidence, found.correct, cost, 0.0, weights).best(limit_s)
    assert plain is not None and best is not None
    levels = Levels.of(found.confidence, found.correct).thresholds[0]
    affordable = [level for level in levels if evaluate((level,), *_of(found), cost).expected_s <= limit_s]
    assert balanced(best.thresholds[0], found, labels) == pytest.approx(
        max(balanced(level, found, labels) for level in affordable)
    )
    assert best.accuracy == pytest.approx(balanced(best.thresholds[0], found, labels))
    assert best.expected_s == evaluate(best.thresholds, *_of(found), cost).expected_s <= limit_s, "time is of all"
    assert (
        evaluate(plain.thresholds, *_of(found), cost).accuracy >= evaluate(best.thresholds, *_of(found), cost).accuracy
    )
    gained = balanced(best.thresholds[0], others, other_labels) - balanced(plain.thresholds[0], others, other_labels)
    assert gained > 0.01
    weighed = replace(found, weights=weights)
    fitted = CrossFitted.of(weighed, cost).best(limit_s)
    assert fitted is not None
    for policy in (fitted[0], within_on_others(weighed, cost, limit_s, 1.0)):
        assert balanced(policy.thresholds[0], others, other_labels) > balanced(
            plain.thresholds[0], others, other_labels
        )


def _of(found: Scores) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    return found.confidence, found.correct


def test_exits_are_placed_by_what_images_count() -> None:
    found, labels = imbalanced(np.random.default_rng(4), 2000)
    arguments = np.array([0.3, 0.9]), np.array([0.02, 0.05]), 2.0, 1
    plain = best_placement(found, *arguments)
    weighed = best_placement(replace(found, weights=class_weights(labels.astype(np.int32))), *arguments)
    assert plain is not None and weighed is not None
    assert plain.positions == (0,) and plain.policy.rates[0] > (weighed.policy.rates[0] if weighed.positions else 0)


@pytest.mark.parametrize(
    "weights", [np.ones(3), np.full(10, -1.0), np.zeros(10), np.full(10, np.nan), np.ones((10, 2))]
)
def test_weights_that_are_none_are_refused(weights: Any) -> None:
    found = drawn(0, 10, 3)
    with pytest.raises(ValueError, match="weights"):
        Policies.of(found.confidence, found.correct, COST, 0.0, weights)
