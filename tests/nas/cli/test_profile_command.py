"""`nas profile` through the real command, with three tiny networks, and what it leaves."""

from __future__ import annotations

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

import hardware_profiles
from hardware_profiles import Target, host
from latency_models.calibration import Calibration
from latency_models.table import load_table
from nas.cli.exit_codes import INTERRUPTED
from nas.deploy.tvm import available, compiler
from nas.devices import profiling
from nas.devices.measurement import ExitTime, Measurement
from nas.devices.networks import Timer, reference_genomes
from nas.process.files import read_jsonl
from search_spaces.toy import toy
from tests.nas.cli.profiles import ARGUMENTS, FOLDER, TARGET
from tests.nas.small_runs import Command, hashes


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
        assert process.returncode == INTERRUPTED
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

    def timed(timer: Any, genomes: Sequence[Any], purpose: Any) -> tuple[Measurement, ...]:
        nonlocal count
        level, count = seconds.get(count, 1e-3), count + 1
        network = space.decode(genomes[0])
        exits = tuple(ExitTime(level * (1 + k), 2 * level * (1 + k)) for k in range(len(network.exits)))
        genome = tuple(int(gene) for gene in genomes[0])
        return (
            Measurement(
                purpose=purpose, target=TARGET.key, genome=genome, key=network.key, exits=exits, reference_s=level
            ),
        )

    return timed


def test_a_reading_with_another_reference_is_taken_again_and_not_used(
    nas: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Timer, "time", unsteady({1: 1.2e-3}))
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
    monkeypatch.setattr(Timer, "time", unsteady({1: 1.2e-3, 5: 1.2e-3, 6: 1.2e-3}))
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
    monkeypatch.setattr(Timer, "time", unsteady({}))
    done = nas("profile", "bench", *ARGUMENTS)
    assert done.code == 0, done.err
    (line,) = [line for line in done.out.splitlines() if line.startswith("  error")]
    assert line.split(maxsplit=1)[1] == "not known (2 networks are too few to leave one out)"


def test_a_machine_that_stays_unstable_is_said_to_be(nas: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Timer, "time", unsteady({number: 1e-3 * 1.1**number for number in range(20)}))
    done = nas("profile", "bench", *ARGUMENTS)
    assert done.code == 0 and "This machine is not stable" in done.out
    assert len(read_jsonl(FOLDER / "readings.jsonl")) <= 1 + 3 * 3
    assert any("UNSTABLE" in note for note in hardware_profiles.load("bench").notes)


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
    assert error == "networks for tvm cannot be built here: there is no C++ compiler"
    assert not Path("hardware_profiles").exists()


def test_help_says_the_options(nas: Command) -> None:
    done = nas("profile", "--help")
    for option in ("--runner", "--networks", "--table", "--input", "--threads", "--batch", "--out"):
        assert option in done.out
