from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.exits.frontier import expected_s, geometric, stopping
from nas.exits.levels import Levels, grid_size
from nas.exits.thresholds import Policies, evaluate, expected_upper_s, last_exit

Network = Callable[..., tuple[Any, Any, Any]]


@st.composite
def tied_answers(draw: st.DrawFn, exits: tuple[int, ...] = (1, 2, 3, 4, 6)) -> tuple[Any, Any, Any]:
    """Few samples and few different confidences, of either sign: ties everywhere."""
    n, k = draw(st.integers(1, 40)), draw(st.sampled_from(exits))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    values = draw(st.sampled_from([1, 2, 5, 1000]))
    confidence = rng.integers(0, values, size=(n, k)) / values - draw(st.sampled_from([0.0, 0.5]))
    return confidence, rng.random((n, k)) < np.linspace(0.3, 0.8, k), np.cumsum(rng.random(k) + 0.1)


def brute_force(confidence: Any, correct: Any, cumulative_s: Any, budget_s: float) -> float | None:
    """The best accuracy within the budget over all thresholds that part the samples differently."""
    candidates = [[math.inf, *np.unique(column)] for column in confidence[:, :-1].T]
    policies = [evaluate(t, confidence, correct, cumulative_s) for t in itertools.product(*candidates)]
    return max((p.accuracy for p in policies if p.expected_s <= budget_s), default=None)


@given(tied_answers((1, 2, 3)), st.floats(0.0, 1.2))
@settings(max_examples=60, deadline=None)
def test_up_to_two_thresholds_on_few_samples_are_optimal(drawn: tuple[Any, Any, Any], fraction: float) -> None:
    confidence, correct, cumulative_s = (x[:12] if x.ndim == 2 else x for x in drawn)
    budget_s = fraction * cumulative_s[-1]
    best = Policies.of(confidence, correct, cumulative_s).best(budget_s)
    assert (best and best.accuracy) == brute_force(confidence, correct, cumulative_s, budget_s)


@given(tied_answers())
@settings(max_examples=60, deadline=None)
def test_the_last_exit_is_the_policy_of_infinite_thresholds(drawn: tuple[Any, Any, Any]) -> None:
    confidence, correct, cumulative_s = drawn
    assert last_exit(correct, cumulative_s) == evaluate(
        (math.inf,) * (len(cumulative_s) - 1), confidence, correct, cumulative_s
    )


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("fraction", [0.3, 0.5, 0.7, 1.0])
def test_three_thresholds_are_within_one_sample_of_the_best(network: Network, seed: int, fraction: float) -> None:
    confidence, correct, cumulative_s = network(18, 4, seed)
    best = Policies.of(confidence, correct, cumulative_s).best(fraction * cumulative_s[-1])
    wanted = brute_force(confidence, correct, cumulative_s, fraction * cumulative_s[-1])
    assert best is not None
    assert wanted is not None
    assert wanted - 1.01 / 18 <= best.accuracy <= wanted


@given(tied_answers(), st.floats(0.0, 1.5))
@settings(max_examples=200, deadline=None)
def test_the_budget_is_kept_on_the_given_data_ties_or_not(drawn: tuple[Any, Any, Any], fraction: float) -> None:
    confidence, correct, cumulative_s = drawn
    budget_s = fraction * cumulative_s[-1]
    policy = Policies.of(confidence, correct, cumulative_s).best(budget_s)
    if policy is None:
        assert cumulative_s[0] > budget_s
    else:
        # What was promised is exactly what these thresholds give.
        assert evaluate(policy.thresholds, confidence, correct, cumulative_s) == policy
        assert policy.expected_s <= budget_s
        assert len(policy.thresholds) == len(cumulative_s) - 1
        assert sum(policy.rates) == pytest.approx(1)
        assert not any(math.isnan(t) or t == -math.inf for t in policy.thresholds)


@given(tied_answers())
@settings(max_examples=100, deadline=None)
def test_more_cost_always_buys_more_accuracy(drawn: tuple[Any, Any, Any]) -> None:
    confidence, correct, cumulative_s = drawn
    policies = Policies.of(confidence, correct, np.arange(1.0, 1 + len(cumulative_s)))  # many policies of equal cost
    assert (np.diff(policies.expected_s) > 0).all()
    assert (np.diff(policies.accuracy) > 0).all()


@given(tied_answers(), st.lists(st.floats(0.0, 1.5), min_size=2, max_size=8))
@settings(max_examples=100, deadline=None)
def test_a_larger_budget_never_lowers_accuracy(drawn: tuple[Any, Any, Any], fractions: list[float]) -> None:
    confidence, correct, cumulative_s = drawn
    found = [
        Policies.of(confidence, correct, cumulative_s).best(fraction * cumulative_s[-1])
        for fraction in sorted(fractions)
    ]
    accuracies = [-1.0 if policy is None else policy.accuracy for policy in found]
    assert accuracies == sorted(accuracies)


@pytest.mark.parametrize("exits", [2, 3, 4, 6])
@pytest.mark.parametrize("fraction", [0.6, 0.7, 0.8])
def test_where_depth_helps_the_budget_is_used_to_a_hundredth(network: Network, exits: int, fraction: float) -> None:
    confidence, correct, cumulative_s = network(2000, exits)
    policy = Policies.of(confidence, correct, cumulative_s).best(fraction * cumulative_s[-1])
    assert policy is not None
    assert 0.99 * fraction * cumulative_s[-1] <= policy.expected_s <= fraction * cumulative_s[-1]


@pytest.mark.parametrize("exits", [3, 6])
def test_it_is_better_than_either_of_its_families_alone(network: Network, exits: int) -> None:
    """On the data, at every budget; and clearly so where the budget is small."""
    confidence, correct, cumulative_s = network(2000, exits)
    levels = Levels.of(confidence, correct)
    ours = Policies.of(confidence, correct, cumulative_s)
    for family in (geometric(levels, 400), stopping(levels, cumulative_s, 200)):
        counts, right, _ = levels.evaluate(family)
        cost = expected_s(counts, cumulative_s)
        gains = []
        for fraction in (0.45, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0):
            theirs = right[cost <= fraction * cumulative_s[-1]].max() / 2000
            best = ours.best(fraction * cumulative_s[-1])
            assert best is not None
            gains.append(best.accuracy - theirs)
        assert min(gains) >= 0
        assert max(gains) > 0.01


def test_thresholds_hold_their_budget_and_accuracy_on_new_data(network: Network) -> None:
    confidence, correct, cumulative_s = network(22_000, 5, 3)
    for fraction in (0.4, 0.6, 0.8):
        policy = Policies.of(confidence[:2000], correct[:2000], cumulative_s).best(fraction * cumulative_s[-1])
        assert policy is not None
        fresh = evaluate(policy.thresholds, confidence[2000:], correct[2000:], cumulative_s)
        assert fresh.expected_s == pytest.approx(policy.expected_s, rel=0.03)
        assert fresh.accuracy == pytest.approx(policy.accuracy, abs=0.03)
        bound = expected_upper_s(confidence[:2000], policy.thresholds, cumulative_s, 0.9999)
        assert policy.expected_s < bound < 1.1 * policy.expected_s
        assert fresh.expected_s <= bound


def test_the_upper_bound_of_the_cost_covers_as_often_as_it_says(network: Network) -> None:
    confidence, correct, cumulative_s = network(400 * 200, 4, 5)
    thresholds = (0.8, 0.7, 0.6)
    truth = evaluate(thresholds, confidence, correct, cumulative_s).expected_s
    parts = confidence.reshape(400, 200, 4)
    covered = np.mean([expected_upper_s(part, thresholds, cumulative_s, 0.9) >= truth for part in parts])
    assert covered == pytest.approx(0.9, abs=3 * math.sqrt(0.09 / 400))


def test_the_upper_bound_never_exceeds_the_worst_case() -> None:
    confidence, cumulative_s = np.array([[0.9, 1.0], [0.1, 1.0]]), [1.0, 10.0]
    assert expected_upper_s(confidence, (0.5,), cumulative_s) == 10.0
    assert expected_upper_s(confidence[:1], (0.5,), cumulative_s) == 10.0
    # Leaving always at the first exit costs what it costs.
    assert expected_upper_s(confidence, (0.0,), cumulative_s) == 1.0


def test_spending_less_is_legal_where_depth_hurts(network: Network) -> None:
    confidence, correct, cumulative_s = network(4000, 4, overthinking=0.3)
    policy = Policies.of(confidence, correct, cumulative_s).best(math.inf)
    assert policy is not None
    assert policy.accuracy > correct[:, -1].mean() + 0.02
    assert policy.expected_s < 0.95 * cumulative_s[-1]


def test_a_first_exit_over_the_budget_fits_nothing(network: Network) -> None:
    confidence, correct, cumulative_s = network(50, 3)
    assert Policies.of(confidence, correct, cumulative_s).best(np.nextafter(cumulative_s[0], 0)) is None
    first = Policies.of(confidence, correct, cumulative_s).best(cumulative_s[0])
    assert first is not None
    assert first.rates == (1.0, 0.0, 0.0)
    assert first.expected_s == cumulative_s[0]
    # "Always" holds on data never seen, too.
    assert evaluate(first.thresholds, confidence * 0.0, correct, cumulative_s).rates == (1.0, 0.0, 0.0)
    distance = -confidence  # a score that is never positive
    first = Policies.of(distance, correct, cumulative_s).best(cumulative_s[0])
    assert first is not None
    assert evaluate(first.thresholds, distance - 0.5, correct, cumulative_s).rates == (1.0, 0.0, 0.0)


def test_without_early_exits_the_answer_is_the_network_itself(network: Network) -> None:
    confidence, correct, cumulative_s = network(100, 1)
    policy = Policies.of(confidence, correct, cumulative_s).best(math.inf)
    assert policy is not None
    assert (policy.thresholds, policy.rates, policy.expected_s) == ((), (1.0,), cumulative_s[0])
    assert policy.accuracy == correct.mean()
    assert Policies.of(confidence, correct, cumulative_s).best(0.99 * cumulative_s[0]) is None
    assert expected_upper_s(confidence, (), cumulative_s) == cumulative_s[0]


def test_heads_on_the_way_are_paid() -> None:
    """By hand: body 1 s + 1 s (final head included), head 0.5 s, decision 0.25 s; half are sure and right at exit 1."""
    cumulative_s = [1.75, 2.75]
    confidence = np.array([[0.9, 1.0], [0.8, 1.0], [0.2, 1.0], [0.1, 1.0]])
    correct = np.array([[1, 1], [1, 1], [0, 1], [0, 1]])
    policy = Policies.of(confidence, correct, cumulative_s).best(2.3)
    assert policy is not None
    assert policy.thresholds == (0.5,)  # halfway between the surest that goes on and the least sure that leaves
    assert policy.expected_s == 0.5 * 1.75 + 0.5 * 2.75
    assert policy.accuracy == 1.0
    # An exit that nobody takes is no cheaper than one that all pass.
    assert evaluate((math.inf,), confidence, correct, cumulative_s).expected_s == 2.75


def test_confidences_of_another_runtime_leave_at_the_same_exits(network: Network) -> None:
    confidence, correct, cumulative_s = network(500, 4)
    policy = Policies.of(confidence, correct, cumulative_s).best(0.6 * cumulative_s[-1])
    assert policy is not None
    gaps = [np.abs(confidence[:, k] - t).min() for k, t in enumerate(policy.thresholds) if t not in (0.0, math.inf)]
    assert min(gaps) > 0
    moved = confidence + np.random.default_rng(0).uniform(-0.9, 0.9, confidence.shape) * min(gaps)
    assert evaluate(policy.thresholds, moved, correct, cumulative_s) == policy


def test_single_precision_confidences_survive_the_text_form(network: Network) -> None:
    confidence, correct, cumulative_s = network(300, 3)
    confidence = confidence.astype(np.float32)
    policy = Policies.of(confidence, correct, cumulative_s).best(0.7 * cumulative_s[-1])
    assert policy is not None
    again = json.loads(json.dumps([t if math.isfinite(t) else None for t in policy.thresholds]))
    assert evaluate([math.inf if t is None else t for t in again], confidence, correct, cumulative_s) == policy


def test_equal_input_equal_output(network: Network) -> None:
    confidence, correct, cumulative_s = network(500, 5)
    assert Policies.of(confidence, correct, cumulative_s).best(3e-3) == Policies.of(
        confidence.copy(), correct, list(cumulative_s)
    ).best(3e-3)


def test_many_exits_do_not_overflow(network: Network) -> None:
    confidence, correct, cumulative_s = network(200, 16)
    policy = Policies.of(confidence, correct, cumulative_s).best(0.5 * cumulative_s[-1])
    assert policy is not None
    assert evaluate(policy.thresholds, confidence, correct, cumulative_s) == policy


def test_few_exits_have_as_many_levels_as_can_be_enumerated() -> None:
    assert [grid_size(exits) for exits in (0, 1, 2, 3, 10)] == [513, 513, 64, 33, 33]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"confidence": np.zeros((0, 2))}, "n > 0"),
        ({"confidence": np.zeros(4)}, "must both be"),
        ({"correct": np.ones((4, 3))}, "must both be"),
        ({"cumulative_s": [1.0]}, "cumulative_s"),
        ({"confidence": np.full((4, 2), np.nan)}, "must be finite"),
        ({"cumulative_s": [1.0, np.nan]}, "positive and finite"),
        ({"cumulative_s": [0.0, 1.0]}, "positive and finite"),
        ({"cumulative_s": [2.0, 1.0]}, "cannot cost less"),
    ],
)
def test_malformed_data_is_refused(change: dict[str, Any], message: str) -> None:
    data = {"confidence": np.zeros((4, 2)), "correct": np.ones((4, 2)), "cumulative_s": [1.0, 2.0], **change}
    with pytest.raises(ValueError, match=message):
        Policies.of(**data)


def test_a_wrong_number_of_thresholds_is_refused(network: Network) -> None:
    with pytest.raises(ValueError, match="3 exits need 2 thresholds, not 3"):
        evaluate((0.1, 0.2, 0.3), *network(10, 3))
