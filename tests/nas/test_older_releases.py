"""Folders of runs that older releases wrote: they open, are read as they were meant, and go on.

tests/nas/older_releases holds them, packed. `verify1` and `verify1_optimiser` are of the release whose verify.json held
all that was found (schema 1), `manifest1_*` of the one before, whose manifests held the thresholds (schema 1). The
experiments are that of `small_runs` as it was, with an optimiser where the name says so; one run was interrupted while
its supernet was trained. Left out are the reports, which are written anew from the rest.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from nas.config.plugins import NO_PLUGINS
from nas.deploy import manifest, thresholds
from nas.errors import InputError
from nas.process.files import read_json, read_jsonl
from nas.run.layout import RunFiles
from nas.run.opening import reopen
from nas.run.verdict_files import load_verdicts
from tests.nas.opened_runs import opened
from tests.nas.small_runs import Command, hashes

RUNS = Path(__file__).with_name("older_releases")
FINISHED = ("verify1", "verify1_optimiser", "manifest1_optimiser")
BUDGETS = ("worst", "mean")
#: What a command may always change.
OWN = {"log.jsonl", "lengths.json", ".lock", "report.html"}


def unpack(name: str, folder: Path) -> None:
    shutil.unpack_archive(RUNS / f"{name}.tar.xz", folder, filter="data")


@pytest.fixture
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of the run that the test's parameter names."""
    unpack(request.param, tmp_path / "run")
    return tmp_path / "run"


def resumed(nas: Command) -> tuple[int, str]:
    """How the run ends if it is resumed with the experiment that it holds."""
    done = nas("run", "run/experiment.yaml", "--out", "run", "--resume")
    return done.code, done.err


def changed(before: dict[str, str], run: Path) -> set[str]:
    after = hashes(run)
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


@pytest.mark.parametrize("old", FINISHED, indirect=True)
def test_its_report_is_written(old: Path, nas: Command) -> None:
    before = hashes(old)
    assert nas("report", "run").code == 0
    page = (old / "report.html").read_text()
    assert all(name in page for name in BUDGETS) and "kept" in page and "not kept" not in page
    assert changed(before, old) <= OWN


@pytest.mark.parametrize("old", FINISHED, indirect=True)
def test_its_verdicts_are_read_as_they_were_found(old: Path) -> None:
    verdicts, record = load_verdicts(RunFiles(old)), json.loads((old / "verify.json").read_text())
    assert record["schema"] == 1 and not (old / "test.json").exists()
    assert verdicts.found and verdicts.tested and verdicts.kept and not verdicts.unmet
    assert verdicts.looks == record["looks"] == 1
    for verdict, was in zip(verdicts.winners, record["winners"], strict=True):
        assert (verdict.name, verdict.key, verdict.genome) == (was["name"], was["key"], tuple(was["genome"]))
        assert verdict.kept is True and verdict.within_budget is True and verdict.reason == ""
        assert (verdict.measured_s, verdict.upper_95_s) == (was["measured_s"], was["upper_95_s"])
        accuracy = was["accuracy"]
        assert (verdict.val_accuracy, verdict.test_accuracy) == (accuracy["val"], accuracy["test_exported"])
        assert verdict.before_export == accuracy["test_before_export"]
        assert [exit_.test_rate for exit_ in verdict.exits] == [exit_["test_rate"] for exit_ in was["exits"]]
        assert [exit_.accuracy for exit_ in verdict.exits] == [exit_["accuracy"] for exit_ in was["exits"]]
        assert {check.runtime: check.ok for check in verdict.checks} == {
            runtime: check.get("ok") for runtime, check in was["parity"].items()
        }


@pytest.mark.parametrize("old", ["manifest1_optimiser"], indirect=True)
def test_thresholds_that_stand_in_the_manifest_are_read(old: Path) -> None:
    for name in BUDGETS:
        folder = old / "winners" / name
        record = json.loads((folder / "manifest.json").read_text())
        assert record["schema"] == 1 and not (folder / "thresholds.json").exists()
        found = thresholds.read(folder, record["architecture"], len(record["exits"]))
        assert len(found) == len(record["exits"]) - 1 == 1


@pytest.mark.parametrize("old", FINISHED, indirect=True)
def test_resumed_it_has_nothing_to_do_but_the_report(old: Path, nas: Command) -> None:
    before = hashes(old)
    assert resumed(nas) == (0, "")
    assert changed(before, old) <= OWN and (old / "report.html").is_file()


@pytest.mark.parametrize(
    ("old", "unread"), [("verify1", {"cert", "arch"}), ("verify1_optimiser", {"cert"})], indirect=["old"]
)
def test_it_keeps_the_parts_that_it_began_with(old: Path, unread: set[str]) -> None:
    """Which it kept from training though no stage read them."""
    recorded = json.loads((old / "environment.json").read_text())["splits"]
    assert all(recorded[part]["images"] for part in unread)
    with opened(old) as context:
        assert not context.experiment.parts_aside & unread
        assert context.data.splits.record() == recorded
    assert reopen(old, NO_PLUGINS).data.splits.record() == recorded


@pytest.mark.parametrize("old", ["verify1", "verify1_optimiser"], indirect=True)
def test_it_can_be_verified_again(old: Path, nas: Command) -> None:
    before, rows = hashes(old), len(read_jsonl(old / "measurements.jsonl"))
    assert nas("verify", "run").code == 0
    assert changed(before, old) <= OWN | {"verify.json", "test.json", "measurements.jsonl"} | {
        f"winners/{name}/thresholds.json" for name in BUDGETS
    }
    verdicts = load_verdicts(RunFiles(old))
    assert verdicts.kept and verdicts.looks == 2 and (old / "test.json").is_file()
    assert len(read_jsonl(old / "measurements.jsonl")) == rows + len(BUDGETS)


@pytest.mark.parametrize("old", ["manifest1_optimiser"], indirect=True)
def test_manifests_of_the_first_release_have_to_be_written_anew(old: Path, nas: Command) -> None:
    before = hashes(old)
    error = nas("verify", "run").error
    assert "manifest.json was written by an older release; export the winner again with `nas export run`" in error
    assert changed(before, old) <= OWN
    for name in BUDGETS:
        with pytest.raises(InputError, match="written by an older release"):
            manifest.require_as_exported(old / "winners" / name, "again")
    assert nas("export", "run").code == 0
    for name in BUDGETS:
        manifest.require_as_exported(old / "winners" / name, "again")
    assert nas("verify", "run").code == 0
    assert load_verdicts(RunFiles(old)).kept
    for name in BUDGETS:
        assert (old / "winners" / name / "thresholds.json").is_file()


@pytest.mark.parametrize("old", FINISHED, indirect=True)
def test_one_that_ended_in_its_search_goes_on(old: Path, nas: Command) -> None:
    """The searcher asks for what it asked for then."""
    before = hashes(old)
    front = json.loads((old / "front.json").read_text())
    for name in ("front.json", "verify.json"):
        (old / name).unlink()
    shutil.rmtree(old / "winners")
    lines = (old / "trials.jsonl").read_bytes().splitlines(keepends=True)
    (old / "trials.jsonl").write_bytes(b"".join(lines[:-1]))
    assert resumed(nas) == (0, "")
    found = read_jsonl(old / "trials.jsonl")
    assert [row["genome"] for row in found] == [json.loads(line)["genome"] for line in lines]
    assert set(read_json(old / "front.json", "")) == set(front) | {"regret"}
    assert load_verdicts(RunFiles(old)).kept
    kept = {name for name in before if name.startswith("optimiser/")} | {"supernet.safetensors", "latency_model.npz"}
    assert not changed(before, old) & kept


@pytest.mark.parametrize("old", FINISHED, indirect=True)
def test_one_that_ended_in_its_training_goes_on(old: Path, nas: Command) -> None:
    """One winner is whole, the other was only chosen."""
    before = hashes(old)
    (old / "verify.json").unlink()
    for path in (old / "winners" / "mean").iterdir():
        if path.name != "architecture.json":
            path.unlink()
    assert resumed(nas) == (0, "")
    verdicts = load_verdicts(RunFiles(old))
    assert verdicts.kept and [verdict.name for verdict in verdicts.winners] == list(BUDGETS)
    stay = {f"winners/{name}/architecture.json" for name in BUDGETS} | {"winners/worst/weights.safetensors"}
    assert not changed(before, old) & (stay | {"trials.jsonl", "front.json"})


@pytest.mark.parametrize("old", ["manifest1_interrupted"], indirect=True)
def test_one_that_ended_in_the_training_of_its_supernet_goes_on(old: Path, nas: Command) -> None:
    before = hashes(old)
    assert resumed(nas) == (0, "")
    assert load_verdicts(RunFiles(old)).kept
    assert not changed(before, old) & {"latency_model.npz", "experiment.yaml", "environment.json"}
    ended = [event["stage"] for event in read_jsonl(old / "log.jsonl") if event["event"] == "end"]
    assert ended.count("calibrate") == 2 and ended.count("supernet") == 1


def test_nothing_in_them_names_the_machine_that_wrote_them(tmp_path: Path) -> None:
    names = {path.name.removesuffix(".tar.xz") for path in RUNS.iterdir()}
    assert names == {*FINISHED, "manifest1_interrupted"}
    for name in names:
        unpack(name, tmp_path / name)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 100
    assert not [path for path in files if re.search(rb"/(?:home|root|tmp|usr|work)/", path.read_bytes())]
