"""A budget answers for itself."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from hardware_profiles import Target, load
from latency_models.roofline import Roofline
from latency_models.tail import NO_TAIL, Tail
from nas.config.budget import Budget, BudgetOf
from nas.errors import InputError
from nas.run.lenient_json import LenientJson
from nas.run.verdict_files import read_budget
from search_spaces.slots import random_genomes, with_exits
from search_spaces.toy import toy

KINDS: tuple[BudgetOf, ...] = get_args(BudgetOf)
WORST, MEAN = Budget(8e-3, "worst_case"), Budget(8e-3, "expected")


@pytest.mark.parametrize("of", KINDS)
def test_every_kind_has_every_answer(of: BudgetOf) -> None:
    budget = Budget(8e-3, of)
    cumulative = np.array([[1.0, 2.0, 4.0], [2.0, 3.0, 3.5]])
    rates = np.array([[0.5, 0.25, 0.25], [0.0, 0.0, 1.0]])
    assert budget.describe().startswith("at most 8") and budget.describe().endswith(budget.how)
    assert budget.needs_thresholds in (True, False)
    together = budget.seconds(cumulative, rates, NO_TAIL)
    assert together.shape == (2,)
    for row in range(2):
        assert budget.seconds(cumulative[row], rates[row], NO_TAIL) == together[row]
    assert (budget.lower_bound(cumulative, NO_TAIL) <= together).all()
    # Who all go to the last exit takes what the last exit takes, whatever is bounded.
    assert together[1] == cumulative[1, -1]
    assert Budget.stored(of, 8e-3) == budget


def test_what_each_kind_bounds() -> None:
    reach = np.array([[np.nan, 2.0, np.nan, 4.0], [1.0, 2.0, 3.0, 8.0]])
    assert WORST.lower_bound(reach, NO_TAIL).tolist() == [4.0, 8.0]
    assert MEAN.lower_bound(reach, NO_TAIL).tolist() == [2.0, 1.0]
    assert WORST.seconds(reach[1], (0.5, 0.25, 0.25, 0.0), NO_TAIL) == 8.0
    assert MEAN.seconds(reach[1], (0.5, 0.25, 0.25, 0.0), NO_TAIL) == 0.5 + 0.5 + 0.75
    assert (WORST.needs_thresholds, MEAN.needs_thresholds) == (False, True)
    assert [(each.streamed(1), each.streamed(8)) for each in (WORST, MEAN)] == [(False, False), (True, True)]
    assert (WORST.how, MEAN.how) == ("in the worst case", "on average")


def test_the_mean_is_the_dot_product_to_the_last_bit() -> None:
    """Choices among candidates hang on it, and a run that goes on must choose the same."""
    rng = np.random.default_rng(0)
    for exits in range(1, 7):
        rates, reach = rng.dirichlet(np.ones(exits), 50), np.sort(rng.random((50, exits)), axis=1) * 1e-3
        assert MEAN.seconds(reach, rates, NO_TAIL).tolist() == [
            float(np.dot(a, b)) for a, b in zip(rates, reach, strict=True)
        ]


def test_predictions_are_of_what_is_bounded() -> None:
    space = toy((1, 8, 8), 4, max_exits=1)
    genome = with_exits(space, random_genomes(space, 1, np.random.default_rng(0))[0], (0,))
    prediction = Roofline(load("rpi4b"), Target("rpi4b", "onnxruntime")).predict([space.decode(genome)])
    rates = [[0.75, 0.25]]
    seconds, std = (found := MEAN.believed(prediction, rates, NO_TAIL)).mean_s, found.std_s
    assert seconds.tolist() == prediction.expected_s(np.array(rates)).tolist()
    assert std.tolist() == prediction.expected_std_s(np.array(rates)).tolist()
    assert seconds[0] == pytest.approx(float(MEAN.seconds(prediction.cumulative_s()[0], rates[0], NO_TAIL)))
    worst, worst_std = (found := WORST.believed(prediction, rates, NO_TAIL)).mean_s, found.std_s
    assert (worst.tolist(), worst_std.tolist()) == (prediction.total_s.tolist(), prediction.total_std_s.tolist())
    assert worst[0] > seconds[0]


def test_a_file_may_name_a_kind_that_is_not_known() -> None:
    assert Budget.stored("p42", 1e-3) is None
    unknown = read_budget(LenientJson({"name": "late", "of": "p42", "latency_s": 1e-3}))
    assert (unknown.how, unknown.needs_thresholds, unknown.latency_s) == ("", False, 1e-3)
    without = read_budget(LenientJson({"name": "old", "latency": "8 ms"}))
    assert (without.how, without.latency_s) == (WORST.how, 8e-3)
    assert read_budget(LenientJson({"of": "expected"})).how == MEAN.how


@pytest.mark.parametrize(("of", "share", "words"), [("p95", 0.95, "95"), ("p99", 0.99, "99")])
def test_a_percentile_lies_above_calls_in_a_row(of: BudgetOf, share: float, words: str) -> None:
    budget, reach, tail = Budget(8e-3, of, every_s=33e-3), np.array([[1.0, np.nan, 4.0]]), Tail(1.5, 0.2)
    assert budget.percentile == share and not budget.needs_thresholds
    assert budget.how == f"for {words} of 100 calls, one every 33.0 ms"
    assert budget.statistic == f"{words} % of single calls, one every 33.0 ms"
    assert Budget(8e-3, of).how == f"for {words} of 100 calls"
    # All leave at the first exit; where they may not, or all do at the last, it decides.
    assert budget.seconds(reach, [[1.0, 0.0, 0.0]], tail) == budget.lower_bound(reach, tail) == [1.5]
    assert budget.seconds(reach, [[0.0, 0.0, 1.0]], tail) == budget.lower_bound(reach, tail, early=False) == [6.0]
    assert (budget.streamed(batch=1), budget.streamed(batch=2)) == (True, False)
    space = toy((1, 8, 8), 4)
    network = space.decode(random_genomes(space, 1, np.random.default_rng(0))[0])
    prediction = Roofline(load("rpi4b"), Target("rpi4b", "onnxruntime")).predict([network])
    warm, believed = WORST.believed(prediction, [[1.0]], NO_TAIL), budget.believed(prediction, [[1.0]], tail)
    assert believed.mean_s == pytest.approx(1.5 * warm.mean_s), "of one exit as of the worst case"
    assert believed.std_s / believed.mean_s > warm.std_s / warm.mean_s
    assert Budget.stored(of, 8e-3, 33e-3) == budget


@pytest.mark.parametrize(
    ("beyond", "decides"),
    [
        (0.0, {"p95": 0, "p99": 0}),
        (0.01, {"p95": 0, "p99": 0}),
        (0.03, {"p95": 0, "p99": 1}),
        (0.2, {"p95": 1, "p99": 1}),
    ],
)
def test_a_percentile_is_that_of_the_mixture_over_exits(beyond: float, decides: dict[BudgetOf, int]) -> None:
    """With 3 % of the images at the last exit, that is what the 99th percentile takes, and the 95th does not."""
    space = toy((1, 8, 8), 4, max_exits=1)
    genome = with_exits(space, random_genomes(space, 1, np.random.default_rng(0))[0], (0,))
    prediction = Roofline(load("rpi4b"), Target("rpi4b", "onnxruntime")).predict([space.decode(genome)])
    rates, reach, tail = [1 - beyond, beyond], prediction.cumulative_s()[0], Tail(1.5, 0.2)
    for of, place in decides.items():
        budget = Budget(8e-3, of)
        assert budget.deciding_exit(rates) == place and budget.deciding_exit([rates, rates[::-1]]).shape == (2,)
        assert budget.seconds(reach, rates, tail) == pytest.approx(1.5 * reach[place])
        believed = budget.believed(prediction, [rates], tail)
        assert believed.mean_s == pytest.approx(1.5 * reach[place])
        assert believed.std_s[0] > 1.5 * prediction.cumulative_std_s()[0, place]


@pytest.mark.parametrize(
    ("of", "every_s", "words"),
    [
        ("worst_case", 33e-3, "only percentiles"),
        ("expected", 33e-3, "only percentiles"),
        ("p95", 7e-3, "every 7.00 ms that may take 8.00 ms"),
        ("p99", 1e-9, "fall behind"),
    ],
)
def test_a_duty_cycle_that_is_none_is_refused(of: BudgetOf, every_s: float, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Budget(8e-3, of, "name", every_s=every_s)
    assert Budget.stored(of, 8e-3, every_s) is None
