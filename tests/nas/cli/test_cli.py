from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import hardware_profiles
import nas as nas_package
from nas.cli.main import main
from nas.process import facts
from search_spaces.toy import toy
from tests.nas.small_runs import SMALL, Command, hashes, small, write

STAGES = ("train", "export", "verify", "report")
COMMANDS = ("run", "search", *STAGES, "devices", "doctor", "profile", "latency", "check")


def test_help_says_the_commands_and_the_exit_codes(nas: Command) -> None:
    done = nas("--help")
    assert done.code == 0 and done.err == ""
    assert all(re.search(rf"^    {command}  ", done.out, re.MULTILINE) for command in COMMANDS)
    assert "exit codes: 0 every budget kept; 2 malformed input; 3 " in done.out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, nas: Command) -> None:
    done = nas(command, "--help")
    assert done.code == 0 and done.out.startswith(f"usage: nas {command} ") and done.err == ""


def test_the_version_is_the_packages(nas: Command) -> None:
    from nas import __version__

    assert nas("--version").out == f"hwnas {__version__}\n"


@pytest.mark.parametrize("arguments", [(), ("fly",), ("run",), ("run", "x.yaml", "--sed", "1"), ("train",)])
def test_a_command_that_does_not_exist_is_malformed_input(arguments: tuple[str, ...], nas: Command) -> None:
    done = nas(*arguments)
    assert done.code == 2 and "usage: nas" in done.err and done.out == ""


def test_devices_are_listed_whole_and_one_is_shown_with_the_source_of_every_number(nas: Command) -> None:
    listed = nas("devices")
    assert listed.code == 0
    assert all(re.search(rf"^ {name} ", listed.out, re.MULTILINE) for name in hardware_profiles.names())
    assert "…" not in listed.out
    shown = nas("devices", "raspi4")
    profile = hardware_profiles.load("raspi4")
    assert shown.code == 0 and shown.out.startswith(f"{profile.name} ({profile.id}, ")
    for label, quantity in profile.quantities():
        line = next(line for line in shown.out.splitlines() if line.split()[:1] == [label])
        assert f"{quantity.value:,.6g}" in line and quantity.grade in line


def test_a_device_that_is_not_known_names_the_nearest(nas: Command) -> None:
    assert "no device profile is called 'raspi44'; nearest: rpi4b" in nas("devices", "raspi44").error


def test_a_device_of_your_own_is_shown_too(nas: Command) -> None:
    shipped = Path(hardware_profiles.__file__).parent / "devices" / "rpi5.yaml"
    text = re.sub(r"^id: .*$", "id: mine", shipped.read_text(), flags=re.MULTILINE)
    Path("mine.yaml").write_text(re.sub(r"^aliases: .*$", "aliases: [my_board]", text, flags=re.MULTILINE))
    assert "(mine, cpu, " in nas("devices", "mine.yaml").out


def test_the_doctor_says_what_works_here(nas: Command) -> None:
    done = nas("doctor")
    assert done.code == 0
    for what in ("Python", "JAX", "ONNX Runtime"):
        assert re.search(rf"^ *ok  {what}: ", done.out, re.MULTILINE)


def test_the_doctor_does_not_call_a_machine_well_that_cannot_run(nas: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    done = nas("doctor")
    assert done.code == 3 and re.search(r"^ *no  ONNX Runtime: ", done.out, re.MULTILINE)


def test_the_doctor_says_what_latencies_and_trainings_depend_on(nas: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    monkeypatch.setattr(facts, "gpus", lambda *_: ("NVIDIA H100",))
    monkeypatch.setattr(facts, "governor", lambda: "powersave")
    monkeypatch.setattr(facts, "kernel_compiler", lambda: None)
    out = nas("doctor").out
    assert re.search(r"^no  governor: powersave, not performance", out, re.MULTILINE)
    assert re.search(r"^no  C\+\+ kernel: there is no C\+\+ compiler", out, re.MULTILINE)
    gpu = re.search(r"^(ok|no)  GPU: (.*)$", out, re.MULTILINE)
    assert gpu and gpu[2].startswith("NVIDIA H100 is here and is not used" if gpu[1] == "no" else "NVIDIA H100")
    assert re.search(r"^ok  processor: .*\d+ of \d+ cores", out, re.MULTILINE)


@pytest.mark.parametrize("space", ["toy", "mobile", "search_spaces.toy:toy"])
def test_our_spaces_keep_their_contract(space: str, nas: Command) -> None:
    done = nas("check", space)
    assert done.code == 0 and len(done.out.splitlines()) >= 4
    assert all(line.startswith("ok ") for line in done.out.splitlines())


BROKEN = """
import dataclasses
import numpy as np
from search_spaces.slots import ExitSite
from search_spaces.toy import toy
from search_spaces.staged import StagedSpace

class Restless(StagedSpace):
    def canonical(self, genomes):
        result = super().canonical(genomes)
        result[:, 0] = 1 - result[:, 0]
        return result

class Careless(StagedSpace):
    def canonical(self, genomes):
        return np.array(genomes)

class Mistaken(StagedSpace):
    exit_sites = (ExitSite(None), ExitSite(None))

class Boastful(StagedSpace):
    def active(self, genomes):
        return np.ones(genomes.shape, bool)

class Old:
    # Wraps a space, and hands on what there was to ask for once.
    def __init__(self, space):
        self.name, self.input_shape, self.classes = space.name, space.input_shape, space.classes
        self.genes, self.slots = space.genes, space.slots
        self.canonical, self.decode = space.canonical, space.decode

def old(input_shape, classes):
    return Old(toy(input_shape, classes))

def mistaken(input_shape, classes):
    return _as(Mistaken, input_shape, classes)

def boastful(input_shape, classes):
    return _as(Boastful, input_shape, classes)

def _as(kind, input_shape, classes):
    space = toy(input_shape, classes)
    return kind(**{field.name: getattr(space, field.name) for field in dataclasses.fields(space)})

def restless(input_shape, classes):
    return _as(Restless, input_shape, classes)

def careless(input_shape, classes):
    return _as(Careless, input_shape, classes)
"""


@pytest.mark.parametrize(
    ("name", "law"),
    [
        ("restless", "canonical is not idempotent for ["),
        ("careless", "differ and give the same network"),
        ("mistaken", "breaks the law sites_are_told ("),
        ("boastful", "is said to be active; it is not so"),
        ("old", "it lacks exit_sites, active; see `SearchSpace`"),
    ],
)
def test_a_space_that_breaks_the_contract_is_told_which_law(
    name: str, law: str, nas: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "broken_spaces", raising=False)
    Path("broken_spaces.py").write_text(BROKEN)
    assert law in nas("check", f"broken_spaces:{name}").error


@pytest.mark.parametrize(
    "subject", ["nothing.yaml", ":toy", "search_spaces.toy:", "search_spaces.toy:tyo", "os:system"]
)
def test_what_cannot_be_checked_is_said(subject: str, nas: Command) -> None:
    assert nas("check", subject).error


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_without_a_run_says_what_to_do(stage: str, nas: Command) -> None:
    assert "nothing is not a run: it has no experiment.yaml; start one with `nas run`" in nas(stage, "nothing").error
    assert not Path("nothing").exists()


def test_a_stage_that_comes_too_early_says_what_to_do(nas: Command, tmp_path: Path) -> None:
    impossible = small(budgets=[{"name": "fast", "latency": "1 us"}], calibration={"networks": 0})
    assert nas("search", write(tmp_path, impossible), "--out", "run").code == 3
    assert "run has no front.json yet; run the search first" in nas("train", "run").error
    for stage in ("export", "verify"):
        assert "run has no winners yet; run `nas train run`" in nas(stage, "run").error


def test_nothing_is_trained_where_nothing_fits(nas: Command, tmp_path: Path) -> None:
    impossible = small(
        budgets=[{"name": "fast", "latency": "1 us"}, {"name": "mean", "latency": "2 us", "of": "expected"}]
    )
    done = nas("run", write(tmp_path, impossible), "--out", "run")
    assert done.code == 3
    assert done.err.count("\n") == 1 and done.err.startswith("nas: nothing fits: Budget fast allows at most 1.00 us ")
    assert "Budget mean allows at most 2.00 us on average" in done.err
    # The fastest network is named, by a genome of this space.
    named = re.findall(r"genome (\[[0-9, ]+\])", done.err)
    assert len(named) == 2
    files = set(hashes(Path("run")))
    assert {"experiment.yaml", "environment.json", "measurements.jsonl", "latency_model.npz", "report.html"} <= files
    assert not files & {"supernet.safetensors", "trials.jsonl", "front.json", "verify.json"}
    assert "nothing fits" in Path("run/report.html").read_text()
    # Asked again, it says the same and measures nothing again.
    before = Path("run/measurements.jsonl").read_bytes()
    again = nas("run", write(tmp_path, impossible), "--out", "run", "--resume")
    assert (again.code, again.err) == (3, done.err)
    assert Path("run/measurements.jsonl").read_bytes() == before


def test_the_default_folder_is_named_after_the_experiment(nas: Command, tmp_path: Path) -> None:
    impossible = small(budgets=[{"name": "fast", "latency": "1 us"}], calibration={"networks": 0})
    assert nas("search", write(tmp_path, impossible)).code == 3
    assert Path("runs/small/experiment.yaml").is_file()


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    done = subprocess.run(
        f"{sys.executable} -m nas devices | head -n 1",
        shell=True,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr


def test_how_long_the_command_takes_to_answer_can_be_measured(tmp_path: Path) -> None:
    benchmark = Path(__file__).parents[3] / "benchmarks" / "imports.py"
    command = [sys.executable, str(benchmark), "--runs", "1", "--json", str(tmp_path / "imports.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    record = json.loads((tmp_path / "imports.json").read_text())
    assert done.returncode == (0 if record["kept"] else 1)
    assert set(record["cpu_seconds"]) == {"python -c pass", "nas --help", "nas devices"}
    assert all(0 < row["min_s"] <= row["median_s"] <= row["max_s"] for row in record["cpu_seconds"].values())


def test_the_command_is_a_function_too() -> None:
    assert main(["check", "toy"]) == 0
    assert toy((3, 32, 32), 10).name == "toy"


def test_small_is_small() -> None:
    """The experiment of these tests keeps what they rely on."""
    assert SMALL["search"]["evaluations"] > 2 * SMALL["search"]["batch"]


@pytest.mark.parametrize("closed", [">&-", "<&- >&-", "<&- >&- 2>&-"])
def test_a_process_without_standard_streams_works_as_one_without_a_terminal(closed: str, tmp_path: Path) -> None:
    command = f"{sys.executable} -m nas check toy {closed}"
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_errors_are_said_where_there_is_no_standard_output(tmp_path: Path) -> None:
    command = f"{sys.executable} -m nas check nothing.yaml >&-"
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.startswith("nas: error: ") and done.stderr.count("\n") == 1


def test_no_file_gets_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    """A program that is started from here finds the stream open too."""
    (tmp_path / "program.py").write_text("""
import subprocess, sys
from nas.process.streams import open_missing
open_missing()
with open("kept", "w") as kept:
    writes = "import os; os.write(1, b'x'); os.write(2, b'x')"
    kept.write(f"{kept.fileno() > 2} {subprocess.call([sys.executable, '-c', writes])}")
""")
    environment = {**os.environ, "PYTHONPATH": str(Path(nas_package.__file__).parents[1])}
    command = f"{sys.executable} program.py <&- >&- 2>&-"
    subprocess.run(command, shell=True, cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / "kept").read_text() == "True 0"
