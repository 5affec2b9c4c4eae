"""Parts of other people that cannot be used: said with their key before anything is written, or where they fail."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nas.api import load_experiment, run_experiment
from nas.errors import InputError
from nas.nn import native
from nas.process.files import atomic_write_json, read_jsonl
from nas.run.opening import materials
from nas.search.evaluators.by_weights import SharedWeights
from tests.nas.opened_runs import rewind
from tests.nas.small_runs import SMALL, Command, small, write

THEIRS = '''
import os
import numpy as np
from nas.deploy.builders import OnnxBuilder
from nas.devices.runners.onnxruntime_runner import OnnxRuntime
from nas.exits.policies import MaxProbability
from nas.search.evaluators.by_weights import SharedWeights
from nas.search.executors import Serial


class Renamed(MaxProbability):
    pass


Renamed.__name__ = "Another"


class Broken(Serial):
    def __init__(self):
        raise ValueError("no workers")


class Short(Serial):
    def map(self, task, items):
        return (answer for answer in list(super().map(task, items))[:-1])


class Backwards(Serial):
    def map(self, task, items):
        return iter(list(super().map(task, items))[::-1])


class Nowhere(OnnxRuntime):
    def __init__(self, target):
        raise ValueError("no such runtime")


class NeedsMore(OnnxBuilder):
    @property
    def requirement(self):
        return "its compiler is not installed"


class Unbuilt(OnnxRuntime):
    builder = NeedsMore


class Unsaid(SharedWeights):
    needs_weights = property(lambda self: True)


class Refusing(SharedWeights):
    def __init__(self, context):
        raise ValueError("nothing to judge with")


class Few(SharedWeights):
    def scores(self, genome, images, present):
        return super().scores(genome, 3, present)


class Now(SharedWeights):
    """Fails for some networks, and for all of them on many images."""

    def scores(self, genome, images, present):
        if images > 100 or genome[0] == 0:
            raise MemoryError("too much")
        return super().scores(genome, images, present)
'''
POLICY = """
import scipy.special
import numpy as np


class Leaning:
    needs, has_history = ("logits",), False

    def scores(self, outputs):
        return outputs["logits"].astype(np.float64).max(-1)

    def start(self):
        return None

    def step(self, state, outputs):
        return state, float(outputs["logits"].astype(np.float64).max())


class Hashing(Leaning):
    def __init__(self, groups: tuple[int, ...] = (1, 2)):
        self.groups = {groups: 1}
"""


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    Path("theirs.py").write_text(THEIRS)
    Path("leaning.py").write_text(POLICY)
    Path("alone.py").write_text(POLICY.replace("import scipy.special\n", ""))
    yield
    for name in ("theirs", "leaning", "alone"):
        sys.modules.pop(name, None)


def search(**changes: Any) -> dict[str, Any]:
    return {"search": {**SMALL["search"], **changes}}


@pytest.mark.parametrize(
    ("section", "said"),
    [
        (search(executor={"name": "theirs:Broken"}), "theirs:Broken cannot be made: it raised ValueError: no workers"),
        (search(evaluator={"name": "theirs:Refusing"}), "search.evaluator: theirs:Refusing cannot be made"),
        (search(evaluator={"name": "train", "epochs": 0}), "winners.training is 'finetune'"),
        (search(evaluator={"name": "train", "epochs": 0}) | {"winners": {"training": "scratch"}}, "0 epochs of"),
        ({"target": {"device": "host", "runner": "theirs:Nowhere"}}, "target.runner: theirs:Nowhere cannot be made"),
        ({"target": {"device": "host", "runner": "theirs:Unbuilt"}}, "its compiler is not installed"),
        ({"target": {"device": "host", "runner": "theirs:Serial"}}, "is no runner: it has no method `load`"),
        ({"exit_policy": {"name": "theirs:Serial"}}, "is no exit policy: it has no method `scores`"),
        ({"exit_policy": {"name": "leaning:Leaning"}}, "in a bundle, where its file stands alone: ModuleNotFound"),
        ({"exit_policy": {"name": "alone:Hashing"}}, "cannot run in a bundle"),
        ({"exit_policy": {"name": "theirs:Renamed"}}, "cannot run in a bundle"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_said_before_anything_is_written(
    section: dict[str, Any], said: str, nas: Command
) -> None:
    experiment = write(Path(), small(**section))
    plugins = ("--plugins", "theirs,leaning,alone")
    assert said in nas("check", experiment, *plugins).error
    assert said in nas("run", experiment, "--out", "run", *plugins).error
    assert not Path("run").exists()


@pytest.fixture
def begun(finished: Path) -> Path:
    """A run that has its shared weights."""
    shutil.copytree(finished, "run")
    rewind(Path("run"), "supernet")
    return Path("run")


def gone_on(nas: Command, begun: Path, **section: Any) -> Any:
    """The run as if it had been begun so, gone on with."""
    experiment = write(begun, small(**section))
    return nas("run", experiment, "--out", str(begun), "--resume", "--plugins", "theirs,alone")


@pytest.mark.parametrize("name", ["Short", "Backwards"])
def test_an_executor_that_does_not_answer_what_it_is_asked_is_refused(name: str, begun: Path, nas: Command) -> None:
    error = gone_on(nas, begun, **search(executor={"name": f"theirs:{name}"})).error
    assert f"search.executor: theirs:{name} answered network" in error and "in the order of the items" in error


def test_an_evaluator_that_scores_other_images_fails(begun: Path, nas: Command) -> None:
    error = gone_on(nas, begun, **search(evaluator={"name": "theirs:Few"})).error
    assert "could be judged: ValueError: the evaluator scores (3, " in error and "300 images at" in error


def test_networks_that_cannot_be_judged_have_failed_and_the_others_go_on(begun: Path, nas: Command) -> None:
    """Some of the search, and all candidates when they are judged again on more images."""
    done = gone_on(nas, begun, **search(evaluator={"name": "theirs:Now"}, images=100))
    trials = read_jsonl(begun / "trials.jsonl")
    failed = [trial for trial in trials if trial["status"] == "failed"]
    assert 0 < len(failed) < len(trials) and {trial["error"] for trial in failed} == {"MemoryError: too much"}
    assert "Traceback" not in done.err and "a candidate could not be judged on all images: MemoryError" in done.out
    again = gone_on(nas, begun, **search(evaluator={"name": "theirs:Now"}, images=100))
    assert again.code == done.code and read_jsonl(begun / "trials.jsonl") == trials


def test_where_networks_are_judged_may_change_within_a_run_and_other_things_not(begun: Path, nas: Command) -> None:
    experiment = write(Path(), small(**search(executor={"name": "theirs:Backwards"})))
    error = nas("run", experiment, "--out", str(begun), "--resume", "--plugins", "theirs").error
    assert "in the order of the items" in error, "it was asked"
    experiment = write(Path(), small(**search(images=200)))
    error = nas("run", experiment, "--out", str(begun), "--resume").error
    assert "was begun with another experiment: search.images was 300 and is 200;" in error


@pytest.mark.slow
def test_a_policy_whose_file_was_changed_is_another_one(nas: Command) -> None:
    experiment = write(Path(), small(exit_policy={"name": "alone:Leaning"}))
    assert nas("run", experiment, "--out", "run", "--plugins", "alone").code == 0
    Path("alone.py").write_text(Path("alone.py").read_text().replace(".max(-1)", ".min(-1)"))
    for command in (("verify", "run"), ("run", experiment, "--out", "run", "--resume")):
        assert "the file of alone:Leaning was changed since" in nas(*command, "--plugins", "alone").error


@pytest.mark.parametrize("compiled", [True, False])
def test_a_run_does_not_go_on_with_other_kernels(
    compiled: bool, begun: Path, nas: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which differ in the last digits."""
    path = begun / "environment.json"
    atomic_write_json(path, json.loads(path.read_text()) | {"compiled_kernels": compiled})
    monkeypatch.setattr(native, "available", lambda: not compiled)
    error = nas("run", str(begun / "experiment.yaml"), "--out", str(begun), "--resume").error
    assert f"was begun {'with' if compiled else 'without'} a C++ compiler" in error


def test_a_run_does_not_go_on_on_another_backend(begun: Path, nas: Command) -> None:
    path = begun / "environment.json"
    noted = json.loads(path.read_text())
    assert noted["backend"] == "cpu"
    atomic_write_json(path, noted | {"backend": "gpu"})
    error = nas("run", str(begun / "experiment.yaml"), "--out", str(begun), "--resume").error
    assert "was begun on JAX's backend gpu, and this process computes on cpu" in error


def test_what_stands_in_the_program_that_runs_cannot_be_judged_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """And is judged here."""
    monkeypatch.setattr(sys.modules["__main__"], "Mine", SharedWeights, raising=False)
    for executor in ({"name": "processes"}, {"name": "serial", "threads_per_worker": 1}):
        data = small(**search(evaluator="__main__:Mine", executor=executor))
        experiment = load_experiment(data, plugins=["__main__"])
        with pytest.raises(InputError, match="none of them can import __main__:Mine: it stands in the program"):
            run_experiment(experiment, "run")
    assert not Path("run").exists()
    here = load_experiment(small(**search(evaluator="__main__:Mine")), plugins=["__main__"])
    assert materials(here).space.genes
