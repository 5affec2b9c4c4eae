"""Many workers in one run: what they find and train is what one finds and trains, byte for byte."""

from __future__ import annotations

import importlib.util
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from nas.config import parse
from nas.devices.replay import Recording
from nas.process.events import Event, Voice
from nas.process.facts import cores_used
from nas.process.files import read_jsonl
from nas.run.folder import RunFolder
from nas.run.layout import EXPERIMENT
from nas.run.opening import materials, open_context
from nas.stages import search, train
from tests.nas.opened_runs import rewind
from tests.nas.search.executors.tasks import is_alive
from tests.nas.small_runs import Command, small, write

BYTES = ("trials.jsonl", "front.json", "winners/*/weights.safetensors", "winners/*/scores.npz")
CORES = len(cores_used())


def found_with(executor: str, finished: Path, run: Path, said: list[Event] | None = None) -> dict[str, bytes]:
    """What the run finds and trains when it goes on from its shared weights with an executor, by file."""
    shutil.copytree(finished, run)
    rewind(run, "supernet")
    experiment = parse.load(run / EXPERIMENT, (f"search.executor={executor}",))
    found = materials(experiment, begun=True)
    recording = Recording(finished / "measurements.jsonl")
    with RunFolder.open(run, resume=True) as folder:
        voice = Voice([].append if said is None else said.append)
        context = open_context(experiment, found, folder, voice, recording.device)
        search.search(context)
        train.train_winners(context)
    return files(run)


def files(run: Path) -> dict[str, bytes]:
    return {str(path.relative_to(run)): path.read_bytes() for name in BYTES for path in sorted(run.glob(name))}


def test_two_processes_find_and_train_what_one_does(finished: Path, tmp_path: Path) -> None:
    """With as many threads as this process has, where the run was carried out one by one."""
    said: list[Event] = []
    executor = f"{{name: processes, workers: 2, threads_per_worker: {CORES}}}"
    found = found_with(executor, finished, tmp_path / "run", said)
    assert len(found) == 6 and found == files(finished)
    texts = {event.text for event in said}
    assert {"networks judged", "winners trained"} <= texts
    assert any(text.startswith(f"search.executor: 2 workers of {CORES} thread") for text in texts)
    assert not any("last digits" in text for text in texts)


@pytest.mark.slow
@pytest.mark.parametrize(
    "other",
    [
        "{name: processes, workers: 2, threads_per_worker: 1}",
        pytest.param(
            "{name: ray, workers: 2, threads_per_worker: 1}",
            marks=pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed"),
        ),
    ],
)
def test_with_other_threads_too(other: str, finished: Path, tmp_path: Path) -> None:
    said: list[Event] = []
    one = found_with("{name: serial, threads_per_worker: 1}", finished, tmp_path / "one", said)
    assert len(one) == 6 and one == found_with(other, finished, tmp_path / "two")
    warned = [event.text for event in said if event.kind == "warning" and "last digits" in event.text]
    assert len(warned) == (CORES > 1) and all(f"with {CORES} threads" in text for text in warned)


@pytest.mark.slow
def test_threads_that_workers_are_given_are_those_of_a_process_that_has_no_more_cores(
    finished: Path, tmp_path: Path
) -> None:
    """One thread by the executor is one core by the system: what is found has the same bytes."""
    shutil.copytree(finished, tmp_path / "one")
    rewind(tmp_path / "one", "supernet")
    program = (
        "import os, sys\n"
        "os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])\n"
        "from nas.cli.main import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    command = ("search", str(tmp_path / "one" / EXPERIMENT), "--out", str(tmp_path / "one"), "--resume")
    subprocess.run([sys.executable, "-c", program, *command], check=True, capture_output=True)
    two = found_with("{name: processes, workers: 2, threads_per_worker: 1}", finished, tmp_path / "two")
    assert (tmp_path / "one" / "trials.jsonl").read_bytes() == two["trials.jsonl"]
    assert (tmp_path / "one" / "front.json").read_bytes() == two["front.json"]


#: Judges by size, without weights; some networks end its process, once each or always.
DEADLY = """
import os, signal, time
from pathlib import Path
from typing import Any
import numpy as np
from nas.exits.scores import Scores


class Deadly:
    needs_weights = False

    def __init__(self, context: Any, *, place: str, deaths: int = 0, wait_s: float = 0.0) -> None:
        self.space, self.place, self.deaths, self.wait_s = context.space, Path(place), deaths, wait_s

    def scores(self, genome, images, present):
        network = self.space.decode(genome)
        time.sleep(self.wait_s)
        (self.place / f"process-{os.getpid()}").touch()
        for number in range(self.deaths if int(network.key, 16) % 4 == 0 else 0):
            mark = self.place / f"{network.key}-{number}"
            if not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        right = np.arange(images) < images * (int(network.key[:4], 16) / 0xFFFF)
        correct = np.repeat(right[:, None], int(present.sum()), 1)
        return Scores(np.ones(correct.shape), correct)
"""


def deadly(place: Path, executor: dict[str, Any], **how: Any) -> str:
    """An experiment whose networks are judged so, and where nothing is measured."""
    place.mkdir()
    Path("deadly.py").write_text(DEADLY)
    evaluator = {"name": "deadly:Deadly", "place": str(place), **how}
    data = small(
        target={"device": "rpi4b", "runner": "onnxruntime"},
        calibration={"networks": 0},
        search={**small()["search"], "evaluator": evaluator},
        winners={**small()["winners"], "training": "scratch"},
        executor=executor,
    )
    return write(place, data)


def trials(nas: Command, experiment: str, out: str) -> bytes:
    done = nas("search", experiment, "--out", out, "--resume", "--plugins", "deadly")
    assert done.code == 0, done.err
    return (Path(out) / "trials.jsonl").read_bytes()


TWO = {"name": "processes", "workers": 2}


@pytest.mark.slow
def test_workers_that_die_change_nothing(nas: Command, tmp_path: Path) -> None:
    """A quarter of the networks kill their worker, and the next one, but not the third."""
    alone = trials(nas, deadly(tmp_path / "a", {"name": "serial"}), "alone")
    assert trials(nas, deadly(tmp_path / "b", TWO, deaths=2), "two") == alone
    assert len(list((tmp_path / "b").glob("process-*"))) > 4


@pytest.mark.slow
def test_a_network_that_always_kills_its_worker_is_a_failed_trial(nas: Command, tmp_path: Path) -> None:
    trials(nas, deadly(tmp_path / "a", TWO, deaths=3), "two")
    found = read_jsonl(Path("two/trials.jsonl"))
    failed = [trial for trial in found if int(trial["key"], 16) % 4 == 0]
    assert failed and [trial for trial in found if trial["status"] == "failed"] == failed
    assert {trial["error"] for trial in failed} == {"its process was ended by SIGKILL, 3 times"}


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 4)])
def test_workers_end_with_a_run_that_is_ended_and_another_goes_on(
    number: signal.Signals, code: int, nas: Command, tmp_path: Path
) -> None:
    alone = trials(nas, deadly(tmp_path / "a", {"name": "serial"}), "alone")
    experiment = deadly(tmp_path / "b", TWO, wait_s=0.2)
    command = [sys.executable, "-m", "nas", "search", experiment, "--out", "two", "--plugins", "deadly"]
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not read_jsonl(Path("two/trials.jsonl")):
        assert run.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    run.send_signal(number)
    assert run.wait() == code
    workers = [int(path.name.partition("-")[2]) for path in (tmp_path / "b").glob("process-*")]
    assert workers
    deadline = time.monotonic() + 5
    while any(map(is_alive, workers)):
        assert time.monotonic() < deadline, "a worker outlived its run"
        time.sleep(0.05)
    assert trials(nas, experiment, "two") == alone
