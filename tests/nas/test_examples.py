"""One file of one's own for each kind of part, no line in ours: checked by its laws, and used in a run."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.deploy.tvm import available, compiler
from nas.process.files import read_jsonl
from nas.run.layout import RunFiles
from nas.run.verdict_files import load_verdicts
from tests.nas.opened_runs import rewind
from tests.nas.small_runs import Command, small, write

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The examples lie in the working directory, as a user's files do."""
    monkeypatch.chdir(tmp_path)
    for path in EXAMPLES.glob("*.py"):
        shutil.copy(path, tmp_path)


@pytest.mark.slow
def test_a_runner_of_ones_own(nas: Command) -> None:
    assert nas("check", "reference_runner:Reference").code == 0
    target = {"device": "host", "runner": "reference_runner:Reference"}
    # It takes milliseconds where ONNX Runtime takes microseconds.
    few = {"calibration": {"networks": 3}, "verify": {**small()["verify"], "samples": 20, "parity_samples": 8}}
    experiment = write(Path(), small(target=target, **few))
    error = nas("run", experiment, "--out", "run").error
    assert "which nobody allowed to run" in error and not Path("run").exists()
    plugins = ("--plugins", "reference_runner")
    assert nas("check", experiment, *plugins).code == 0
    done = nas("run", experiment, "--out", "run", *plugins)
    assert done.code == 0, done.err
    verdicts = load_verdicts(RunFiles(Path("run")))
    assert verdicts.kept and len(verdicts.winners) == 2
    for verdict in verdicts.winners:
        checks = {check.runtime: check.ok for check in verdict.checks}
        assert checks["reference_runner:Reference"] is True and checks["onnxruntime"] is True
    rows = read_jsonl(Path("run/measurements.jsonl"))
    assert {row["conditions"]["runtime"].split()[0] for row in rows} == {"onnx-reference"}
    assert "reference_runner:Reference on" in Path("run/report.html").read_text()


@pytest.mark.slow
def test_an_exit_policy_of_ones_own(nas: Command) -> None:
    assert nas("check", "patience:Patience", "--set", "margin=0.25").code == 0
    assert "cannot be built: it raised ValueError" in nas("check", "patience:Patience", "--set", "margin=2").error
    experiment = write(Path(), small(exit_policy={"name": "patience:Patience", "margin": 0.25}))
    plugins = ("--plugins", "patience")
    done = nas("run", experiment, "--out", "run", *plugins)
    assert done.code == 0, done.err
    verdicts = load_verdicts(RunFiles(Path("run")))
    assert verdicts.kept and len(verdicts.winners) == 2
    bundle = Path("run/winners/mean")
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert manifest["policy"] == {"class": "Patience", "arguments": {"margin": 0.25}}
    assert (bundle / "policy.py").read_bytes() == Path("patience.py").read_bytes()
    np.save("images.npy", np.random.default_rng(0).integers(0, 17, (20, 8, 8), np.uint8))
    command = [sys.executable, "-I", str(bundle / "run.py"), "images.npy"]
    answered = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(answered) == 20 and all(float(line.split()[2]) >= 1 for line in answered), "a score of Patience"


@pytest.mark.slow
def test_a_space_with_an_operator_choice_and_a_latency_model_of_ones_own(nas: Command) -> None:
    for subject in ("pick:pick", "traffic:Traffic"):
        assert nas("check", subject).code == 0
    experiment = write(Path(), small(space={"name": "pick:pick", "width": 4}, latency_model="traffic:Traffic"))
    done = nas("run", experiment, "--out", "run", "--plugins", "pick,traffic")
    assert done.code == 0, done.err
    verdicts = load_verdicts(RunFiles(Path("run")))
    assert verdicts.kept and all(verdict.predicted_s is not None for verdict in verdicts.winners)
    names = Path("run/winners/worst/architecture.json").read_text()
    assert ".conv." in names or ".pool" in names


@pytest.mark.slow
def test_an_evaluator_of_ones_own(nas: Command) -> None:
    """Nothing is shared, and nothing but the winners is trained."""
    assert nas("check", "by_size:BySize").code == 0
    search, winners = (
        {**small()["search"], "evaluator": "by_size:BySize"},
        {**small()["winners"], "training": "scratch"},
    )
    done = nas("run", write(Path(), small(search=search, winners=winners)), "--out", "run", "--plugins", "by_size")
    assert done.code == 0, done.err
    assert not Path("run/supernet.safetensors").exists() and load_verdicts(RunFiles(Path("run"))).kept
    trials = [trial for trial in read_jsonl(Path("run/trials.jsonl")) if trial["status"] == "complete"]
    ranked = sorted(trials, key=lambda trial: trial["metrics"]["macs"])
    accuracy = [trial["metrics"]["accuracy"] for trial in ranked]
    assert accuracy == sorted(accuracy) and accuracy[0] < accuracy[-1]


@pytest.mark.slow
def test_networks_may_be_judged_by_training_each_of_them(nas: Command) -> None:
    search = {**small()["search"], "evaluator": {"name": "train", "epochs": 1}, "evaluations": 3, "batch": 3}
    winners = {**small()["winners"], "training": "scratch", "candidates": 1}
    done = nas("run", write(Path(), small(search=search, winners=winners)), "--out", "run")
    assert done.code == 0, done.err
    assert not Path("run/supernet.safetensors").exists() and load_verdicts(RunFiles(Path("run"))).kept


def test_a_worker_that_dies_is_a_failure_of_its_item() -> None:
    spec = importlib.util.spec_from_file_location("pool", "pool.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with contextlib.closing(module.Pool(workers=1)) as pool:
        assert [str(answer)[:8] for answer in pool.map(os._exit, [3])] == ["Failure("]
        assert list(pool.map(abs, [-1, -2])) == [1, 2], "it goes on with others"


def rounded(run: Path) -> list[Any]:
    """The trials of a run, thresholds to six digits."""

    def told(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: told(item) for key, item in value.items()}
        if isinstance(value, list):
            return [told(item) for item in value]
        return round(value, 6) if isinstance(value, float) else value

    return [told(trial) for trial in read_jsonl(run / "trials.jsonl")]


@pytest.mark.slow
def test_an_executor_of_ones_own(nas: Command, finished: Path) -> None:
    """Two processes judge what one does; in one that ran other programs before, scores may differ in the last digit."""
    search = {**small()["search"], "executor": {"name": "pool:Pool", "workers": 2}}
    plugins = ("--plugins", "pool")
    assert nas("check", "pool:Pool").code == 0
    shutil.copytree(finished, "run")
    rewind(Path("run"), "supernet")
    before = rounded(finished)
    experiment = write(Path("run"), small(search=search))
    done = nas("run", experiment, "--out", "run", "--resume", *plugins)
    assert done.code == 0, done.err
    assert rounded(Path("run")) == before


@pytest.mark.slow
@pytest.mark.skipif(not available()[0] or compiler().command is None, reason="TVM or a C++ compiler is missing")
def test_tvm_as_the_runner_of_the_budgets(nas: Command) -> None:
    target = {"device": "host", "runner": "tvm"}
    done = nas("run", write(Path(), small(target=target, calibration={"networks": 3})), "--out", "run")
    assert done.code == 0, done.err
    verdicts = load_verdicts(RunFiles(Path("run")))
    assert verdicts.kept and {verdict.target for verdict in verdicts.winners} == {"host-tvm-t1-b1-float32"}
    for verdict in verdicts.winners:
        assert {check.runtime: check.ok for check in verdict.checks}["tvm"] is True
    rows = read_jsonl(Path("run/measurements.jsonl"))
    assert {row["conditions"]["runtime"].split()[0] for row in rows} == {"tvm"}
