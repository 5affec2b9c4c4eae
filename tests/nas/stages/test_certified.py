"""What may not be certified: verdicts of another verification, and files that are not those of the run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nas.process.files import append_jsonl, atomic_write_json, read_jsonl
from nas.run.artefacts import measured_files
from nas.run.layout import RunFiles
from nas.run.verdict_files import load_verdicts
from nas.stages import test, verify
from tests.nas.opened_runs import opened
from tests.nas.small_runs import SMALL, Command, hashes, write


def edit(path: Path, **changes: Any) -> None:
    """Change top-level keys of a JSON file."""
    atomic_write_json(path, json.loads(path.read_text()) | changes)


def test_what_test_said_of_another_verification_counts_for_nothing(run: Path, nas: Command) -> None:
    """Every network broke its budget since; whoever deletes verify.json does not get the old verdict back."""
    rows = [row | {"broken": [row["budget"]] if row["purpose"] == "winner" else []}
            for row in read_jsonl(run / "measurements.jsonl")]  # fmt: skip
    (run / "measurements.jsonl").unlink()
    append_jsonl(run / "measurements.jsonl", rows)
    (run / "verify.json").unlink()
    with opened(run) as context:
        assert not verify.measure_winners(context)
        test.test_winners(context)
    verdicts = load_verdicts(RunFiles(run))
    assert verdicts.tested and not verdicts.kept and {verdict.kept for verdict in verdicts.winners} == {False}


def test_a_verification_that_was_changed_by_hand_is_not_tested(run: Path) -> None:
    assert load_verdicts(RunFiles(run)).kept
    edit(run / "verify.json", looks=1, edited=True)
    assert not load_verdicts(RunFiles(run)).tested


def test_a_choice_that_was_made_anew_is_verified_anew(run: Path, nas: Command) -> None:
    """A finished run whose winner is seen to break its budget goes on with another one."""
    first = {verdict.name: verdict.key for verdict in load_verdicts(RunFiles(run)).winners}
    row = next(row for row in read_jsonl(run / "measurements.jsonl") if row["budget"] == "worst"
               and row["purpose"] == "winner")  # fmt: skip
    append_jsonl(run / "measurements.jsonl", [row | {"broken": ["worst"]}])
    assert nas("train", str(run)).code == 0
    assert nas("run", write(run.parent, SMALL), "--out", str(run), "--resume").code == 0
    again = {verdict.name: verdict.key for verdict in load_verdicts(RunFiles(run)).winners}
    assert again["worst"] != first["worst"] and load_verdicts(RunFiles(run)).kept


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "0" * 64}, "its architecture is not that of this run"),
        ({"budgets": []}, "its budgets is not that of this run"),
        ({"targets": []}, "its targets is not that of this run"),
    ],
)
def test_a_manifest_of_something_else_is_refused(
    changes: dict[str, Any], message: str, run: Path, nas: Command
) -> None:
    edit(run / "winners" / "worst" / "manifest.json", **changes)
    before = hashes(run)
    assert message in nas("verify", str(run)).error
    changed = {name for name, value in hashes(run).items() if before.get(name) != value}
    assert changed <= {"log.jsonl", "lengths.json", ".lock"}


def test_preprocessing_and_programs_are_those_of_the_run(run: Path, nas: Command) -> None:
    path = run / "winners" / "worst" / "manifest.json"
    whole = json.loads(path.read_text())
    edit(path, preprocessing=whole["preprocessing"] | {"mean": [5.0]})
    assert "its preprocessing is not that of this run" in nas("verify", str(run)).error
    edit(path, **whole | {"artefacts": {n: e for n, e in whole["artefacts"].items() if n != "run.py"}})
    assert "has no hash of run.py" in nas("verify", str(run)).error


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 2}', '{"schema": 2, "exits": 3}', "\0\0"])
def test_a_damaged_manifest_is_exported_again(text: str, run: Path, nas: Command) -> None:
    path = run / "winners" / "worst" / "manifest.json"
    whole = path.read_text()
    path.write_text(text)
    assert "manifest.json" in nas("verify", str(run)).error
    assert nas("export", str(run)).code == 0
    assert path.read_text() == whole


def test_a_settled_run_is_left_alone(run: Path, nas: Command) -> None:
    before = hashes(run)
    assert nas("run", write(run.parent, SMALL), "--out", str(run), "--resume").code == 0
    changed = {name for name, value in hashes(run).items() if before.get(name) != value}
    assert changed <= {"log.jsonl", "lengths.json", ".lock", "report.html"}


@pytest.mark.parametrize(
    ("how", "name"),
    [
        pytest.param(how, name, marks=() if how == fast else pytest.mark.slow)
        for name, fast in (
            ("exit_0.onnx", "deleted"),
            ("model.onnx", "exchanged"),
            ("run.py", ""),
            ("weights.safetensors", "exchanged"),
            ("manifest.json", ""),
            ("thresholds.json", "exchanged"),
        )
        for how in ("deleted", "exchanged")
    ],
)
def test_a_settled_run_whose_files_are_others_now_is_made_good_and_measured_again(
    name: str, how: str, run: Path, nas: Command
) -> None:
    path = run / "winners" / "mean" / name
    whole, looks = path.read_bytes(), load_verdicts(RunFiles(run)).looks
    if how == "deleted":
        path.unlink()
    elif name == "thresholds.json":
        edit(path, note="another")
    else:
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    done = nas("run", write(run.parent, SMALL), "--out", str(run), "--resume")
    verdicts = load_verdicts(RunFiles(run))
    if (how, name) == ("exchanged", "weights.safetensors"):
        # What took minutes is not trained over without being asked.
        assert done.code == nas("train", str(run)).code == 2 and name in done.error
        return
    assert done.code == 0 and verdicts.kept and verdicts.looks == looks + 1
    if name != "thresholds.json":
        assert path.read_bytes() == whole
    for verdict in verdicts.winners:
        assert verdict.sha256 == measured_files(RunFiles(run).winner(verdict.name))


#: What a disk, an editor or a torn copy may leave of a file.
DAMAGE = ("", "[1]", '{"schema": 1, "exits": 3}\n')


@pytest.mark.parametrize("text", DAMAGE)
@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("unmet.json", "export"),
        ("winners/worst/architecture.json", "export"),
        ("winners/worst/weights.safetensors", "export"),
        ("winners/worst/scores.npz", "verify"),
        ("winners/worst/thresholds.json", "verify"),
        ("front.json", "train"),
        ("environment.json", "report"),
        ("environment.json", "train"),
        ("measurements.jsonl", "train"),
        ("measurements.jsonl", "verify"),
        ("latency_model.npz", "verify"),
        ("latency_model.npz", "report"),
        ("trials.jsonl", "train"),
        ("winners/worst/manifest.json", "verify"),
        ("verify.json", "verify"),
        ("test.json", "verify"),
    ],
)
def test_no_damaged_file_ends_in_a_traceback(name: str, command: str, text: str, run: Path, nas: Command) -> None:
    (run / name).write_text(text)
    done = nas(command, str(run))
    assert "Traceback" not in done.err and done.code in (0, 2, 3)
    if done.code == 2:
        assert Path(name).name in done.error


@pytest.mark.parametrize("text", DAMAGE)
@pytest.mark.parametrize("name", ["supernet.safetensors", "latency_model.npz", "measurements.jsonl", "trials.jsonl"])
def test_a_search_that_goes_on_from_a_damaged_file_says_so(name: str, text: str, run: Path, nas: Command) -> None:
    (run / "front.json").unlink()
    (run / name).write_text(text)
    done = nas("run", write(run.parent, SMALL), "--out", str(run), "--resume")
    assert "Traceback" not in done.err
    # A last line without its end was never written, and what it said is found out again.
    if done.code != 0 or not name.endswith(".jsonl") or text.endswith("\n"):
        assert name in done.error


def test_a_bit_of_a_checkpoint_that_changed_is_seen(run: Path, nas: Command) -> None:
    (run / "front.json").unlink()
    path = run / "supernet.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    error = nas("run", write(run.parent, SMALL), "--out", str(run), "--resume").error
    assert path.name in error and "SHA-256" in error and "delete it, and the training begins anew" in error


def test_profiles_that_are_none_are_refused(run: Path, nas: Command) -> None:
    edit(run / "environment.json", profiles=[])
    assert "environment.json cannot be read" in nas("train", str(run)).error
    edit(run / "environment.json", profiles={"host": {}})
    assert "environment.json" in nas("train", str(run)).error
