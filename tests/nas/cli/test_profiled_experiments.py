"""Experiments on a profiled device take its calibration, or measure, or doubt it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hardware_profiles
from hardware_profiles import host
from latency_models.calibration import Calibration
from nas.devices import profile_store
from nas.process.files import read_jsonl
from nas.run.latency import UNMEASURED_SAFETY_MARGIN
from nas.run.layout import RunFiles
from nas.run.verdict_files import load_verdicts
from tests.nas.cli.profiles import ARGUMENTS, ON_BENCH, SPACE_8X8, TARGET, elsewhere
from tests.nas.small_runs import Command, small, write


def calibrated(nas: Command, device: str = "bench", **changes: Any) -> tuple[str, Calibration]:
    """What a search that finds nothing says, and the model that it would have searched with."""
    experiment = small(target={**ON_BENCH, "device": device}, budgets=[{"name": "fast", "latency": "1 ns"}], **changes)
    done = nas("search", write(Path(), experiment), "--out", f"run{len(list(Path().glob('run*')))}")
    assert done.code == 3, done.err
    return done.out, Calibration.load(max(Path().glob("run*")) / "latency_model.npz")


def test_an_experiment_takes_the_stored_calibration_instead_of_measuring(nas: Command, quick: None) -> None:
    assert nas("profile", "bench", *SPACE_8X8).code == 0
    out, model = calibrated(nas)
    assert "calibration of `nas profile`, 3 networks" in out
    stored = Calibration.load(next(Path("hardware_profiles").rglob("calibration.npz")))
    assert model.networks == 3 and not Path("run0/measurements.jsonl").exists()
    assert np.array_equal(model.fit.coefficients, stored.fit.coefficients) and model.fit.noise == stored.fit.noise


def test_a_profile_in_another_folder_is_named_by_its_file(nas: Command, quick: None) -> None:
    done = nas("profile", "bench", *SPACE_8X8, "--out", "boards/mine")
    assert "target: {device: boards/mine/bench.yaml, runner: onnxruntime" in done.out
    out, model = calibrated(nas, "boards/mine/bench.yaml")
    assert "calibration of `nas profile`, 3 networks" in out
    assert model.networks == 3 and model.target == replace(TARGET, device="boards/mine/bench.yaml")


def test_on_another_machine_it_is_taken_too_but_nothing_is_measured(nas: Command, quick: None) -> None:
    assert nas("profile", "bench", *SPACE_8X8).code == 0
    elsewhere(Path("hardware_profiles/bench.yaml"))
    out, model = calibrated(nas)
    assert model.networks == 3 and "calibration of `nas profile`" in out
    assert not host.is_here(hardware_profiles.load("bench"))


@pytest.mark.slow
def test_one_of_another_space_is_measured_anew_here_and_doubted_elsewhere(nas: Command, quick: None) -> None:
    assert nas("profile", "bench", *ARGUMENTS).code == 0
    out, model = calibrated(nas, calibration={"networks": 4})
    assert "calibration of" not in out and model.networks == 4
    rows = read_jsonl(Path("run0/measurements.jsonl"))
    assert {row["target"] for row in rows} == {TARGET.key}
    elsewhere(Path("hardware_profiles/bench.yaml"))
    out, model = calibrated(nas)
    assert "it is of toy-1x8x8 and not of this space, so an error of " in out
    assert model.networks == 3 and model.fit.noise >= UNMEASURED_SAFETY_MARGIN


def test_another_latency_model_or_target_does_not_take_it(nas: Command, quick: None) -> None:
    assert nas("profile", "bench", *SPACE_8X8).code == 0
    out, model = calibrated(nas, latency_model="flops", calibration={"networks": 3})
    assert "calibration of" not in out and model.model == "flops"
    (path,) = Path("hardware_profiles").glob("*.yaml")
    assert [head.space for _, head in profile_store.stored(path, TARGET)] == ["mobile-8x8"]
    assert not list(profile_store.stored(path, replace(TARGET, batch=2)))
    assert not list(profile_store.stored(path, replace(TARGET, runtime_version="0.1")))


def test_a_damaged_calibration_is_said_to_be_and_made_again(nas: Command, quick: None) -> None:
    assert nas("profile", "bench", *SPACE_8X8).code == 0
    (path,) = Path("hardware_profiles").rglob("calibration.npz")
    sound = Calibration.load(path)
    path.write_bytes(b"nonsense")
    experiment = write(Path(), small(target=ON_BENCH))
    error = nas("search", experiment, "--out", "run").error
    assert "is not a stored latency model" in error and "delete it and give the command `nas profile` again" in error
    path.unlink()
    assert "nothing was measured" in nas("profile", "bench", *SPACE_8X8).out
    assert np.array_equal(Calibration.load(path).fit.coefficients, sound.fit.coefficients)


@pytest.mark.slow
def test_a_run_on_a_profiled_device_is_verified_here(nas: Command, tmp_path: Path) -> None:
    assert nas("profile", "bench", *SPACE_8X8).code == 0
    done = nas("run", write(tmp_path, small(target=ON_BENCH)), "--out", "run")
    assert done.code == 0, done.err
    verdicts = load_verdicts(RunFiles(Path("run")))
    assert verdicts.kept and {verdict.target for verdict in verdicts.winners} == {TARGET.key}


def test_what_nas_profile_left_is_read_before_a_run_begins(nas: Command, quick: None) -> None:
    assert nas("profile", "bench", *SPACE_8X8).code == 0
    experiment = write(Path(), small(target=ON_BENCH))
    done = nas("check", experiment)
    assert "calibration of `nas profile`, 3 networks" in done.out and done.code == 0
    for name, content, message in (
        ("calibration.npz", b"torn", "is not a stored latency model"),
        ("readings.jsonl", b"", "is empty"),
        ("readings.jsonl", b"[]\n", "every line must be a JSON object"),
        ("readings.jsonl", b"{}\n", "no readings of `nas profile`"),
    ):
        file = next(Path("hardware_profiles").rglob(name))
        whole = file.read_bytes()
        file.write_bytes(content)
        error = nas("check", experiment).error
        assert message in error == nas("run", experiment, "--out", "run").error and not Path("run").exists()
        file.write_bytes(whole)
