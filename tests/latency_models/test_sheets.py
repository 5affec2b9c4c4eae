"""Devices and operators that were never measured: how far sheets are off, and what that does to predictions."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hardware_profiles import HOST, DeviceProfile, Target, load
from latency_models.base import Floats
from latency_models.calibration import Calibration, correct, features_of, uncalibrated
from latency_models.features import FEATURES
from latency_models.flops import Flops
from latency_models.linear import predict, unmeasured
from latency_models.roofline import LinearModel, Roofline
from latency_models.sheets import ANY, SheetError, device_class, sheet_error, table
from search_spaces.ir import Builder, Network
from search_spaces.mobile import mobile
from search_spaces.op import Ref
from search_spaces.slots import random_genomes

SPACE = mobile((3, 32, 32), 10)
NETWORKS = [SPACE.decode(genome) for genome in random_genomes(SPACE, 20, np.random.default_rng(3))]
MODELS: list[type[LinearModel]] = [Roofline, Flops]
#: A device of each class with a row of its own.
DEVICES = {"rpi4b": "arm cpu", "xeon_gold_6226": "x86 cpu", "jetson_orin_nano_8gb": "gpu"}


def of_the_sheet(model: LinearModel) -> Calibration:
    """The model as its profile has it, not corrected."""
    calibration = model.calibration
    return replace(calibration, fit=unmeasured(calibration.features.prior(calibration.machine)))


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("device", DEVICES)
def test_a_device_that_was_never_measured_is_corrected_and_uncertain(kind: type[LinearModel], device: str) -> None:
    model = kind(load(device), Target(device, "onnxruntime"))
    sheet = table()[model.name][DEVICES[device]]
    assert model.error.networks == 0 and model.error.devices == sheet.devices >= 3
    assert model.error.relative == pytest.approx(sheet.relative)
    found, raw = model.predict(NETWORKS), kind(None, model.target, of_the_sheet(model)).predict(NETWORKS)
    np.testing.assert_allclose(found.segment_s, sheet.median * raw.segment_s, rtol=1e-12)
    # One factor is in doubt, the same to every exit.
    np.testing.assert_allclose(found.cumulative_std_s(), sheet.relative * found.cumulative_s(), rtol=1e-9)
    factor = found.quantile_s(0.95) / found.quantile_s(0.5)
    np.testing.assert_allclose(found.quantile_s(0.5) / found.quantile_s(0.05), factor, rtol=1e-9)
    assert (factor > 1.25).all(), "wider than what was allowed for before"
    assert (factor >= math.exp(1.64 * sheet.log_std)).all()
    middle = float(found.total_s[0])
    assert found.probability_within(middle)[0] == pytest.approx(0.5)
    assert 0.05 < found.probability_within(middle / sheet.median)[0] + 0.05 < 0.5, "the sheet itself is unlikely"


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize(
    "measured", [{"id": HOST}, {"id": "mine", "machine": {"cpu": "one"}}], ids=["host", "profiled"]
)
def test_profiles_that_were_measured_are_not_corrected(kind: type[LinearModel], measured: dict[str, Any]) -> None:
    profile: DeviceProfile = replace(load("rpi4b"), **measured)
    model = kind(profile, Target(profile.id, "onnxruntime"))
    assert model.error.devices == 0
    raw = kind(None, model.target, of_the_sheet(model)).predict(NETWORKS)
    np.testing.assert_array_equal(model.predict(NETWORKS).segment_s, raw.segment_s)


@pytest.mark.parametrize("count", [1, 2, 3, 10])
@pytest.mark.parametrize("device", DEVICES)
def test_readings_count_the_bias_once(device: str, count: int) -> None:
    """A fit is to the sheet itself: readings have its bias in them already."""
    bare = uncalibrated(FEATURES["roofline"], load(device), Target(device, "onnxruntime"))
    rng = np.random.default_rng(count)
    seconds = 3 * predict([features_of(bare, network) for network in NETWORKS], bare.fit).cumulative_s()
    seconds *= rng.lognormal(0, 0.02, (len(seconds), 1))
    told = correct(bare, NETWORKS[:count], seconds[:count])
    without = correct(replace(bare, sheet=None), NETWORKS[:count], seconds[:count])
    np.testing.assert_array_equal(told.fit.coefficients, without.fit.coefficients)
    assert (told.networks, told.devices) == (count, 0)


@pytest.mark.parametrize("more", [{"threads": 4}, {"dtype": "int8"}])
def test_what_a_sheet_promises_beyond_one_thread_in_float32_is_less_certain(more: dict[str, Any]) -> None:
    one = Roofline(load("rpi4b"), Target("rpi4b", "onnxruntime"))
    other = Roofline(load("rpi4b"), Target("rpi4b", "onnxruntime", **more))
    assert other.error.relative > 1.2 * one.error.relative
    assert (other.predict(NETWORKS).total_s <= one.predict(NETWORKS).total_s).all()


def test_a_class_without_enough_devices_is_believed_to_be_any() -> None:
    card, pi = load("jetson_orin_nano_8gb"), load("rpi4b")
    npu, unknown = replace(card, kind="accelerator"), replace(pi, tvm_target=None)
    for profile in (npu, unknown):
        found = sheet_error("roofline", profile, Target(profile.id, "onnxruntime"))
        assert found == table()["roofline"][ANY]
    wide, *others = (table()["roofline"][name] for name in (ANY, *DEVICES.values()))
    assert all(wide.log_std > other.log_std for other in others)
    assert [device_class(load(name)) for name in DEVICES] == list(DEVICES.values())


def test_another_linear_model_is_not_corrected() -> None:
    features = replace(FEATURES["roofline"], name="mine")
    bare = uncalibrated(features, load("rpi4b"), Target("rpi4b", "onnxruntime"))
    assert bare.sheet is None and bare.devices == 0
    np.testing.assert_array_equal(bare.fit.coefficients, features.prior(bare.machine).mean)


def test_it_is_stored(tmp_path: Path) -> None:
    model = Roofline(load("rpi4b"), Target("rpi4b", "onnxruntime"))
    model.save(tmp_path / "model.npz")
    again = Roofline.load(tmp_path / "model.npz")
    assert again.error == model.error and again.calibration.sheet == model.calibration.sheet


def test_few_devices_widen_the_interval() -> None:
    few, many = (SheetError(2.0, 0.5, 0.5, devices, devices - 1.0) for devices in (3, 30))
    assert few.degrees_of_freedom == pytest.approx(8.0) and many.degrees_of_freedom == pytest.approx(116.0)
    assert SheetError(2.0, 0.0, 0.5, 3, 2.0).degrees_of_freedom == math.inf


# Operators that no measured network had.


def plain(b: Builder, x: Ref, size: int) -> Ref:
    """Convolutions as every network here has them."""
    return b("conv", f"conv{size}", x, filters=size, kernel=3, padding=1)


def pooled(b: Builder, x: Ref) -> Ref:
    for number in range(3):
        x = b("avg_pool", f"pool{number}", x, kernel=3, stride=1, padding=1)
    return x


def depthwise(b: Builder, x: Ref) -> Ref:
    channels = b.shape(x)[0]
    return b("conv", "depthwise", x, filters=channels, kernel=5, padding=2, groups=channels)


def pointwise(b: Builder, x: Ref) -> Ref:
    return b("conv", "pointwise", x, filters=2 * b.shape(x)[0], kernel=1)


def dense(b: Builder, x: Ref) -> Ref:
    flat = b("reshape", "flat", x, shape=(math.prod(b.shape(x)),))
    return b("dense", "dense", flat, units=100)


EXTRAS = {"pool": pooled, "depthwise": depthwise, "pointwise": pointwise, "dense": dense}


def network(sizes: tuple[int, ...], extra: str | None = None) -> Network:
    b = Builder()
    x = b.input("image", (3, 16, 16))
    for size in sizes:
        x = plain(b, x, size)
    return b.network(x if extra is None else EXTRAS[extra](b, x))


def reach(bare: Calibration, asked: list[Network], truth: Floats, rng: np.random.Generator) -> Floats:
    """Readings of networks on a device with these coefficients, with an error of 2 % [n, 1]."""
    totals = [(features_of(bare, each) @ truth).sum() for each in asked]
    return np.asarray(np.array(totals)[:, None] * rng.lognormal(0, 0.02, (len(asked), 1)))


def calibrated(bare: Calibration, known: list[Network], seconds: Floats) -> tuple[Roofline, Roofline]:
    """The model after these readings, with what is believed of operators that they lack and without."""
    told, untold = (correct(each, known, seconds) for each in (bare, replace(bare, sheet=None)))
    return Roofline(None, bare.target, told), Roofline(None, bare.target, untold)


@pytest.mark.parametrize("device", ["rpi4b", "jetson_orin_nano_8gb"])
@pytest.mark.parametrize("extra", EXTRAS)
def test_operators_that_were_never_measured_widen_the_error_by_their_share(extra: str, device: str) -> None:
    bare = uncalibrated(FEATURES["roofline"], load(device), Target(device, "onnxruntime"))
    assert bare.sheet is not None
    known = [network(tuple(4 * n + 8 * layer for layer in range(1 + n % 4))) for n in range(4, 14)]
    asked = network((16, 32), extra)
    features, column = features_of(bare, asked), bare.features.columns.index(extra)
    rng, held, ratios = np.random.default_rng(0), [], []
    for _ in range(60):
        truth = bare.features.prior(bare.machine).mean * rng.lognormal(0.5, 0.3)
        truth[column] *= rng.lognormal(0, bare.sheet.log_std)
        told, untold = calibrated(bare, known, reach(bare, known, truth, rng))
        one, other = told.predict([asked]), untold.predict([asked])
        np.testing.assert_array_equal(one.total_s, other.total_s)
        unknown_s = features[:, column].sum() * told.calibration.fit.coefficients[column]
        assert one.total_std_s >= other.total_std_s and one.total_std_s > 0.99 * bare.sheet.relative * unknown_s
        # Networks as they were measured are as sure as before.
        np.testing.assert_allclose(told.predict(known).total_std_s, untold.predict(known).total_std_s, rtol=0.02)
        ratios.append(float(one.total_std_s[0] / other.total_std_s[0]))
        total_s = (features @ truth).sum()
        held.append([bool(each.quantile_s(0.05) <= total_s <= each.quantile_s(0.95)) for each in (one, other)])
    covered, before = np.mean(held, axis=0)
    assert covered > 0.8 and covered >= before and max(ratios) > 1.5
