"""What every entry of LATENCY_MODELS promises; a new entry is tested by being listed."""

import importlib
import inspect
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hardware_profiles import DeviceProfile, Quantity, Target, load
from latency_models import LATENCY_MODELS, UnpricedOperator
from latency_models.additive import compile as compile_tables
from latency_models.kernels import KernelTable, distinct_of_space
from latency_models.roofline import Roofline
from search_spaces.ir import Builder, Network
from search_spaces.mobile import mobile
from search_spaces.operators import OPERATORS, Operator
from search_spaces.slots import random_genomes

SPACE = mobile((3, 32, 32), 10)
KERNELS = distinct_of_space(SPACE, load("rpi4b").fusions)
NETWORKS = [SPACE.decode(genome) for genome in random_genomes(SPACE, 24, np.random.default_rng(0))]
TARGET = Target("rpi4b", "onnxruntime", threads=4)


def build(name: str, device: str | DeviceProfile = "rpi4b", **changes: Any) -> Any:
    """An uncalibrated model of the registry; one that looks kernels up has a table of invented ones."""
    module, attribute = LATENCY_MODELS[name].split(":")
    made = getattr(importlib.import_module(module), attribute)
    profile = load(device) if isinstance(device, str) else device
    target = Target(**{"device": profile.id, "runner": "onnxruntime", "threads": 4, **changes})
    if "table" not in inspect.signature(made).parameters:
        return made(profile, target)
    return made.of_table(profile, target, KernelTable.build(KERNELS, Roofline(profile, target).body_s))


def measured(model: Any, networks: list[Network], seed: int = 0) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Invented measurements: three times what the model says, with 3 % of noise."""
    noise = np.random.default_rng(seed).normal(1.0, 0.03, (len(networks), 1))
    return np.asarray(3.0 * model.predict(networks).reach_s() * noise)


@pytest.fixture(params=sorted(LATENCY_MODELS))
def name(request: pytest.FixtureRequest) -> str:
    """Each model in turn."""
    return str(request.param)


@pytest.fixture(params=["uncalibrated", "calibrated"])
def model(request: pytest.FixtureRequest, name: str) -> Any:
    """Each model before and after ten measurements."""
    bare = build(name)
    return bare if request.param == "uncalibrated" else bare.fit(NETWORKS[:10], measured(bare, NETWORKS[:10]))


def test_latencies_are_positive_and_finite(model: Any) -> None:
    prediction = model.predict(NETWORKS)
    there = np.isfinite(prediction.segment_s)
    assert (prediction.segment_s[there] > 0).all()
    assert (there.sum(axis=1) == [len(network.exits) for network in NETWORKS]).all()
    assert (prediction.exits == [len(network.exits) for network in NETWORKS]).all()
    assert max(prediction.exits) > 1, "the sample has no network with exits"
    assert np.isfinite(prediction.total_s).all() and np.isfinite(prediction.total_std_s).all()
    assert (prediction.total_std_s > 0).all()


def test_a_later_exit_never_takes_less(model: Any) -> None:
    steps = np.diff(model.predict(NETWORKS).reach_s(), axis=1)
    assert (steps[np.isfinite(steps)] > 0).all()


def test_a_batch_of_networks_is_predicted_like_each_alone(model: Any) -> None:
    together = model.predict(NETWORKS)
    for row, network in enumerate(NETWORKS):
        alone = model.predict([network])
        count = len(network.exits)
        np.testing.assert_allclose(together.segment_s[row, :count], alone.segment_s[0], rtol=1e-12)
        np.testing.assert_allclose(together.covariance[row, :count, :count], alone.covariance[0], rtol=1e-9)


def test_no_networks_are_no_error(model: Any) -> None:
    assert model.predict([]).total_s.shape == (0,)
    assert model.body_s([]).shape == (0,)


def test_covariances_are_symmetric_and_positive_semidefinite(model: Any) -> None:
    covariance = model.predict(NETWORKS).covariance
    np.testing.assert_array_equal(covariance, covariance.transpose(0, 2, 1))
    eigenvalues = np.linalg.eigvalsh(covariance)
    assert (eigenvalues >= -1e-9 * eigenvalues.max(axis=1, keepdims=True)).all()


def test_body_call_and_decision_make_up_the_total(model: Any) -> None:
    exits = np.array([len(network.exits) for network in NETWORKS])
    total = model.body_s(NETWORKS) + exits * model.call_s + (exits - 1) * model.decision_s
    np.testing.assert_allclose(model.predict(NETWORKS).total_s, total, rtol=1e-12)


def test_an_unknown_operator_raises_with_all_names(model: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPERATORS, "fourier", Operator(1, lambda inputs, attrs: inputs[0]))
    b = Builder()
    network = b.network(b("fourier", "stem.fourier", b.input("image", (3, 8, 8))))
    with pytest.raises(UnpricedOperator, match=rf"'stem\.fourier' is of kind 'fourier'.*'{name}'.*{TARGET.key}"):
        model.predict([network])


def test_a_stored_model_predicts_the_same(model: Any, tmp_path: Path) -> None:
    model.save(tmp_path / "latency_model.npz")
    again = type(model).load(tmp_path / "latency_model.npz")
    assert again.target == model.target and again.calibration.machine == model.calibration.machine
    before, after = model.predict(NETWORKS), again.predict(NETWORKS)
    np.testing.assert_array_equal(before.segment_s, after.segment_s)
    np.testing.assert_array_equal(before.covariance, after.covariance)
    more = measured(model, NETWORKS[10:12])
    np.testing.assert_array_equal(
        model.fit(NETWORKS[10:12], more).predict(NETWORKS).segment_s,
        again.fit(NETWORKS[10:12], more).predict(NETWORKS).segment_s,
    )


def test_the_batch_costs_but_less_than_its_size(name: str) -> None:
    one, eight = (build(name, batch=batch).predict(NETWORKS).total_s for batch in (1, 8))
    assert (eight > one).all() and (eight <= 8 * one).all()


def test_the_interval_widens_with_its_level_and_holds_the_prediction(model: Any) -> None:
    prediction = model.predict(NETWORKS)
    low, middle, high, higher = (prediction.total_quantile_s(share) for share in (0.05, 0.5, 0.95, 0.99))
    assert (low >= 0).all() and (low < middle).all() and (middle < high).all() and (high < higher).all()
    np.testing.assert_allclose(middle, prediction.total_s, rtol=1e-9)


def test_an_error_learnt_from_few_networks_widens_the_interval(name: str) -> None:
    bare = build(name)
    few = bare.fit(NETWORKS[:5], measured(bare, NETWORKS[:5])).predict(NETWORKS)
    half = few.total_quantile_s(0.95) - few.total_s
    assert (half > 1.9 * few.total_std_s).all(), "Student's t with 4 degrees of freedom is 2.13"


def test_tables_of_a_space_equal_the_model(model: Any) -> None:
    genomes = random_genomes(SPACE, 24, np.random.default_rng(0))
    np.testing.assert_allclose(compile_tables(SPACE, model).score(genomes), model.predict(NETWORKS).total_s, rtol=1e-9)


def test_nothing_stored_is_a_pickle(model: Any, tmp_path: Path) -> None:
    model.save(tmp_path / "model.npz")
    with np.load(tmp_path / "model.npz", allow_pickle=False) as stored:
        assert all(stored[name].dtype != object for name in stored.files)


def test_a_strictly_faster_device_is_never_slower(name: str) -> None:
    profile = load("rpi4b")

    def faster(quantity: Quantity, factor: float) -> Quantity:
        return replace(quantity, value=factor * quantity.value)

    fast = replace(
        profile,
        peak_flops_per_s={dtype: faster(peak, 3.0) for dtype, peak in profile.peak_flops_per_s.items()},
        bandwidth_bytes_per_s=faster(profile.bandwidth_bytes_per_s, 2.0),
        launch_overhead_s=faster(profile.launch_overhead_s, 0.5),
    )
    slow, quick = (build(name, device).predict(NETWORKS).reach_s() for device in (profile, fast))
    there = np.isfinite(slow)
    assert (quick[there] < slow[there]).all()


def test_measuring_shrinks_the_error(name: str) -> None:
    bare = build(name)
    truth = 3.0 * bare.predict(NETWORKS).total_s
    fitted = bare.fit(NETWORKS[:10], measured(bare, NETWORKS[:10])).predict(NETWORKS[10:])
    error = fitted.total_s / truth[10:] - 1
    assert np.abs(error).mean() < 0.05
    assert (fitted.total_std_s < 0.1 * fitted.total_s).all()


def test_a_calibration_of_another_target_or_model_is_refused(name: str) -> None:
    model = build(name)
    with pytest.raises(ValueError, match=r"the calibration is for rpi4b-onnxruntime-t4.* not for rpi4b-tvm"):
        type(model)(load("rpi4b"), Target("rpi4b", "tvm"), model.calibration)
    other = build(next(other for other in LATENCY_MODELS if other != name))
    with pytest.raises(ValueError, match=f"is of latency model '{other.name}', not of '{name}'"):
        type(model)(load("rpi4b"), model.target, other.calibration)
    with pytest.raises(ValueError, match=r"needs a device profile .*or a calibration"):
        type(model)(None, model.target)
