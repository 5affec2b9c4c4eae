"""From a YAML to winners that run on their own, with the real command; the files of a run's folder are a contract."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.deploy import manifest
from nas.process.files import read_jsonl, sha256_file
from nas.run.layout import RunFiles
from nas.run.trial import load_batches
from nas.run.verdict import Verdicts
from nas.run.verdict_files import load_verdicts
from nas.tolerances import ARTEFACT_RELATIVE
from search_spaces.ir import Network
from tests.nas.small_runs import SMALL, Command, hashes, small, write

FILES = {
    "experiment.yaml",
    "environment.json",
    "trials.jsonl",
    "front.json",
    "supernet.safetensors",
    "measurements.jsonl",
    "latency_model.npz",
    "unmet.json",
    "verify.json",
    "test.json",
    "report.html",
    "log.jsonl",
    "lengths.json",
}
WINNER = {"architecture.json", "weights.safetensors", "model.onnx", "exit_0.onnx", "manifest.json", "run.py"}
WINNER |= {"thresholds.json"}
BUDGETS = [budget["name"] for budget in SMALL["budgets"]]


def verified(run: Path) -> Verdicts:
    return load_verdicts(RunFiles(run))


def record_of(run: Path, name: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((run / name).read_text())
    return record


def test_the_folder_has_the_files_that_other_tools_read(finished: Path) -> None:
    assert {path.name for path in finished.iterdir() if path.is_file()} >= FILES
    for name in BUDGETS:
        assert {path.name for path in (finished / "winners" / name).iterdir()} >= WINNER
    assert not list(finished.rglob(".tmp-*"))


def test_every_evaluated_genome_has_its_line(finished: Path) -> None:
    batches = load_batches(finished / "trials.jsonl")
    assert [len(batch) for batch in batches] == [5, 5, 2]
    trials = [trial for batch in batches for trial in batch]
    assert len({trial.genome for trial in trials}) == len({trial.key for trial in trials}) == 12
    assert all(trial.status == "complete" and trial.violation == (0, 0) for trial in trials)
    front = json.loads((finished / "front.json").read_text())
    assert {record["key"] for record in front["pareto"]} <= {trial.key for trial in trials}
    assert set(front["budgets"]) == set(BUDGETS)


def test_the_environment_says_what_a_result_depends_on(finished: Path) -> None:
    environment = json.loads((finished / "environment.json").read_text())
    assert environment["seed"] == 0 and environment["versions"]["jax"] and environment["machine"]["cores"] >= 1
    splits = environment["splits"]
    assert {part: splits[part]["images"] for part in ("val", "arch", "cert")} == {"val": 300, "arch": 75, "cert": 0}
    assert splits["train"]["images"] + 375 + splits["left_out"] + splits["test"]["images"] == 1797
    assert all(len(splits[part]["sha256"]) == 64 for part in ("train", "arch", "val", "cert", "test"))
    assert environment["profiles"]["host"]["peak_flops_per_s"]


def test_verify_json_says_per_budget_what_was_promised_and_measured(finished: Path) -> None:
    record = record_of(finished, "verify.json")
    assert record["schema"] == 2 and record["looks"] == 1 and record["unmet"] == []
    assert [winner["name"] for winner in record["winners"]] == BUDGETS
    for winner, budget in zip(record["winners"], SMALL["budgets"], strict=True):
        assert winner["budget"] == {"name": budget["name"], "of": budget.get("of", "worst_case"), "latency_s": 0.2}
        assert winner["target"] == "host-onnxruntime-t1-b1-float32" and winner["budget_s"] == 0.2
        assert 0 < winner["measured_s"] <= winner["upper_95_s"] <= 0.2 and winner["within_budget"] is True
        assert winner["predicted_s"] > 0 and winner["predicted_std_s"] >= 0
        assert 0 <= winner["accuracy"]["val"] <= 1
        reach = [exit_["reach_s"] for exit_ in winner["exits"]]
        assert reach == sorted(reach) and reach[-1] == pytest.approx(winner["worst_case_s"])
        assert sum(exit_["rate"] for exit_ in winner["exits"]) == pytest.approx(1)
        assert winner["exits"][-1]["threshold"] is None
        if winner["budget"]["of"] == "worst_case":
            assert {exit_["threshold"] for exit_ in winner["exits"]} == {None}
            assert [exit_["rate"] for exit_ in winner["exits"]] == [0] * (len(reach) - 1) + [1]
        # The profile of this machine says nothing of its power.
        assert winner["energy_estimate_j"] is None and "'host' has no idle_w" in winner["energy_estimate_reason"]
        assert winner["peak_memory_estimate_bytes"] > winner["counts"]["peak_memory_bytes"]
        assert all((finished / file).is_file() for file in winner["files"])


def test_test_json_says_per_budget_what_the_test_images_said(finished: Path) -> None:
    record = record_of(finished, "test.json")
    assert record["schema"] == 2 and record["kept"] is True
    assert record["verify_sha256"] == sha256_file(finished / "verify.json")
    assert [winner["name"] for winner in record["winners"]] == BUDGETS
    for winner, measured in zip(record["winners"], record_of(finished, "verify.json")["winners"], strict=True):
        assert winner["kept"] is True and winner["reason"] == ""
        assert winner["parity"]["onnxruntime"]["ok"] is True
        assert winner["parity"]["onnxruntime"]["max_difference"] <= ARTEFACT_RELATIVE
        assert winner["parity"]["whole_model"]["ok"] is True
        assert winner["parity"]["tvm"] == {"skipped": "turned off by verify.tvm"}
        accuracy = winner["accuracy"]
        low, high = accuracy["interval"]
        assert 0 <= low <= accuracy["test_exported"] <= high <= 1 and accuracy["images"] == 359
        assert abs(accuracy["test_exported"] - accuracy["test_before_export"]) < 0.01
        classes = winner["classes"]
        assert [each["name"] for each in classes] == [str(digit) for digit in range(10)]
        assert sum(each["images"] for each in classes) == 359
        hits = sum(each["images"] * each["recall"] for each in classes)
        assert hits / 359 == pytest.approx(accuracy["test_exported"])
        assert sum(each["recall"] for each in classes) / 10 == pytest.approx(accuracy["balanced"])
        assert all(low <= each["recall"] <= high for each in classes for low, high in [each["interval"]])
        assert [exit_["name"] for exit_ in winner["exits"]] == [exit_["name"] for exit_ in measured["exits"]]
        assert sum(exit_["test_rate"] for exit_ in winner["exits"]) == pytest.approx(1)
    verdicts = verified(finished)
    assert verdicts.tested and verdicts.kept and [verdict.kept for verdict in verdicts.winners] == [True, True]


def test_the_architecture_is_the_network_that_was_trained_and_exported(finished: Path) -> None:
    from nas.nn.weights import from_bytes

    winners = verified(finished).winners
    assert [winner.name for winner in winners] == BUDGETS
    for winner in winners:
        folder = finished / "winners" / winner.name
        record = json.loads((folder / "architecture.json").read_text())
        network = Network.from_json(json.dumps(record["network"]))
        assert network.key == record["key"] == winner.key
        weights, _ = from_bytes((folder / "weights.safetensors").read_bytes())
        assert {name: weight.shape for name, weight in weights.items()} == {
            name: weight.shape for name, weight in network.weight_shapes.items()
        }
        exported = manifest.load(folder)
        assert exported.architecture == network.key and manifest.differences(folder, exported) == ()


def test_the_log_has_every_stage_once(finished: Path) -> None:
    ended = [event["stage"] for event in read_jsonl(finished / "log.jsonl") if event["event"] == "end"]
    assert ended == ["calibrate", "supernet", "search", "train", "export", "verify", "test", "report"]


def test_the_report_stands_alone(finished: Path) -> None:
    page = (finished / "report.html").read_text()
    assert all(name in page for name in BUDGETS)
    for outside in ('src="http', "src='http", '<link rel="stylesheet"', "@import", "url(http"):
        assert outside not in page


@pytest.mark.parametrize("name", BUDGETS)
def test_a_winner_runs_without_this_package(name: str, finished: Path, tmp_path: Path) -> None:
    """In another place, isolated: neither the working directory nor the environment lends it anything."""
    shutil.copytree(finished / "winners" / name, tmp_path / "bundle")
    shutil.rmtree(tmp_path / "bundle" / "__pycache__", ignore_errors=True)
    images = np.random.default_rng(0).integers(0, 17, (3, 8, 8), np.uint8)
    np.save(tmp_path / "images.npy", images)
    done = subprocess.run(
        [sys.executable, "-I", str(tmp_path / "bundle" / "run.py"), str(tmp_path / "images.npy")],
        cwd=tmp_path,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == ["0", "1", "2"]
    assert all(line[1] in "0123456789" and 0 < float(line[2]) <= 1 and line[3] == "exit" for line in lines)
    # The sources of the project are nowhere in what it imports.
    text = "".join((tmp_path / "bundle" / file).read_text() for file in ("run.py", "cascade.py", "preprocessing.py"))
    assert "from nas" not in text and "import nas" not in text


def test_a_run_that_is_finished_is_left_as_it_is(finished: Path, nas: Command, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "run")
    before = hashes(tmp_path / "run")
    done = nas("run", write(tmp_path, SMALL), "--out", "run", "--resume")
    assert done.code == 0 and "kept" in done.out
    after = hashes(tmp_path / "run")
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert changed <= {"log.jsonl", "lengths.json", "report.html", ".lock"}


def test_stages_can_be_run_again_alone(finished: Path, nas: Command, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    (run / "report.html").unlink()
    assert nas("report", "run").code == 0 and (run / "report.html").is_file()
    before = hashes(run)
    assert nas("train", "run").code == nas("export", "run").code == 0
    changed = {name for name, value in hashes(run).items() if before.get(name) != value}
    assert changed <= {"log.jsonl", "lengths.json", ".lock"}
    # Measured again: more readings, the same winners.
    was = verified(run)
    assert nas("verify", "run").code == 0
    now = verified(run)
    assert [winner.key for winner in now.winners] == [winner.key for winner in was.winners]
    assert (was.looks, now.looks) == (1, 2) and was.tested and now.tested
    assert len(read_jsonl(run / "measurements.jsonl")) == len(read_jsonl(finished / "measurements.jsonl")) + 2


def test_the_name_of_a_folder_is_printed_as_it_is(finished: Path, nas: Command, tmp_path: Path) -> None:
    """Square brackets mean colours to the console, and a closing one without an opening one is an error there."""
    shutil.copytree(finished, tmp_path / "run[" / "bold]")
    shutil.copytree(finished, tmp_path / "run[" / "x]")
    for name in ("run[/bold]", "run[/x]"):
        done = nas("report", name)
        assert done.code == 0 and f"report: {name}/report.html\n" in done.out


@pytest.mark.slow
def test_libraries_of_tvm_answer_like_the_network(nas: Command, tmp_path: Path) -> None:
    from nas.deploy.tvm import available, compiler

    if not available()[0] or compiler().command is None:
        pytest.skip("TVM or a compiler is missing")
    experiment = small(verify={**SMALL["verify"], "tvm": True})
    assert nas("run", write(tmp_path, experiment), "--out", "run").code == 0
    for winner in verified(Path("run")).winners:
        checks = {check.runtime: check for check in winner.checks}
        assert checks["tvm"].ok is True and (checks["tvm_rpc"].ok is True or checks["tvm_rpc"].skipped)
        assert winner.tvm_s is not None and winner.tvm_s > 0
        libraries = list(Path("run/winners", winner.name).rglob("*.so"))
        assert len(libraries) == len(winner.exits)


@pytest.mark.slow
@pytest.mark.parametrize("searcher", ["random", "nsga2"])
def test_choice_slots_go_the_same_way(searcher: str, nas: Command, tmp_path: Path) -> None:
    experiment = small(
        space={"name": "toy", "width": 4, "max_exits": 1},
        search={**SMALL["search"], "searcher": searcher},
        winners={"epochs": 1, "candidates": 2, "training": "scratch"},
    )
    assert nas("run", write(tmp_path, experiment), "--out", "run").code == 0
    assert verified(Path("run")).kept


@pytest.mark.slow
def test_runs_that_are_killed_end_as_if_they_had_not_been() -> None:
    benchmark = Path(__file__).parents[2] / "benchmarks" / "resume.py"
    done = subprocess.run([sys.executable, benchmark, "--kills", "2"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "2 of 2 equal to the undisturbed run"
