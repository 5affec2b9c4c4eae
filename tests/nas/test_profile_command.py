"""`nas profile` through the real command, with three tiny networks; what it leaves, and who takes it up."""

from __future__ import annotations

import functools
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import hardware_profiles
from hardware_profiles import Target, host
from latency_models.calibration import Calibration
from latency_models.table import load_table
from nas.deploy.tvm import available, compiler
from nas.devices import profile_store, profiling
from nas.devices.measurement import ExitTime, Loader, Measurement, reference_genomes, time_loaded
from nas.process import interrupt
from nas.process.files import read_jsonl
from nas.stages import latency
from search_spaces.toy import toy
from tests.nas.small_runs import Command, hashes, small, write

_detected = functools.cache(host.detect)
ARGUMENTS = ("--runner", "onnxruntime", "--networks", "3", "--space", "toy", "--input", "1x8x8", "--classes", "4")
TARGET = Target("bench", "onnxruntime")
FOLDER = Path("hardware_profiles/bench/bench-onnxruntime-t1-b1-float32/toy-1x8x8")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short blocks, and a machine that is measured once and taken to be stable: it is not the subject."""

    def timed(loader: Loader, reference: Any, genomes: Sequence[Any], purpose: Any) -> tuple[Measurement, ...]:
        rows = time_loaded(loader, reference, genomes, purpose, blocks=3, block_s=1e-3)
        return tuple(
            replace(
                row,
                reference_s=1e-4,
                exits=tuple(replace(e, drift=0.0, drifted=False, disturbed=0.0) for e in row.exits),
            )
            for row in rows
        )

    monkeypatch.setattr(profiling, "time_loaded", timed)
    monkeypatch.setattr(profiling, "detect", _detected)
    monkeypatch.setattr(latency, "BLOCKS", 3)
    monkeypatch.setattr(latency, "BLOCK_S", 1e-3)


@pytest.fixture
def profiled(nas: Command, quick: None) -> Path:
    """The working directory with a finished profile in it."""
    done = nas("profile", "bench", *ARGUMENTS)
    assert done.code == 0, done.err
    return Path.cwd()


def test_a_profile_is_a_device_with_a_calibration_and_a_table(nas: Command, quick: None) -> None:
    done = nas("profile", "bench", *ARGUMENTS)
    assert done.code == 0 and done.err == ""
    assert "3 readings taken" in done.out
    assert "target: {device: bench, runner: onnxruntime, threads: 1, batch: 1}" in done.out
    profile = hardware_profiles.load("bench")
    assert profile.id == "bench" and profile.machine == host.identity() and host.is_here(profile)
    assert profile.peak_flops_per_s["float32"].grade == "measured"
    assert profile.notes[-1] == "bench-onnxruntime-t1-b1-float32, toy-1x8x8: 3 networks measured"
    assert "(bench, cpu, " in nas("devices", "bench").out
    head, *rows = read_jsonl(FOLDER / "readings.jsonl")
    assert head["space"] == "toy" and head["runtime"].startswith("onnxruntime ")
    calibration = Calibration.load(FOLDER / "calibration.npz")
    assert calibration.target == TARGET and calibration.networks == 3
    table = load_table(FOLDER / "table.npz")
    assert table.devices == ("bench",) and table.families == (profile.family,) and table.batch == (1,)
    assert table.ops.tolist() == [row["genome"] for row in rows]
    measured = [[row["exits"][-1]["median_s"]] for row in rows]
    np.testing.assert_allclose(table.latency_s, measured, rtol=1e-6)
    for row in rows:
        assert row["reference_s"] > 0 and row["conditions"]["runtime"] == head["runtime"]
        assert row["conditions"]["threads"] == 1 and "numpy" in row["conditions"]["versions"]


def test_what_is_finished_is_not_measured_again_and_more_is_measured_if_asked(profiled: Path, nas: Command) -> None:
    before = hashes(profiled)
    again = nas("profile", "bench", *ARGUMENTS)
    assert again.code == 0 and "already finished, nothing was measured" in again.out
    assert {name: before[name] for name in before if name.endswith(".jsonl")} == {
        name: digest for name, digest in hashes(profiled).items() if name.endswith(".jsonl")
    }
    lines = (FOLDER / "readings.jsonl").read_text()
    more = nas("profile", "bench", *ARGUMENTS[:3], "5", *ARGUMENTS[4:])
    assert "2 readings taken" in more.out
    assert (FOLDER / "readings.jsonl").read_text().startswith(lines)
    assert Calibration.load(FOLDER / "calibration.npz").networks == 5


def test_every_target_and_space_has_a_calibration_of_its_own(profiled: Path, nas: Command) -> None:
    numbers = hardware_profiles.load("bench").to_dict()
    assert nas("profile", "bench", *ARGUMENTS, "--batch", "2").code == 0
    assert nas("profile", "bench", *ARGUMENTS, "--power-mode", "15W").code == 0
    other = [value.replace("1x8x8", "1x12x12") for value in ARGUMENTS]
    assert nas("profile", "bench", *other).code == 0
    found = {path.parent.relative_to("hardware_profiles/bench").as_posix() for path in Path().rglob("calibration.npz")}
    assert found == {
        f"{TARGET.key}/toy-1x8x8",
        f"{TARGET.key}/toy-1x12x12",
        f"{replace(TARGET, batch=2).key}/toy-1x8x8",
        f"{replace(TARGET, power_mode='15W').key}/toy-1x8x8",
    }
    # The machine was measured once; only what was found out about the targets was added.
    after = hardware_profiles.load("bench").to_dict()
    assert len(after.pop("notes")) == len(numbers.pop("notes")) + 3 and after == numbers


def _wait(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 300
    while not condition() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_command_that_was_killed_goes_on_where_it_was(
    number: signal.Signals, nas: Command, quick: None, tmp_path: Path
) -> None:
    more = (*ARGUMENTS[:3], "4", *ARGUMENTS[4:])
    process = subprocess.Popen(
        [sys.executable, "-m", "nas", "profile", "bench", *more],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    readings = tmp_path / FOLDER / "readings.jsonl"
    _wait(lambda: readings.exists() and readings.read_bytes().count(b"\n") >= 2, process)
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    if number == signal.SIGTERM and process.returncode:
        assert process.returncode == interrupt.EXIT_CODE
        assert err == "nas: interrupted; the same command goes on from here\n"
    before = read_jsonl(readings)
    assert before[0]["schema"] == 1 and len(before) >= 2
    assert nas("profile", "bench", *more).code == 0
    after = read_jsonl(readings)
    assert after[: len(before)] == before
    assert len({row["key"] for row in after[1:]}) == 4
    assert (tmp_path / "hardware_profiles/bench.yaml").is_file()


def test_a_command_that_was_killed_before_it_wrote_anything_begins(nas: Command, quick: None) -> None:
    FOLDER.mkdir(parents=True)
    (FOLDER / ".lock").write_text("1\n")
    (FOLDER / "readings.jsonl").write_text('{"schema":1,"set')
    assert "3 readings taken" in nas("profile", "bench", *ARGUMENTS).out


def test_a_torn_line_is_measured_again(profiled: Path, nas: Command) -> None:
    path = FOLDER / "readings.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]) + lines[-1][:40])
    assert "1 readings taken" in nas("profile", "bench", *ARGUMENTS).out
    assert [row["genome"] for row in read_jsonl(path)[1:]] == [json.loads(line)["genome"] for line in lines[1:]]


# A machine that is not the same all the while.


def unsteady(seconds: dict[int, float]) -> Callable[..., tuple[Measurement, ...]]:
    """Times networks by the clock of a machine whose n-th reading finds the reference at `seconds[n]`, else at 1 ms."""
    space, count = toy((1, 8, 8), 4), 0

    def timed(loader: Any, reference: Any, genomes: Sequence[Any], purpose: Any) -> tuple[Measurement, ...]:
        nonlocal count
        level, count = seconds.get(count, 1e-3), count + 1
        network = space.decode(genomes[0])
        exits = tuple(ExitTime(level * (1 + k), 2 * level * (1 + k)) for k in range(len(network.exits)))
        genome = tuple(int(gene) for gene in genomes[0])
        return (Measurement(purpose, TARGET.key, genome, network.key, exits, reference_s=level),)

    return timed


def test_a_reading_with_another_reference_is_taken_again_and_not_used(
    nas: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profiling, "time_loaded", unsteady({1: 1.2e-3}))
    done = nas("profile", "bench", *ARGUMENTS)
    assert "4 readings taken" in done.out and "unstable   0 of 3" in done.out and "not stable" not in done.out
    _, *rows = read_jsonl(FOLDER / "readings.jsonl")
    assert [row["genome"] for row in rows].count(rows[1]["genome"]) == 2
    # The first of the two stands in the file and in nothing that was made of it.
    assert rows[1]["reference_s"] == 1.2e-3
    assert 1.2e-3 not in load_table(FOLDER / "table.npz").latency_s.round(9)


def test_a_network_that_stays_unstable_is_neither_fitted_nor_in_the_table(
    nas: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The second network, and both times that it is measured again.
    monkeypatch.setattr(profiling, "time_loaded", unsteady({1: 1.2e-3, 5: 1.2e-3, 6: 1.2e-3}))
    done = nas("profile", "bench", *ARGUMENTS[:3], "5", *ARGUMENTS[4:])
    assert "7 readings taken" in done.out and "unstable   1 of 5" in done.out
    assert Calibration.load(FOLDER / "calibration.npz").networks == 4
    table = load_table(FOLDER / "table.npz")
    assert np.isnan(table.latency_s[:, 0]).tolist() == [False, True, False, False, False]
    _, *rows = read_jsonl(FOLDER / "readings.jsonl")
    assert table.ops.tolist() == [row["genome"] for row in rows[:5]]


def test_an_error_that_nothing_was_left_out_for_is_not_known(nas: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """A space may have fewer networks than are asked for."""
    monkeypatch.setattr(profiling, "reference_genomes", lambda space, n, seed: reference_genomes(space, 2, seed))
    monkeypatch.setattr(profiling, "time_loaded", unsteady({}))
    done = nas("profile", "bench", *ARGUMENTS)
    assert done.code == 0, done.err
    (line,) = [line for line in done.out.splitlines() if line.startswith("  error")]
    assert line.split(maxsplit=1)[1] == "not known (2 networks are too few to leave one out)"


def test_a_machine_that_stays_unstable_is_said_to_be(nas: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiling, "time_loaded", unsteady({number: 1e-3 * 1.1**number for number in range(20)}))
    done = nas("profile", "bench", *ARGUMENTS)
    assert done.code == 0 and "This machine is not stable" in done.out
    assert len(read_jsonl(FOLDER / "readings.jsonl")) <= 1 + 3 * 3
    assert any("UNSTABLE" in note for note in hardware_profiles.load("bench").notes)


# What is refused.


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("rpi4b", *ARGUMENTS), "the name 'rpi4b' is that of a shipped device, rpi4b; choose another"),
        (("raspi4", *ARGUMENTS), "the name 'raspi4' is that of a shipped device, rpi4b"),
        (("host", *ARGUMENTS), "the name 'host' is this machine as it is"),
        (("My-Board", *ARGUMENTS), "the name 'My-Board' cannot be that of a device"),
        (("../x", *ARGUMENTS), "the name '../x' cannot be that of a device"),
        (("bench", *ARGUMENTS, "--networks", "2"), "--networks 2: at least 3 are needed"),
        (("bench", *ARGUMENTS, "--threads", "4096"), "--threads 4096: this process may use"),
        (("bench", *ARGUMENTS, "--threads", "0"), "target threads is 0"),
        (("bench", *ARGUMENTS, "--batch", "-1"), "target batch is -1"),
        (("bench", *ARGUMENTS, "--input", "8x8"), "--input '8x8': write channels, height and width"),
        (("bench", *ARGUMENTS, "--table", "8x8"), "--table 8x8: the space toy has no tables"),
        (("bench", *ARGUMENTS, "--classes", "1"), "--classes 1: classifying needs at least 2"),
        (("bench", *ARGUMENTS, "--space", "mobil"), "did you mean 'mobile'?"),
        (("bench", "--runner", "onnxruntime", "--table", "9x9"), "space mobile has no table '9x9'"),
        (("bench", "--runner", "onnxruntime", "--table", "nine"), "--table 'nine': write height and width"),
        (("bench", *ARGUMENTS, "--out", "file"), "file"),
    ],
)
def test_what_cannot_be_profiled_is_refused_and_nothing_is_written(
    arguments: tuple[str, ...], message: str, nas: Command
) -> None:
    Path("file").write_text("content")
    assert message in nas("profile", *arguments).error
    assert hashes(Path()).keys() == {"file"}


def test_another_beginning_is_refused(profiled: Path, nas: Command) -> None:
    before = hashes(profiled)
    assert "was begun with seed 0, now it is 1; delete " in nas("profile", "bench", *ARGUMENTS, "--seed", "1").error
    assert "was begun with classes 4, now it is 7" in nas("profile", "bench", *ARGUMENTS, "--classes", "7").error
    assert hashes(profiled) == before


def test_readings_of_another_runtime_are_not_continued(profiled: Path, nas: Command) -> None:
    path = FOLDER / "readings.jsonl"
    head, *lines = path.read_text().splitlines(keepends=True)
    path.write_text(json.dumps({**json.loads(head), "runtime": "onnxruntime 0.1"}) + "\n" + "".join(lines))
    assert "was measured with onnxruntime 0.1, here is onnxruntime " in nas("profile", "bench", *ARGUMENTS).error


def test_a_profile_of_another_machine_is_not_continued(profiled: Path, nas: Command) -> None:
    elsewhere(Path("hardware_profiles/bench.yaml"))
    error = nas("profile", "bench", *ARGUMENTS).error
    assert "was measured on another machine (cores is 640, here " in error and "choose another name" in error


def test_a_profile_that_somebody_wrote_is_not_overwritten(nas: Command) -> None:
    Path("hardware_profiles").mkdir()
    shipped = hardware_profiles.load("rpi5").to_dict()
    path = Path("hardware_profiles/bench.yaml")
    path.write_text(yaml.safe_dump({**shipped, "id": "bench", "aliases": []}))
    before = path.read_bytes()
    assert "is there already and was not made by `nas profile`" in nas("profile", "bench", *ARGUMENTS).error
    assert path.read_bytes() == before and not FOLDER.exists()


def test_damaged_readings_are_said_to_be(profiled: Path, nas: Command) -> None:
    path = FOLDER / "readings.jsonl"
    path.write_bytes(b"nonsense\n" + path.read_bytes())
    assert "readings.jsonl, line 1 is not JSON" in nas("profile", "bench", *ARGUMENTS).error


# With TVM.


@pytest.mark.slow
@pytest.mark.skipif(not available()[0] or compiler().command is None, reason="TVM or a C++ compiler is missing")
def test_tvm_is_profiled_too(nas: Command) -> None:
    done = nas("profile", "bench", "--runner", "tvm", *ARGUMENTS[2:])
    assert done.code == 0, done.err
    assert "with tvm " in done.out
    calibration = Calibration.load(next(Path().rglob("calibration.npz")))
    assert calibration.target == Target("bench", "tvm") and calibration.networks >= 2


def test_tvm_without_a_compiler_is_refused(nas: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    if not available()[0]:
        pytest.skip("TVM is not installed")
    from nas.deploy import tvm

    monkeypatch.setattr(tvm, "compiler", lambda triple=None: tvm.Compiler(None, "there is no C++ compiler"))
    error = nas("profile", "bench", "--runner", "tvm", *ARGUMENTS[2:]).error
    assert error == "cannot compile networks with TVM: there is no C++ compiler"
    assert not Path("hardware_profiles").exists()


# An experiment on a profiled device.


def elsewhere(path: Path) -> None:
    """Make a profile one of another machine."""
    data = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**data, "machine": {**data["machine"], "cores": "640"}}))


SPACE_8X8 = ("--runner", "onnxruntime", "--networks", "3", "--table", "8x8")
ON_BENCH = {"device": "bench", "runner": "onnxruntime", "threads": 1}


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


def test_one_of_another_space_is_measured_anew_here_and_doubted_elsewhere(nas: Command, quick: None) -> None:
    assert nas("profile", "bench", *ARGUMENTS).code == 0
    out, model = calibrated(nas, calibration={"networks": 4})
    assert "calibration of" not in out and model.networks == 4
    rows = read_jsonl(Path("run0/measurements.jsonl"))
    assert {row["target"] for row in rows} == {TARGET.key}
    elsewhere(Path("hardware_profiles/bench.yaml"))
    out, model = calibrated(nas)
    assert "it is of toy-1x8x8 and not of this space, so an error of " in out
    assert model.networks == 3 and model.fit.noise >= latency._UNMEASURED_CAUTION


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
    verified = json.loads(Path("run/verify.json").read_text())
    assert verified["kept"] is True
    assert {winner["target"] for winner in verified["winners"]} == {TARGET.key}


def test_help_says_the_options(nas: Command) -> None:
    done = nas("profile", "--help")
    for option in ("--runner", "--networks", "--table", "--input", "--threads", "--batch", "--out"):
        assert option in done.out
