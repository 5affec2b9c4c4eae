"""What may not be certified: verdicts of another verification, and files that are not those of the run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nas.process.files import append_jsonl, read_jsonl
from nas.run.layout import RunFiles
from nas.run.verdict_files import load_verdicts
from tests.nas.small_runs import SMALL, Command, hashes, write


def edit(path: Path, **changes: Any) -> None:
    """Change top-level keys of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_what_test_said_of_another_verification_counts_for_nothing(run: Path, nas: Command) -> None:
    """Every network broke its budget since; whoever deletes verify.json does not get the old verdict back."""
    rows = [row | {"broken": [row["budget"]] if row["purpose"] == "winner" else []}
            for row in read_jsonl(run / "measurements.jsonl")]  # fmt: skip
    (run / "measurements.jsonl").unlink()
    append_jsonl(run / "measurements.jsonl", rows)
    (run / "verify.json").unlink()
    done = nas("verify", str(run))
    assert done.code == 3 and "kept" not in done.out.replace("not kept", "")
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
    assert changed <= {"log.jsonl", ".lock"}


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


@pytest.mark.parametrize("text", ["", "[1]", "{}", "\0\0\0\0", "nonsense"])
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
