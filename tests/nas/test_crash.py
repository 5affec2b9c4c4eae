"""What `benchmarks/crash.py` looks for is found: of a run that was killed, and of one that somebody damaged."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.crash_looks import Looks, differences
from nas.process.files import append_jsonl, read_jsonl
from tests.documents import ROOT


@pytest.fixture
def now(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "now")
    return tmp_path / "now"


def again(path: Path) -> None:
    """Make a file a second time."""
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)


def shortened(path: Path) -> None:
    path.write_bytes(path.read_bytes().rpartition(b"\n")[0].rpartition(b"\n")[0] + b"\n")


def test_a_run_that_nobody_touched_has_no_fault(finished: Path, now: Path) -> None:
    looks = Looks(now)
    looks.look()
    # A torn line was never written, nor what has another name yet.
    with (now / "log.jsonl").open("ab") as file:
        file.write(b'{"torn')
    (now / "optimiser").mkdir()
    rests = [now / ".tmp-1-front.json", now / "optimiser" / ".tmp-1-mean.json"]
    for rest in rests:
        rest.write_text("{")
    looks.look()
    for rest in rests:
        rest.unlink()
    looks.end(finished)
    assert (looks.unreadable, looks.lost, looks.doubled) == ([], [], [])
    assert not list(differences(now, finished))


@pytest.mark.parametrize(
    ("harm", "fault"),
    [
        (lambda run: (run / "front.json").write_text("{"), "unreadable"),
        (lambda run: (run / "winners/mean/weights.safetensors").write_bytes(b"1234"), "unreadable"),
        (lambda run: (run / "winners/mean/manifest.json").write_text("[]"), "unreadable"),
        (lambda run: shortened(run / "trials.jsonl"), "lost"),
        (lambda run: shortened(run / "log.jsonl"), "lost"),
        (lambda run: (run / "front.json").unlink(), "lost"),
        (lambda run: shutil.rmtree(run / "winners" / "mean"), "lost"),
        (lambda run: (run / "test.json").unlink(), "lost"),
        (lambda run: again(run / "winners/mean/weights.safetensors"), "doubled"),
        (lambda run: again(run / "supernet.safetensors"), "doubled"),
        (lambda run: again(run / "verify.json"), "doubled"),
        (lambda run: append_jsonl(run / "measurements.jsonl", [read_jsonl(run / "measurements.jsonl")[-1]]), "doubled"),
    ],
)
def test_a_fault_is_found(harm: Callable[[Path], object], fault: str, finished: Path, now: Path) -> None:
    looks = Looks(now)
    looks.look()
    harm(now)
    looks.end(finished)
    assert getattr(looks, fault)


def test_times_and_facts_of_processes_are_no_difference(finished: Path, now: Path) -> None:
    rows = [row | {"conditions": None} for row in read_jsonl(now / "measurements.jsonl")]
    (now / "measurements.jsonl").unlink()
    append_jsonl(now / "measurements.jsonl", rows)
    environment = json.loads((now / "environment.json").read_text())
    (now / "environment.json").write_text(json.dumps({**environment, "facts": {}, "@crc32": ""}))
    with (now / "log.jsonl").open("a") as file:
        file.write("{}\n")
    assert not list(differences(now, finished))
    (now / "front.json").write_text("{}")
    (now / "report.html").unlink()
    (now / "training.safetensors").write_text("")
    assert list(differences(now, finished)) == [
        "front.json differs", "report.html is missing", "training.safetensors is there, and should not be"
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("how", [(), ("--writes",)])
def test_a_run_and_sweeps_that_are_killed_lose_nothing(how: tuple[str, ...], tmp_path: Path) -> None:
    out = tmp_path / "crash.json"
    command = [sys.executable, str(ROOT / "benchmarks" / "crash.py"), "--kills", "12", "--json", str(out), *how]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(out.read_text())
    assert {key: found[key] for key in ("kills", "equal", "unreadable", "lost", "doubled")} == {
        "kills": 12, "equal": True, "unreadable": 0, "lost": 0, "doubled": 0
    }  # fmt: skip
