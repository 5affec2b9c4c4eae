"""`nas sweep`, `nas check` and `nas status` of sweeps, with runs that are over at once because nothing fits them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from nas.errors import InputError
from nas.process.facts import cores_used
from nas.process.files import read_jsonl
from nas.run.context import Context
from nas.run.layout import RunFiles
from nas.run.progress import progress_of
from nas.run.verdict_files import load_verdicts
from nas.stages import calibrate
from nas.sweep import estimate
from tests.nas.small_runs import Command, hashes, small
from tests.nas.sweep.small_sweeps import HOPELESS, write_sweep

NAMES = ["latency-1ns_seed-0", "latency-1ns_seed-1", "latency-2ns_seed-0", "latency-2ns_seed-1"]


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(write_sweep(tmp_path, {"budgets.0.latency": ["1 ns", "2 ns"], "seed": [0, 1]}, HOPELESS))


def test_a_sweep_leaves_runs_that_are_like_any_other(file: str, nas: Command) -> None:
    done = nas("sweep", file, "--out", "out")
    assert done.code == 3, done.err
    assert "4 of 4 cells complete, 0 kept" in done.out and "nothing fits" in done.out
    for name in NAMES:
        cell = Path("out/cells", name)
        assert (cell / "report.html").is_file() and "nothing fits" in (cell / "output.txt").read_text()
        assert f"name: {name}\n" in (cell / "experiment.yaml").read_text()
    assert nas("run", f"out/cells/{NAMES[0]}/experiment.yaml", "--out", f"out/cells/{NAMES[0]}", "--resume").code == 3
    assert nas("report", f"out/cells/{NAMES[0]}").code == 0
    assert f"out/cells/{NAMES[0]}: complete, a budget was not kept" in nas("status", f"out/cells/{NAMES[0]}").out
    # What is complete is not run again.
    before = {name: digest for name, digest in hashes(Path("out")).items() if "cells/" in name}
    again = nas("sweep", file, "--out", "out", "--resume")
    assert again.code == 3 and before.items() <= hashes(Path("out")).items()
    assert len(read_jsonl(Path("out/log.jsonl"))) == 8
    assert "is not empty; continue the sweep in it with --resume" in nas("sweep", file, "--out", "out").error
    assert "out was begun with another sweep" in nas("sweep", file, "--out", "out", "--resume", "--set",
                                                     "search.batch=6").error  # fmt: skip
    table = nas("status", "out").out
    assert all(re.search(rf"^{name} +not kept +nothing fits", table, re.MULTILINE) for name in NAMES)


def test_check_says_cells_trainings_and_hours(file: str, nas: Command) -> None:
    before = hashes(Path())
    done = nas("check", file)
    assert done.code == 0, done.err
    assert f"ok {file}: 4 cells of" in done.out and "4 cells, 2 trainings of shared weights" in done.out
    assert all(name in done.out for name in NAMES)
    assert re.search(r"processor-hours +\d", done.out)
    assert hashes(Path()) == before


def test_alike_cells_are_rehearsed_once(tmp_path: Path, nas: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    whole = estimate.rehearsed
    monkeypatch.setattr(estimate, "rehearsed", lambda experiment: asked.append(experiment.name) or whole(experiment))
    axes = {"seed": [0, 1, 2], "supernet.learning_rate": [0.1, 0.2], "target.threads": [1, len(cores_used())]}
    assert nas("check", str(write_sweep(tmp_path, axes, HOPELESS))).code == 0
    assert len(asked) == len({1, len(cores_used())})


@pytest.mark.parametrize(
    ("axes", "options", "message"),
    [
        ({"sede": [0]}, (), "did you mean 'seed'?"),
        ({"target.threads": [1, 4096]}, (), "cell threads-4096 (target.threads: 4096): target.threads is 4096"),
        ({"calibration.measurements": ["x.jsonl"]}, (), "calibration.measurements: 'x.jsonl'): calibration.measureme"),
        ({"target.device": ["host", "rpi5x"]}, (), "(target.device: 'rpi5x')"),
        ({"seed": [0]}, ("--workers", "99999"), "--workers is 99999, and this process may use"),
        ({"seed": [0]}, ("--workers", "0"), "--workers is 0"),
        ({"seed": [0]}, ("--set", "supernet.epochs=0"), "supernet.epochs must be at least 1"),
        ({"target.threads": [len(cores_used())]}, ("--workers", f"{len(cores_used())}"), "each worker has 1 core;"),
    ],
)
def test_what_cannot_be_carried_out_is_refused_before_anything_is_written(
    axes: Any, options: tuple[str, ...], message: str, nas: Command, tmp_path: Path
) -> None:
    if len(cores_used()) == 1 and "each worker" in message:
        pytest.skip("there is one core")
    path = write_sweep(tmp_path, axes, HOPELESS)
    before = hashes(tmp_path)
    assert message in nas("sweep", str(path), "--out", "out", *options).error
    assert hashes(tmp_path) == before and not Path("out").exists()


@pytest.mark.parametrize("there", ["file", "run", "folder"])
def test_folders_of_something_else_are_left_alone(there: str, file: str, nas: Command) -> None:
    out = Path("out")
    if there == "file":
        out.write_text("mine")
    else:
        out.mkdir()
        (out / ("experiment.yaml" if there == "run" else "mine.txt")).write_text("mine")
    before = hashes(Path())
    assert nas("sweep", file, "--out", "out").error.startswith("out is ")
    assert nas("sweep", file, "--out", "out", "--resume").error.startswith("out is ")
    assert hashes(Path()) == before
    if there != "run":
        assert "is neither a run nor a sweep" in nas("status", "out").error


def test_an_experiment_is_no_sweep_and_a_sweep_no_experiment(file: str, nas: Command) -> None:
    base = str(Path(file).with_name("base.yaml"))
    assert "a sweep has no key" in nas("sweep", base, "--out", "out").error
    assert "is a sweep, and no experiment: give it to `nas sweep`" in nas("run", file, "--out", "out").error
    assert "--kind is for these" in nas("check", file, "--kind", "space").error


@pytest.mark.parametrize("how", ["bug", "mistake"])
def test_a_cell_that_fails_stops_no_other(how: str, file: str, nas: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = calibrate.calibrate

    def sometimes(context: Context) -> None:
        if context.experiment.name == NAMES[1]:
            raise RuntimeError("that went wrong") if how == "bug" else InputError("that went wrong")
        whole(context)

    monkeypatch.setattr(calibrate, "calibrate", sometimes)
    done = nas("sweep", file, "--out", "out")
    assert done.code == 3 and "3 of 4 cells complete, 0 kept, 1 failed" in done.out, done.out
    said = "it raised RuntimeError: that went wrong; see output.txt" if how == "bug" else "that went wrong"
    assert f"{NAMES[1]}: failed; {said}" in done.out
    assert ("Traceback" in Path("out/cells", NAMES[1], "output.txt").read_text()) == (how == "bug")
    assert re.search(rf"^{NAMES[1]} +failed +{re.escape(said)}", nas("status", "out").out, re.MULTILINE)
    monkeypatch.setattr(calibrate, "calibrate", whole)
    again = nas("sweep", file, "--out", "out", "--resume")
    assert "4 of 4 cells complete" in again.out and NAMES[0] not in again.out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_sweep_says_how_to_go_on(
    number: signal.Signals, file: str, nas: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = calibrate.calibrate

    def interrupted(context: Context) -> None:
        if context.experiment.name == NAMES[2]:
            os.kill(os.getpid(), number)
        whole(context)

    monkeypatch.setattr(calibrate, "calibrate", interrupted)
    done = nas("sweep", file, "--out", "out")
    assert done.code == 4
    assert done.err == "nas: interrupted; the same command with --resume goes on from here\n"
    told = nas("status", "out").out
    assert "2 of 4 cells complete, 0 kept, 1 interrupted, nobody is at it" in told
    monkeypatch.setattr(calibrate, "calibrate", whole)
    assert "4 of 4 cells complete" in nas("sweep", file, "--out", "out", "--resume").out


def sweeping(file: str, out: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "nas", "sweep", file, "--out", str(out), "--resume", *more]
    return subprocess.Popen(command, cwd=out.parent, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.slow
def test_processes_that_are_killed_with_their_sweep_lose_nothing(tmp_path: Path) -> None:
    """SIGKILL at the sweep, again and again: its cells stop by themselves, and go on with the next command."""
    axes = {"budgets.0.latency": ["200 ms", "100 ms"], "seed": [0, 1]}
    file, out = str(write_sweep(tmp_path, axes)), tmp_path / "out"
    workers = ("--workers", str(min(2, len(cores_used()))))
    for seconds in (6, 12, 18):
        process = sweeping(file, out, *workers)
        time.sleep(seconds)
        process.kill()
        process.communicate()
    process = sweeping(file, out, *workers)
    printed, _ = process.communicate(timeout=600)
    assert process.returncode == 0, printed
    runs = [RunFiles(path) for path in sorted((out / "cells").iterdir())]
    assert len(runs) == 4
    for files in runs:
        assert progress_of(files).kept and load_verdicts(files).kept
        assert [row["slot"] for row in read_jsonl(files.trials)] == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]
    reused = [row["supernet"] for files in runs for row in read_jsonl(files.log) if row["event"] == "reused"]
    assert len(reused) == 2 and len(set(reused)) == 2
    # Cells with the same weights judge the same networks alike.
    for seed in (0, 1):
        trials = [read_jsonl(files.trials) for files in runs if files.root.name.endswith(f"seed-{seed}")]
        assert [[row["metrics"]["final_accuracy"] for row in each] for each in trials] == [
            [row["metrics"]["final_accuracy"] for row in trials[0]]
        ] * 2


@pytest.mark.slow
@pytest.mark.parametrize("workers", [(), ("--workers", "1")])
def test_a_sweep_that_is_terminated_ends_with_code_4_and_its_cells_with_it(
    workers: tuple[str, ...], tmp_path: Path
) -> None:
    base = small(supernet={"epochs": 10_000}, calibration={"networks": 0})
    out = tmp_path / "out"
    process = sweeping(str(write_sweep(tmp_path, {"seed": [0, 1]}, base)), out, *workers)
    log, deadline = out / "cells" / "seed-0" / "log.jsonl", time.monotonic() + 120
    while not (log.exists() and '"stage":"supernet"' in log.read_text()) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.terminate()
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 4
    assert printed.splitlines()[-1] == "nas: interrupted; the same command with --resume goes on from here"
    assert (out / "cells" / "seed-0" / ".lock").read_text() == "" or not workers
