"""The laws of latency models, for every entry of LATENCY_MODELS, and what ours promise beside them."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hardware_profiles import DeviceProfile, Quantity, Target, load
from latency_models import LATENCY_MODELS
from latency_models.features import FEATURES
from latency_models.kernels import KernelTable, distinct_of_space
from latency_models.roofline import Roofline
from latency_models.table import LatencyTable, save_table
from latency_models.tabular import Tabular
from nas.testing import Law, laws_of
from nas.testing.latency_cases import FITTED, fitted, measured
from nas.testing.small import TARGET, genomes, networks, space

NETWORKS = list(networks())
KERNELS = distinct_of_space(space(), load("rpi4b").fusions)


def kind(name: str) -> Any:
    """The class of a registered model."""
    module, attribute = LATENCY_MODELS[name].split(":")
    return getattr(importlib.import_module(module), attribute)


def build(name: str, device: str | DeviceProfile = "rpi4b", **changes: Any) -> Any:
    """An uncalibrated model of the registry; one that looks kernels up has a table of invented ones."""
    profile = load(device) if isinstance(device, str) else device
    target = Target(**{"device": profile.id, "runner": "onnxruntime", "threads": 4, **changes})
    if "table" not in inspect.signature(kind(name)).parameters:
        return kind(name)(profile, target)
    return kind(name).of_table(profile, target, KernelTable.build(KERNELS, Roofline(profile, target).body_s))


@pytest.fixture(params=sorted(FEATURES))
def name(request: pytest.FixtureRequest) -> str:
    """Each model that is fitted to features, in turn."""
    return str(request.param)


@pytest.fixture(params=sorted(LATENCY_MODELS))
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """What makes a model of the registry from a profile and a target; tables are files."""
    name = request.param
    if name == "table":
        return partial(Tabular, latencies=str(written(tmp_path / "latencies.npz")))
    if "table" not in inspect.signature(kind(name)).parameters:
        return kind(name)
    KernelTable.build(KERNELS, Roofline(load("rpi4b"), TARGET).body_s).save(tmp_path / "kernels.npz")
    return partial(kind(name), table=str(tmp_path / "kernels.npz"))


@pytest.fixture(params=["uncalibrated", "calibrated"])
def model(request: pytest.FixtureRequest, name: str) -> Any:
    """Each model before and after ten measurements."""
    bare = build(name)
    return bare if request.param == "uncalibrated" else fitted(bare)


def written(path: Path) -> Path:
    """A latency table of the reference networks, as a roofline prices them."""
    cumulative_s = Roofline(load("rpi4b"), TARGET).predict(NETWORKS).cumulative_s()
    total_s = np.nanmax(cumulative_s, axis=1, keepdims=True)
    early_s = np.where(cumulative_s < total_s, cumulative_s, np.nan)[:, None, :-1]
    save_table(path, LatencyTable(total_s, (TARGET.device,), np.asarray(genomes()), early_s=early_s))
    return path


@pytest.mark.parametrize("law", laws_of("latency model"), ids=str)
def test_it_keeps(law: Law[Any], make: Any) -> None:
    law(make)


def test_body_call_and_decision_make_up_the_total(model: Any) -> None:
    exits = np.array([len(network.exits) for network in NETWORKS])
    assert max(exits) > 1, "the sample has no network with exits"
    total = model.body_s(NETWORKS) + exits * model.call_s + (exits - 1) * model.decision_s
    np.testing.assert_allclose(model.predict(NETWORKS).total_s, total, rtol=1e-12)
    assert model.body_s([]).shape == (0,)


def test_a_stored_model_names_its_machine_and_holds_no_pickle(model: Any, tmp_path: Path) -> None:
    model.save(tmp_path / "model.npz")
    with np.load(tmp_path / "model.npz", allow_pickle=False) as stored:
        assert all(stored[name].dtype != object for name in stored.files)
    assert type(model).load(tmp_path / "model.npz").calibration.machine == model.calibration.machine


def test_a_stored_calibration_loads_whatever_was_imported(model: Any, tmp_path: Path) -> None:
    """It loaded only after the module of its model had been imported."""
    model.save(tmp_path / "model.npz")
    program = (
        "import sys; from latency_models.calibration import Calibration; "
        "print(Calibration.load(sys.argv[1]).networks, 'latency_models.lookup' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "model.npz")], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(model.error.networks), "False"]


def test_the_feature_sets_are_a_literal() -> None:
    assert set(FEATURES) == set(LATENCY_MODELS) - {"table"}
    with pytest.raises(TypeError):
        FEATURES["mine"] = FEATURES["flops"]


def test_the_batch_costs_but_less_than_its_size(name: str) -> None:
    one, eight = (build(name, batch=batch).predict(NETWORKS).total_s for batch in (1, 8))
    assert (eight > one).all() and (eight <= 8 * one).all()


def test_an_error_learnt_from_few_networks_widens_the_interval(name: str) -> None:
    bare = build(name)
    few = bare.fit(NETWORKS[:5], measured(bare)[:5]).predict(NETWORKS)
    half = few.quantile_s(0.95) - few.total_s
    assert (half > 1.9 * few.total_std_s).all(), "Student's t with 4 degrees of freedom is 2.13"


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
    slow, quick = (build(name, device).predict(NETWORKS).cumulative_s() for device in (profile, fast))
    there = np.isfinite(slow)
    assert (quick[there] < slow[there]).all()


def test_measuring_shrinks_the_error(name: str) -> None:
    """The law asks for half of this."""
    bare = build(name)
    truth = 3.0 * bare.predict(NETWORKS).total_s[FITTED:]
    found = fitted(bare).predict(NETWORKS[FITTED:])
    assert np.abs(found.total_s / truth - 1).mean() < 0.05
    assert (found.total_std_s < 0.1 * found.total_s).all()


def test_a_calibration_of_another_target_or_model_is_refused(name: str, tmp_path: Path) -> None:
    model = build(name)
    with pytest.raises(ValueError, match=r"the calibration is for rpi4b-onnxruntime-t4.* not for rpi4b-tvm"):
        type(model)(load("rpi4b"), Target("rpi4b", "tvm"), model.calibration)
    other = build(next(other for other in FEATURES if other != name))
    with pytest.raises(ValueError, match=f"is of latency model '{other.name}', not of '{name}'"):
        type(model)(load("rpi4b"), model.target, other.calibration)
    other.save(tmp_path / "other.npz")
    with pytest.raises(ValueError, match=f"is of latency model '{other.name}', not of '{name}'"):
        type(model).load(tmp_path / "other.npz")
    with pytest.raises(ValueError, match=r"needs a device profile .*or a calibration"):
        type(model)(None, model.target)
