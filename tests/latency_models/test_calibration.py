"""Calibration on invented measurements whose coefficients are known."""

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hardware_profiles import Target, load
from latency_models.base import Floats
from latency_models.calibration import Calibration, correct, features_of, uncalibrated
from latency_models.features import CALLS, DECISIONS, FEATURES, KERNELS
from latency_models.linear import FLOOR_OF_PRIOR, Rows, fit, predict, unmeasured
from latency_models.roofline import Roofline
from search_spaces.ir import Network
from search_spaces.mobile import mobile
from search_spaces.passes import OP_CLASSES
from search_spaces.slots import random_genomes

TARGET = Target("rpi4b", "onnxruntime", threads=4)
PROFILE = load("rpi4b")
SPACE = mobile((3, 32, 32), 10)
NETWORKS = [SPACE.decode(genome) for genome in random_genomes(SPACE, 60, np.random.default_rng(3))]
BARE = uncalibrated(FEATURES["roofline"], PROFILE, TARGET)
FACTORS = {"conv": 2.0, "pointwise": 1.5, "depthwise": 4.0, "dense": 3.0, "pool": 2.5, "elementwise": 3.5}
TRUTH = {**BARE.coefficients, **FACTORS, KERNELS: 6e-6, CALLS: 40e-6, DECISIONS: 50e-6}


def reach(networks: list[Network], noise: float = 0.0, seed: int = 0) -> Floats:
    """Seconds up to each exit under TRUTH, with relative noise common to a network."""
    rng = np.random.default_rng(seed)
    coefficients = np.array([TRUTH[name] for name in FEATURES["roofline"].columns])
    seconds = np.full((len(networks), max(len(network.exits) for network in networks)), np.nan)
    for row, network in enumerate(networks):
        values = np.cumsum(features_of(BARE, network) @ coefficients)
        seconds[row, : len(values)] = values * (1 + noise * rng.standard_normal())
    return seconds


def test_known_coefficients_are_recovered() -> None:
    found = correct(BARE, NETWORKS, reach(NETWORKS)).coefficients
    for name in ("conv", "pointwise", "depthwise", "pool"):
        assert found[name] == pytest.approx(TRUTH[name], rel=0.03), name
    for name in ("dense", "elementwise", KERNELS, CALLS, DECISIONS):
        assert found[name] == pytest.approx(TRUTH[name], rel=0.5), name


def test_ten_networks_predict_the_others() -> None:
    model = Roofline(None, TARGET, correct(BARE, NETWORKS[:10], reach(NETWORKS[:10], 0.03)))
    prediction, truth = model.predict(NETWORKS[10:]), reach(NETWORKS[10:])
    error = prediction.total_s / np.nanmax(truth, axis=1) - 1
    assert np.abs(error).mean() < 0.04
    # The stated error is the real one within a factor of two.
    z = (prediction.total_s - np.nanmax(truth, axis=1)) / prediction.total_std_s
    assert 0.25 < np.sqrt((z**2).mean()) < 2


def test_the_stated_noise_is_the_noise_of_the_measurements() -> None:
    for noise in (0.02, 0.1):
        assert correct(BARE, NETWORKS, reach(NETWORKS, noise)).fit.noise == pytest.approx(noise, rel=0.5)


def test_classes_never_seen_keep_the_prior_times_the_common_factor() -> None:
    prior = FEATURES["roofline"].prior(BARE.machine)
    matrix = np.concatenate([features_of(BARE, network) for network in NETWORKS])
    unseen = np.flatnonzero(matrix.sum(axis=0)[: len(OP_CLASSES)] == 0)
    assert unseen.size
    of_the_sheet = Roofline(None, TARGET, replace(BARE, fit=unmeasured(prior)))
    fitted = correct(BARE, NETWORKS, 5 * of_the_sheet.predict(NETWORKS).cumulative_s())
    np.testing.assert_allclose(fitted.fit.coefficients[unseen], 5 * prior.mean[unseen], rtol=0.1)
    without = correct(BARE, NETWORKS, of_the_sheet.predict(NETWORKS).cumulative_s())
    np.testing.assert_allclose(without.fit.coefficients, prior.mean, rtol=0.02, atol=1e-12)


def test_every_coefficient_stays_positive() -> None:
    # Seconds that have nothing to do with the networks.
    nonsense = np.random.default_rng(0).lognormal(-5, 1, (20, 1))
    fitted = correct(BARE, NETWORKS[:20], nonsense)
    prior = FEATURES["roofline"].prior(BARE.machine)
    assert (fitted.fit.coefficients >= 0.99 * FLOOR_OF_PRIOR * prior.mean).all()
    assert (fitted.fit.coefficients[prior.mean > 0] > 0).all() and (fitted.fit.coefficients >= 0).all()
    assert fitted.fit.noise > 0.2, "a fit to nonsense must admit a large error"


@pytest.mark.parametrize("count", [1, 2, 3])
def test_very_few_measurements_are_enough_to_start(count: int) -> None:
    fitted = correct(BARE, NETWORKS[:count], reach(NETWORKS[:count]))
    prediction = predict([features_of(fitted, network) for network in NETWORKS], fitted.fit)
    truth = np.nanmax(reach(NETWORKS), axis=1)
    assert np.abs(prediction.total_s / truth - 1).mean() < 0.25
    assert np.isfinite(prediction.covariance).all()


def test_more_measurements_mean_a_smaller_error() -> None:
    errors = []
    for count in (0, 5, 40):
        fitted = correct(BARE, NETWORKS[:count], reach(NETWORKS[:count], 0.03) if count else [])
        # The noise of a single measurement stays; what the coefficients contribute shrinks.
        certain = replace(fitted.fit, noise=0.0)
        prediction = predict([features_of(fitted, network) for network in NETWORKS[40:]], certain)
        errors.append((prediction.total_std_s / prediction.total_s).mean())
    assert errors[0] > 3 * errors[1] and errors[1] > 1.5 * errors[2]


def test_a_correction_pulls_towards_the_new_measurement() -> None:
    fitted = correct(BARE, NETWORKS[:10], reach(NETWORKS[:10], 0.02))
    slow = 1.3 * reach(NETWORKS[20:21])

    def total(calibration: Calibration) -> float:
        return float(predict([features_of(calibration, NETWORKS[20])], calibration.fit).total_s[0])

    corrected, heavy = (total(correct(fitted, NETWORKS[20:21], slow, weight)) for weight in (1.0, 10.0))
    assert total(fitted) < corrected < heavy <= 1.3 * total(fitted)
    assert correct(fitted, NETWORKS[20:21], slow).networks == 11


def test_exits_that_were_not_measured_may_be_missing() -> None:
    seconds = reach(NETWORKS)
    seconds[np.arange(len(seconds)), [len(network.exits) - 1 for network in NETWORKS]] = np.nan
    rows = [i for i, network in enumerate(NETWORKS) if len(network.exits) > 1]
    fitted = correct(BARE, [NETWORKS[i] for i in rows], seconds[rows])
    assert fitted.networks == len(rows) and len(fitted.rows.seconds) == np.isfinite(seconds[rows]).sum()


@pytest.mark.parametrize("seconds", [[-1.0], [0.0], [np.nan], [1.0] * 9])
def test_seconds_that_do_not_fit_are_refused(seconds: list[float]) -> None:
    with pytest.raises(ValueError, match="do not fit a network with"):
        correct(BARE, NETWORKS[:1], [seconds])


def test_networks_and_seconds_must_match() -> None:
    with pytest.raises(ValueError, match="2 networks, but seconds for 1"):
        correct(BARE, NETWORKS[:2], [[1.0]])


def test_storing_works_in_memory_and_refuses_foreign_files(tmp_path: Path) -> None:
    fitted = correct(BARE, NETWORKS[:5], reach(NETWORKS[:5]))
    buffer = io.BytesIO()
    fitted.save(buffer)
    buffer.seek(0)
    again = Calibration.load(buffer)
    np.testing.assert_array_equal(again.fit.coefficients, fitted.fit.coefficients)
    np.testing.assert_array_equal(again.rows.features, fitted.rows.features)
    assert (again.target, again.machine, again.model) == (fitted.target, fitted.machine, fitted.model)

    text = tmp_path / "text.npz"
    text.write_text("not a model")
    foreign = tmp_path / "foreign.npz"
    np.savez(foreign, a=np.zeros(1))
    pickled = tmp_path / "pickled.npz"
    np.savez(pickled, header=np.array([{}], object))
    for path in (text, foreign, pickled, tmp_path / "missing.npz"):
        with pytest.raises(ValueError, match=f"{path}: is not a stored latency model"):
            Calibration.load(path)
    newer = tmp_path / "newer.npz"
    np.savez(newer, header=np.array(json.dumps({"schema": 99})))
    with pytest.raises(ValueError, match="schema 99; this release reads 1 and 2"):
        Calibration.load(newer)


def test_stored_bytes_do_not_depend_on_the_time() -> None:
    first, second = io.BytesIO(), io.BytesIO()
    BARE.save(first)
    BARE.save(second)
    assert first.getvalue() == second.getvalue()


def test_a_fit_to_nothing_is_the_prior() -> None:
    prior = FEATURES["roofline"].prior(BARE.machine)
    empty = Rows(np.zeros((0, len(prior.mean))), np.zeros(0), np.zeros(0, np.intp), np.zeros(0))
    np.testing.assert_array_equal(fit(empty, prior).coefficients, unmeasured(prior).coefficients)
    assert correct(BARE, [], []) is BARE
