"""The examples of the documents: experiments are accepted, programs run, on the files that the pages show."""

from __future__ import annotations

import importlib
import math
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from nas.config import parse, plain_yaml
from nas.config.kinds import DATA
from nas.deploy import manifest, thresholds
from nas.deploy.onnx import export_segments, to_onnx
from nas.deploy.policy import policy_record
from nas.devices.networks import random_weights
from nas.exits.policies import MaxProbability
from nas.run.layout import RunFiles
from nas.run.opening import materials
from nas.run.verdict_files import load_verdicts
from nas.tasks.image_classification.preprocessing import Preprocessing
from nas.testing import KINDS, laws_of
from search_spaces.toy import toy
from tests.documents import ROOT, CodeBlock, blocks, names_in, sections, shown, write_files


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the files of docs/extending.md in it; what is imported from it is forgotten afterwards."""
    write_files("extending.md", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:
        if Path(getattr(sys.modules[name], "__file__", None) or ROOT).parent == tmp_path:
            del sys.modules[name]


@pytest.mark.parametrize("block", [b for b in blocks("yaml") if not b.name], ids=str)
def test_experiments_in_the_documents_are_accepted(block: CodeBlock, reference: ModuleType, workplace: Path) -> None:
    """Fragments are put into the shortest experiment; data that are not here are replaced; there is a `my_board`."""
    given = plain_yaml.parse(block.text)
    data = given if "budgets" in given else {**plain_yaml.parse(reference.SHORTEST), **given}
    if isinstance(data["data"], dict) and not Path(data["data"].get("path", ROOT)).exists():
        parse.component(data["data"], DATA, "data")
        data["data"] = "digits"
    assert materials(parse.experiment(data)).space.genes


def test_there_are_complete_experiments() -> None:
    complete = [b.page.name for b in blocks("yaml") if "budgets" in plain_yaml.parse(b.text)]
    assert {"README.md", "experiment.md", "extending.md"} <= set(complete)


@pytest.mark.parametrize("page", ["extending.md", "latency.md"])
def test_the_programs_of_the_pages_run(page: str, workplace: Path) -> None:
    scripts = [b for b in blocks("python") if b.page.name == page and not b.name]
    assert scripts
    for block in scripts:
        exec(compile(block.text, str(block), "exec"), {"__name__": "__main__"})


def test_the_latency_model_of_extending_predicts_what_its_features_say(workplace: Path) -> None:
    from hardware_profiles import Target, load

    made = importlib.import_module("traffic").Traffic(load("my_board"), Target("my_board", "onnxruntime"))
    networks = [toy((1, 8, 8), 10).decode([0] * len(toy((1, 8, 8), 10).genes)), toy((1, 16, 16), 10).decode([0] * 9)]
    small, large = made.predict(networks).total_s
    assert 0 < small < large
    assert made.fit(networks, [[3 * small], [3 * large]]).predict(networks).total_s == pytest.approx(
        [3 * small, 3 * large], rel=0.2
    )


@pytest.mark.slow
def test_the_test_suite_of_extending_passes(workplace: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mine.py"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(workplace)))}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert f"{sum(len(laws_of(kind)) for kind in KINDS)} passed" in done.stdout


@pytest.mark.slow
def test_the_experiment_of_extending_runs_and_leaves_the_files_that_are_described(workplace: Path) -> None:
    (line,) = [
        line for each in shown() if each.page.name == "extending.md" for line in each.commands if " run " in line
    ]
    command = [sys.executable, "-P", "-m", "nas", *shlex.split(line)[1:]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    # One of its budgets is for a device that is not here.
    assert done.returncode == 3, done.stderr
    run = workplace / "runs" / "bars"
    verdicts = load_verdicts(RunFiles(run))
    assert {verdict.name: verdict.kept for verdict in verdicts.winners} == {"here": True, "there": None}
    described = " ".join(name for text in sections("run_folder.md").values() for name in names_in(text))
    described = re.sub(r"exit_\d+", "exit_0", described)
    for path in run.rglob("*"):
        name = re.sub(r"exit_\d+", "exit_0", path.name)
        name = "optimiser/NAME.json" if path.parent.name == "optimiser" else name
        if path.is_file():
            assert name in described or name.startswith("latency_model-"), path


def test_the_program_in_the_readme_runs_a_winner(tmp_path: Path) -> None:
    """In a folder as `export` leaves it, by the files that lie there."""
    (block,) = [block for block in blocks("python") if block.page.name == "README.md"]
    compile(block.text, str(block), "exec")
    space = toy((1, 8, 8), 3)
    network = space.decode([len(gene.options) - 1 for gene in space.genes])
    assert len(network.exits) == 2
    weights = random_weights(network, 0)
    to_onnx(network, weights, tmp_path / "model.onnx", batch=None)
    files = export_segments(network, weights, tmp_path, 1)
    policy = policy_record(MaxProbability(), {})
    scripts = manifest.add_scripts(tmp_path, MaxProbability())
    record = Preprocessing((8, 8), 1, (0.5,), (0.25,), 1 / 255, ("ant", "bee", "cow")).to_dict()
    for threshold, answering in ((0.0, 0), (math.inf, 1)):
        manifest.write(tmp_path, manifest.Manifest(network.key, "model.onnx", files, record, policy), scripts)
        thresholds.write(tmp_path, network.key, (threshold,))
        np.save(tmp_path / "image.npy", np.random.default_rng(0).integers(0, 255, (1, 8, 8)).astype(np.uint8))
        done = subprocess.run(
            [sys.executable, "-c", block.text], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert re.fullmatch(rf"(ant|bee|cow) at exit {answering}\n", done.stdout)
