"""The closed loop against a made-up device: what it returns keeps the budget, and it says when nothing does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.budget_simulation import NOISE, Conditions, Outcome, Taken, noise_of, search
from latency_models.few_shot.readings import rounding_step
from nas.search.budget_loop import Floats, Indices, decide
from tests.nas.search.beliefs import Normal

POSITIONS, OPERATORS = 5, 3


@dataclass(frozen=True, eq=False)
class World:
    """All networks of a small space on a device whose seconds nearly add up; a conjugate regression is the belief."""

    features: Floats
    seconds: Floats
    accuracy: Floats
    noise: float
    rng: np.random.Generator
    residual: float = 0.04

    @staticmethod
    def of(seed: int, noise: float = 0.0) -> World:
        rng = np.random.default_rng(seed)
        ops = np.stack(np.meshgrid(*[np.arange(OPERATORS)] * POSITIONS), axis=-1).reshape(-1, POSITIONS)
        features = np.concatenate([np.ones((len(ops), 1)), (ops[:, :, None] == np.arange(1, OPERATORS)).sum(1)], axis=1)
        true = (features @ [3.0, 1.0, 4.0]) * 1e-3 * np.exp(0.04 * rng.standard_normal(len(ops)))
        accuracy = 60 + features @ [0.0, 2.0, 5.0] + rng.standard_normal(len(ops))
        return World(features, true, accuracy, noise, rng)

    def measure(self, index: int) -> float:
        return float(self.seconds[index] * np.exp(self.noise * self.rng.standard_normal()))

    def adapt(self, index: Indices, seconds: Floats, noise: float) -> Normal:
        # Relative errors: rows and target divided by the reading.
        rows = self.features[index] / seconds[:, None]
        precision = rows.T @ rows / (self.residual**2 + noise**2) + np.diag([1e-2] * 3) / 1e-6
        covariance = np.linalg.inv(precision)
        weights = covariance @ rows.sum(0) / (self.residual**2 + noise**2)
        mean = np.maximum(self.features @ weights, 1e-4)
        std = np.sqrt(np.einsum("np,pq,nq->n", self.features, covariance, self.features) / mean**2 + self.residual**2)
        for i in np.unique(index):
            own, times = np.log(seconds[index == i]).mean(), int(np.sum(index == i))
            error = max(noise**2 / times, 1e-12)
            trust = std[i] ** 2 / (std[i] ** 2 + error)
            mean[i] = np.exp(trust * own + (1 - trust) * np.log(mean[i]))
            std[i] = np.sqrt(trust * error)
        return Normal(mean, std)

    def search(self, limit_s: float, conditions: Conditions, samples: int = 8) -> Outcome:
        first = np.random.default_rng(1).choice(len(self.seconds), samples, replace=False)
        read = np.array([self.measure(int(i)) for i in first])
        return search(self.accuracy, limit_s, self.adapt, self.measure, Taken(first, read), conditions)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), share=st.floats(0.02, 0.98))
def test_without_noise_what_is_returned_keeps_the_budget(seed: int, share: float) -> None:
    world = World.of(seed)
    limit = float(np.quantile(world.seconds, share))
    found = world.search(limit, Conditions(noise=0.0))
    assert found.found == "network" and found.index is not None
    assert world.seconds[found.index] <= limit
    assert found.index in found.taken.measured
    assert world.accuracy[found.index] == max(
        world.accuracy[i] for i, s in zip(found.taken.measured, found.taken.seconds, strict=True) if s <= limit
    )
    assert len(found.taken.measured) <= 8 + 10


def test_the_loop_comes_close_to_the_best_that_fits() -> None:
    regrets, open_loop = [], []
    for seed in range(10):
        world = World.of(seed)
        limit = float(np.quantile(world.seconds, 0.4))
        found = world.search(limit, Conditions(noise=0.0))
        best = world.accuracy[world.seconds <= limit].max()
        assert found.index is not None
        regrets.append(best - world.accuracy[found.index])
        read = [i for i in found.taken.measured[:8] if world.seconds[i] <= limit]
        open_loop.append(best - max((world.accuracy[i] for i in read), default=world.accuracy.min()))
    assert np.mean(regrets) < 0.2 < np.mean(open_loop)


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.03, 0.05])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_nothing_fits_is_recognised(noise: float, share: float) -> None:
    for seed in range(4):
        world = World.of(seed, noise)
        found = world.search(share * float(world.seconds.min()), Conditions(noise=noise))
        assert (found.found, found.index) == ("nothing fits", None)
        assert len(found.taken.measured) > 8, "the likely fastest network was not read"


def test_a_clock_that_is_known_not_to_round_is_not_guessed() -> None:
    accuracy, measured, read = np.array([3.0, 2.0, 1.0, 0.0]), np.array([1, 2, 3]), np.full(3, 0.04)
    belief = Normal(np.array([8e-5, 0.04, 0.04, 0.04]), np.full(4, 0.01))
    told = (Conditions(noise=0.0, step_s=step_s) for step_s in (None, 0.0))
    guessed, known = (decide(accuracy, 4e-5, belief, c.readings(measured, read, 4), 3, c.rules) for c in told)
    assert guessed.promise > 0.9 and known.promise < 0.1


def test_equal_readings_of_a_clock_that_rounds_are_not_exact() -> None:
    measured, seconds = np.array([0, 0, 1, 2]), np.array([5e-3, 5e-3, 6e-3, 7e-3])
    assert noise_of(measured, seconds, None) == NOISE
    assert noise_of(measured, seconds * 1.0001234567, None) == 0.0


@pytest.mark.parametrize("noise", [0.0, 0.03, 0.05])
def test_the_time_of_the_fastest_network_is_a_budget_that_can_be_kept(noise: float) -> None:
    for seed in range(6):
        world = World.of(seed, noise)
        found = world.search(float(world.seconds.min()), Conditions(noise=noise))
        assert found.found != "nothing fits"
        if noise == 0 and found.index is not None:
            assert found.index == int(np.argmin(world.seconds))


@pytest.mark.parametrize("told", [True, False])
def test_noise_does_not_break_budgets(told: bool) -> None:
    broken = returned = 0
    for seed in range(40):
        world = World.of(seed, 0.03)
        limit = float(np.quantile(world.seconds, 0.1 + 0.02 * seed))
        found = world.search(limit, Conditions(noise=0.03 if told else None))
        if found.index is not None:
            returned += 1
            broken += world.seconds[found.index] > limit
    assert returned >= 36
    assert broken <= 2


def test_a_whole_class_of_networks_that_the_belief_does_not_know_is_no_false_nothing_fits() -> None:
    # A runtime drops networks without effect: the least accurate tenth takes a thousandth of what is believed, and none
    # of them is among the first readings.
    world = World.of(3)
    empty = np.argsort(world.accuracy)[:24]
    world.seconds[empty] *= 1e-3 * np.exp(0.2 * np.random.default_rng(0).standard_normal(24))
    world.accuracy[empty] = 10.0
    first = np.setdiff1d(np.arange(len(world.seconds)), empty)[::25]
    fastest, taken = float(world.seconds.min()), Taken(first, world.seconds[first])
    found = [
        search(world.accuracy, share * fastest, world.adapt, world.measure, taken, Conditions(noise=0.0))
        for share in (1.0, 0.1)
    ]
    assert all(np.isin(outcome.taken.measured, empty).any() for outcome in found)
    assert [outcome.found == "nothing fits" for outcome in found] == [False, True]


def test_the_noise_is_told_or_found_out() -> None:
    same = np.array([0, 0, 1]), np.array([1.0, 1.0, 2.0])
    assert noise_of(*same, 0.02) == 0.02
    assert noise_of(*same, None) == 0.0
    assert noise_of(np.array([0, 1]), np.array([1.0, 2.0]), None) == NOISE
    rng = np.random.default_rng(0)
    many = np.repeat(np.arange(20), 10)
    read = (1.0 + many) * np.exp(0.08 * rng.standard_normal(len(many)))
    assert noise_of(many, np.asarray(read, np.float64), None) == pytest.approx(0.08, rel=0.15)


def test_a_stopped_loop_goes_on_from_its_readings() -> None:
    world = World.of(5)
    limit = float(np.quantile(world.seconds, 0.3))
    whole = world.search(limit, Conditions(noise=0.0))
    half = 8 + (len(whole.taken.measured) - 8) // 2
    rest = search(
        world.accuracy,
        limit,
        world.adapt,
        world.measure,
        Taken(whole.taken.measured[:half], whole.taken.seconds[:half]),
        Conditions(measurements=10 - (half - 8), noise=0.0),
    )
    assert len(whole.taken.measured) > half
    assert rest.index == whole.index
    assert np.array_equal(rest.taken.measured, whole.taken.measured)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"limit_s": 0.0}, "a budget of 0.0 s"),
        ({"taken": Taken(np.array([0, 9]), np.array([1.0, 2.0]))}, "candidate 9"),
        ({"taken": Taken(np.array([0, 1]), np.array([1.0]))}, "1 readings of 2 candidates"),
        ({"taken": Taken(np.array([0, 1]), np.array([1.0, -1.0]))}, "a reading took -1.0 s"),
        ({"accuracy": np.array([60.0, np.nan])}, "finite"),
    ],
)
def test_what_cannot_be_is_refused(change: dict[str, object], message: str) -> None:
    right: dict[str, object] = {
        "accuracy": np.array([60.0, 70.0]),
        "limit_s": 1.0,
        "adapt": lambda *_: Normal(np.ones(2), np.ones(2)),
        "measure": lambda _: 1.0,
        "taken": Taken(np.array([0, 1]), np.array([1.0, 2.0])),
        "conditions": Conditions(),
    }
    with pytest.raises(ValueError, match=message):
        search(**{**right, **change})


def test_the_step_of_a_clock_is_told_or_found_out() -> None:
    measured, seconds = np.arange(4), np.array([0.005, 0.007, 0.009, 0.012])
    assert Conditions(noise=0.0).readings(measured, seconds, 5).step_s == rounding_step(seconds) == pytest.approx(1e-3)
    assert Conditions(noise=0.0, step_s=0.0).readings(measured, seconds, 5).step_s == 0.0


@pytest.mark.parametrize("wrong", [{"measurements": -1}, {"noise": -0.1}])
def test_conditions_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        Conditions(**wrong)
