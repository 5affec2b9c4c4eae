"""Which stored calibrations count as of a device's family, and what a model is told by them."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml

from hardware_profiles import DeviceProfile, Target, load
from hardware_profiles.profile import DTYPES
from latency_models.calibration import Calibration, features_of
from latency_models.features import FEATURES
from latency_models.flops import Flops
from latency_models.roofline import LinearModel, Roofline
from nas.config.component import ComponentSpec
from nas.devices import profiling
from nas.devices.family import MOST, same_family, with_family_prior
from nas.devices.measurement import ExitTime, Measurement
from nas.devices.profile_store import CALIBRATION, READINGS, Head, Reading, Setup, folder_of
from nas.devices.profiling import MODEL
from nas.process.files import append_jsonl
from nas.stages import calibrate
from search_spaces.mobile import mobile
from search_spaces.slots import SearchSpace, random_genomes

SPACE, OTHER = mobile((3, 32, 32), 10), mobile((1, 28, 28), 10)
NEW = replace(load("rpi4b"), id="new")
TARGET = Target("new", "onnxruntime")


def store(
    out: Path, name: str, count: int = 3, space: SearchSpace = SPACE, profile: dict[str, Any] | None = None,
    model: type[LinearModel] = Roofline, slower: float = 2.0, **target: Any,
) -> Calibration:  # fmt: skip
    """What `nas profile` leaves of a device on which every coefficient is so many times that of its profile."""
    device: DeviceProfile = replace(NEW, id=name, **(profile or {}))
    where = replace(TARGET, device=name, **target)
    out.mkdir(exist_ok=True)
    (out / f"{name}.yaml").write_text(yaml.safe_dump(device.to_dict()))
    bare = model(device, where)
    networks = [space.decode(genome) for genome in random_genomes(space, max(count, 1), np.random.default_rng(0))]
    known = [np.cumsum(features_of(bare.calibration, n) @ bare.calibration.fit.coefficients) for n in networks]
    seconds = np.full((len(networks), max(map(len, known))), np.nan)
    for row, values in zip(seconds, known, strict=True):
        row[: len(values)] = slower * values
    found = bare.fit(networks, seconds) if count else bare
    folder = folder_of(out, where, space)
    folder.mkdir(parents=True)
    setup = {**asdict(where), "input_shape": list(space.input_shape)}
    append_jsonl(folder / READINGS, [Head(setup, space.name, "onnxruntime 1.0", device).to_dict()])
    found.save(folder / CALIBRATION)
    return found.calibration


def names(out: Path, target: Target = TARGET, profile: DeviceProfile = NEW) -> list[str]:
    return [found.target.device for found in same_family(profile, target, Roofline, SPACE, (out,))]


def test_other_devices_of_the_family_are_found(tmp_path: Path) -> None:
    store(tmp_path, "cousin")
    store(tmp_path, "sister", 5)
    store(tmp_path, "new")
    store(tmp_path, "stranger", profile={"family": "cortex-a53"})
    store(tmp_path, "card", profile={"kind": "gpu", "core_flops_per_s": None})
    assert names(tmp_path) == ["sister", "cousin"]
    assert names(tmp_path / "nowhere") == []


@pytest.mark.parametrize("other", [{"runner": "tvm"}, {"batch": 2}, {"dtype": "float16"}, {"threads": 2}])
def test_targets_that_are_not_alike_say_nothing_of_each_other(other: dict[str, Any], tmp_path: Path) -> None:
    store(
        tmp_path,
        "cousin",
        profile={"peak_flops_per_s": dict.fromkeys(DTYPES, NEW.peak_flops_per_s["float32"])},
        **other,
    )
    assert names(tmp_path) == []
    assert names(tmp_path, replace(TARGET, **other)) == ["cousin"]


def test_several_threads_are_alike_and_power_modes_too(tmp_path: Path) -> None:
    store(tmp_path, "cousin", threads=4, power_mode="15W")
    assert names(tmp_path, replace(TARGET, threads=2)) == ["cousin"] and names(tmp_path) == []


def test_each_device_counts_once_by_what_is_nearest(tmp_path: Path) -> None:
    many = store(tmp_path, "cousin", 6, OTHER)
    same = store(tmp_path, "cousin", 3, SPACE)
    (found,) = same_family(NEW, TARGET, Roofline, SPACE, (tmp_path,))
    assert found.error.networks == same.networks
    (found,) = same_family(NEW, TARGET, Roofline, mobile((1, 14, 14), 10), (tmp_path,))
    assert found.error.networks == many.networks


def test_there_is_an_end_to_them(tmp_path: Path) -> None:
    for number in range(MOST + 1):
        store(tmp_path, f"cousin{number}", 2 if number == 0 else 3)
    assert len(names(tmp_path)) == MOST and "cousin0" not in names(tmp_path)


def test_what_was_not_measured_or_is_of_another_model_or_damaged_is_left_out(tmp_path: Path) -> None:
    store(tmp_path, "empty", 0)
    store(tmp_path, "other", model=Flops)
    store(tmp_path, "broken")
    next((tmp_path / "broken").rglob(CALIBRATION)).write_bytes(b"nonsense")
    store(tmp_path, "headless")
    next((tmp_path / "headless").rglob(READINGS)).write_text("nonsense\n")
    store(tmp_path, "unreadable")
    (tmp_path / "unreadable.yaml").write_text("schema: 99\n")
    assert names(tmp_path) == []


def test_a_model_is_told_by_same_family_devices(tmp_path: Path) -> None:
    model = Roofline(NEW, TARGET)
    assert with_family_prior(model, NEW, SPACE, (tmp_path,)) is model
    store(tmp_path, "cousin", 10)
    told = with_family_prior(model, NEW, SPACE, (tmp_path,))
    assert told.calibration.same_family == ("cousin-onnxruntime-t1-b1-float32",) and told.target == TARGET
    conv = FEATURES["roofline"].columns.index("conv")
    # The cousin's readings have in them how far sheets are off, which is not counted twice.
    before = model.calibration.fit.coefficients[conv]
    assert told.calibration.fit.coefficients[conv] == pytest.approx(2 * before, rel=0.05)
    networks = [SPACE.decode(genome) for genome in random_genomes(SPACE, 4, np.random.default_rng(1))]
    np.testing.assert_allclose(told.predict(networks).total_s, 2 * model.predict(networks).total_s, rtol=0.1)


def context(said: list[Any]) -> Any:
    """As much of a run's context as the stage asks for a model that nothing was measured for."""
    return SimpleNamespace(
        experiment=SimpleNamespace(latency_model=ComponentSpec("roofline", MODEL, {})),
        profiles={"new": NEW},
        space=SPACE,
        voice=SimpleNamespace(note=said.append),
    )


def test_a_run_begins_with_what_same_family_devices_say_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said: list[Any] = []
    alone = calibrate._uncalibrated(context(said), TARGET)
    assert alone.calibration.prior is None and not said
    store(tmp_path / "hardware_profiles", "cousin", 10)
    told = calibrate._uncalibrated(context(said), TARGET)
    assert told.calibration.same_family == ("cousin-onnxruntime-t1-b1-float32",)
    assert list(map(str, said)) == [
        "new-onnxruntime-t1-b1-float32: same-family devices, believed unless readings speak against them: "
        "cousin-onnxruntime-t1-b1-float32"
    ]


def test_a_profile_is_calibrated_with_same_family_devices_in_its_folder(tmp_path: Path) -> None:
    out = tmp_path / "boards"
    genome = tuple(random_genomes(SPACE, 1, np.random.default_rng(3))[0].tolist())
    network = SPACE.decode(genome)
    seconds = 3 * Roofline(NEW, TARGET).predict([network]).cumulative_s()[0]
    row = Measurement(
        purpose="calibration",
        target=TARGET.key,
        genome=genome,
        key=network.key,
        exits=tuple(ExitTime(s, s) for s in seconds),
    )
    head, setup = Head({}, SPACE.name, "", NEW), Setup(TARGET, "", {}, SPACE.input_shape, 10, 0)
    for there in (False, True):
        if there:
            store(out, "cousin", 10)
            store(out, "new", 10)
        made = profiling._fitted(out, head, setup, SPACE, [Reading(row, True)]).calibration
        assert made.networks == 1
        assert made.same_family == (("cousin-onnxruntime-t1-b1-float32",) if there else ())
