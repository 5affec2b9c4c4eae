"""Few-shot transfer on invented devices whose latencies are known, and on the shipped table."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latency_models import metrics
from latency_models.few_shot import LatencyPosterior, learn
from latency_models.few_shot.additive import costs, total
from latency_models.few_shot.encoding import encode
from latency_models.few_shot.posterior import BROKEN_STD, farther
from latency_models.few_shot.regression import SETTINGS, fit
from latency_models.few_shot.sources import distance
from latency_models.table import nb201
from tests.latency_models.invented_devices import COUNTS, OPS, POOL, SOURCES, TARGET, candidates, chosen, device, prior


def test_ten_networks_tell_a_device_that_adds_up() -> None:
    index = chosen()
    belief = prior().adapt(candidates(), index, TARGET[index])
    rest = np.setdiff1d(np.arange(len(OPS)), index)
    assert metrics.spearman(belief.mean_s[rest], TARGET[rest]) > 0.99
    assert metrics.within(belief.mean_s[rest], TARGET[rest], 0.05) > 0.95


def test_intervals_hold() -> None:
    shares = []
    for seed in range(8):
        target, index = device([0.3, 0.4, 1.0, 5.0], 0.05, 50 + seed), chosen(12, seed)
        belief = prior().adapt(candidates(), index, target[index])
        rest = np.setdiff1d(np.arange(len(OPS)), index)
        shares.append(metrics.coverage(belief.quantile_s(0.05)[rest], belief.quantile_s(0.95)[rest], target[rest]))
    assert 0.8 < np.mean(shares) < 0.99


def test_a_broken_reading_does_no_harm() -> None:
    index = chosen()
    seconds = TARGET[index].copy()
    seconds[3] *= 6
    belief = prior().adapt(candidates(), index, seconds)
    rest = np.setdiff1d(np.arange(len(OPS)), index)
    assert metrics.within(belief.mean_s[rest], TARGET[rest]) > 0.95


def test_a_network_that_was_read_is_known_to_its_noise() -> None:
    index = chosen()
    noisy = device([0.3, 0.4, 1.0, 5.0], 0.2, 9)
    belief = prior().adapt(candidates(), index, noisy[index], noise=0.01)
    np.testing.assert_allclose(belief.mean_s[index], noisy[index], rtol=0.02)
    width = np.log(belief.quantile_s(0.95) / belief.quantile_s(0.05))
    assert width[index].max() < 0.06 < np.delete(width, index).min()


def test_repeated_readings_are_put_together() -> None:
    index = np.append(chosen(), [5, 5, 5, 5])
    seconds = np.append(TARGET[chosen()], TARGET[5] * np.array([0.9, 1.1, 0.95, 1.05]))
    once = prior().adapt(candidates(), np.append(chosen(), 5), np.append(TARGET[chosen()], TARGET[5]), noise=0.1)
    often = prior().adapt(candidates(), index, seconds, noise=0.1)
    assert often.mean_s[5] == pytest.approx(TARGET[5], rel=0.05)
    assert often.above[5] < once.above[5]


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 30), st.floats(1e-6, 1e6), st.integers(0, 1000))
def test_seconds_scale_with_the_readings(count: int, scale: float, seed: int) -> None:
    """A device a thousand times slower is a thousand times slower, and nothing else changes."""
    index, seconds = chosen(count, seed), device([0.3, 0.4, 1.0, 5.0], 0.01, 7)
    one = prior().adapt(candidates(), index, seconds[index], noise=0.01)
    other = prior().adapt(candidates(), index, seconds[index] * scale, noise=0.01)
    np.testing.assert_allclose(other.mean_s, one.mean_s * scale, rtol=1e-6)
    for belief in (one, other):
        low, high = belief.quantile_s(0.001), belief.quantile_s(0.999)
        assert np.all(np.isfinite(high)) and np.all(low > 0)
        assert np.all(low < belief.mean_s) and np.all(belief.mean_s < high)


@settings(max_examples=25, deadline=None)
@given(st.floats(0.001, 0.999), st.floats(1e-3, 2.0), st.floats(1e-3, 2.0), st.sampled_from([0.0, 0.02, 0.3]))
def test_the_probability_below_a_quantile_is_its_own(q: float, below: float, above: float, broken: float) -> None:
    belief = LatencyPosterior(
        np.array([0.01, 3.0]), np.array([below, above]), np.array([above, below]), np.array([broken, 0.0])
    )
    quantile = belief.quantile_s(q)
    for i in range(2):
        assert belief.probability_within(float(quantile[i]))[i] == pytest.approx(q, abs=0.01)


def test_broken_networks_widen_the_tails() -> None:
    scale = np.array([0.01, 0.1])
    assert np.all(farther(scale, 0.2, 0.05) > farther(scale, 0.0, 0.05))
    assert np.all(farther(scale, 0.2, 0.05) < 2 * BROKEN_STD)


def test_sums_over_broken_readings_are_exact() -> None:
    """Two readings, one setting: by hand, over all of the ways in which at most one is broken."""
    from latency_models.few_shot import regression

    rows = candidates().rows(np.array([1, 2]))
    seconds = rows.expected * np.array([1.0, 1.3])
    prior_of = np.full(len(SETTINGS), -np.inf)
    at = SETTINGS.index((0.05, 1.0, 1.0))
    prior_of[at] = 0.0
    with np.errstate(invalid="ignore"):
        found = fit(candidates(), rows, seconds, np.zeros(2), prior_of)
    scale = np.median(seconds / rows.expected)
    z = seconds / rows.expected / scale - 1
    gram = sum(block @ block.T for block in rows.blocks)
    cross = sum(block @ other.T for block, other in zip(candidates().blocks, rows.blocks, strict=True))
    weights, means = [], []
    for broken in ([0, 0], [1, 0], [0, 1]):
        covariance = gram + np.diag(0.05**2 + BROKEN_STD**2 * np.array(broken))
        log = -0.5 * z @ np.linalg.solve(covariance, z) - 0.5 * np.linalg.slogdet(covariance)[1]
        weights.append(np.exp(log) * np.prod(np.where(broken, regression.BROKEN, 1 - regression.BROKEN)))
        means.append(cross @ np.linalg.solve(covariance, z))
    mean = np.average(means, axis=0, weights=weights)
    np.testing.assert_allclose(found.seconds, candidates().expected * scale * (1 + mean), rtol=1e-9)
    assert found.evidence[at] == pytest.approx(np.log(np.sum(weights)), abs=1e-9)


def test_one_source_is_enough() -> None:
    one = learn(OPS[:POOL], SOURCES[:POOL, :1])
    index = chosen()
    belief = one.adapt(one.candidates(OPS), index, TARGET[index])
    assert metrics.spearman(belief.mean_s, TARGET) > 0.97


def test_missing_and_broken_source_readings() -> None:
    rng = np.random.default_rng(4)
    known = SOURCES[:POOL].copy()
    known[rng.random(known.shape) < 0.3] = np.nan
    known[rng.random(known.shape) < 0.03] *= 20
    found = learn(OPS[:POOL], known)
    index = chosen()
    belief = found.adapt(found.candidates(OPS), index, TARGET[index])
    assert metrics.spearman(belief.mean_s, TARGET) > 0.98


def test_constant_columns_and_operators_unseen_in_the_pool() -> None:
    ops = np.column_stack([OPS, np.full(len(OPS), 3)])
    found = learn(ops[:POOL], SOURCES[:POOL])
    ops[-1, 0] = 17
    belief = found.adapt(found.candidates(ops), chosen(), TARGET[chosen()])
    assert np.all(np.isfinite(belief.mean_s)) and belief.mean_s.min() > 0
    assert metrics.spearman(belief.mean_s[:-1], TARGET[:-1]) > 0.99


def test_features_in_place_of_an_encoding() -> None:
    features = np.column_stack([COUNTS * [1e-5, 2e-5, 9e-5, 5e-4], np.zeros(len(OPS)), np.full(len(OPS), 1e-4)])
    found = learn(features[:POOL], SOURCES[:POOL])
    index = chosen()
    belief = found.adapt(found.candidates(features), index, TARGET[index])
    assert metrics.spearman(belief.mean_s, TARGET) > 0.98


def test_costs_of_columns_are_recovered() -> None:
    encoding = encode(OPS)
    columns = encoding.columns(OPS)
    truth = device([0.3, 0.4, 1.0, 5.0]) / np.median(TARGET)
    broken = truth.copy()
    broken[::15] *= 3
    found = total(columns, costs(encoding, columns, broken))
    np.testing.assert_allclose(found, truth, rtol=0.02)


def test_positions_with_the_same_alphabet_share_groups() -> None:
    encoding = encode(np.array([[0, 3, 1], [1, 5, 0], [0, 7, 1]]))
    assert encoding.groups == 5
    np.testing.assert_array_equal(encoding.group, [0, 1, 2, 3, 4, 0, 1])


def test_proportional_devices_are_not_apart() -> None:
    one = np.exp(np.random.default_rng(0).standard_normal(500))
    other = np.exp(np.random.default_rng(1).standard_normal(500))
    apart = distance(np.stack([one, 7 * one, other], axis=1))
    assert apart[0, 1] == pytest.approx(0, abs=1e-6)
    assert 1.2 < apart[0, 2] < 1.6


def test_a_device_left_out_of_helps_training_devices() -> None:
    """One of the devices that settings were chosen on; six others were kept for judging."""
    table = nb201()
    known = ["1080ti_1", "1080ti_32", "samsung_s7", "pixel3"]
    found = learn(table.ops[:900], table.columns(known)[:900])
    rows = table.ops[:3000]
    measured = table.column("silver_4210r")[:3000]
    index = np.random.default_rng(0).choice(900, 10, replace=False)
    belief = found.adapt(found.candidates(rows), index, measured[index])
    assert metrics.spearman(belief.mean_s[900:], measured[900:]) > 0.97


def test_a_value_that_the_pool_never_had_costs_what_its_position_costs_on_average() -> None:
    encoding = encode(np.array([[0, 1], [1, 0], [2, 1]]))
    columns = encoding.columns(np.array([[3, 1], [0, 0]]))
    np.testing.assert_allclose(columns[0], [1 / 3, 1 / 3, 1 / 3, 0, 1])
    assert columns[1].sum() == 2
