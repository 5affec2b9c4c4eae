"""What a sweep's file says of its scheduler, what of it is refused, and one that is carried out by the command."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from nas.errors import InputError
from nas.process.facts import cores_used
from nas.process.files import read_json, read_jsonl
from nas.run.layout import RunFiles
from nas.run.progress import progress_of
from nas.sweep.comparing import require_stops
from nas.sweep.layout import SweepFiles
from nas.sweep.scheduler import Scheduler
from nas.sweep.search import RecipeSearch, prepared
from nas.sweep.sharing import planned
from nas.sweep.sweep_file import load
from tests.nas.small_runs import Command, hashes, small
from tests.nas.sweep.pretended import begun
from tests.nas.sweep.small_sweeps import HOPELESS, write_sweep

pytest.importorskip("optuna")

RATE = "supernet.learning_rate"
AXES: dict[str, Any] = {RATE: [0.1, 0.01]}
FIRST = {"name": "asha", "min_epochs": 1}
SEARCHED = {"samples": 3, "search_by": "optuna_tpe"}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("asha", Scheduler("asha", 2, 3)),
        ({"name": "asha"}, Scheduler("asha", 2, 3)),
        ({"min_epochs": 1, "reduction_factor": 4}, Scheduler("asha", 1, 4)),
        (None, None),
    ],
)
def test_a_scheduler_may_be_written_by_its_name(written: Any, meant: Scheduler | None, tmp_path: Path) -> None:
    assert load(write_sweep(tmp_path, AXES, scheduler=written)).scheduler == meant


#: Each network is trained by itself.
ALONE = {"search": {"evaluator": {"name": "train", "epochs": 1}}, "winners": {"training": "scratch"}}


@pytest.mark.parametrize(
    ("scheduler", "axes", "base", "keys", "message"),
    [
        ("ahsa", AXES, HOPELESS, {}, "scheduler.name: there is no scheduler 'ahsa'; did you mean 'asha'? Known: asha"),
        (["asha"], AXES, HOPELESS, {}, "scheduler: expected keys and values, got ['asha']"),
        (3, AXES, HOPELESS, {}, "scheduler: expected keys and values, got 3"),
        ({"min_epoch": 2}, AXES, HOPELESS, {}, "scheduler has no key 'min_epoch'; did you mean 'min_epochs'?"),
        ({"min_epochs": 0}, AXES, HOPELESS, {}, "scheduler.min_epochs is 0; it must be at least 1"),
        ({"min_epochs": 1.5}, AXES, HOPELESS, {}, "scheduler.min_epochs: input should be a valid integer, got 1.5"),
        ({"min_epochs": True}, AXES, HOPELESS, {}, "scheduler.min_epochs: input should be a valid integer, got true"),
        ({"reduction_factor": 1}, AXES, HOPELESS, {}, "scheduler.reduction_factor is 1; it must be at least 2"),
        ({"min_epochs": 9}, AXES, small(supernet={"epochs": 9}), {}, "scheduler.min_epochs is 9, and "),
        ({"min_epochs": 3}, {"supernet.epochs": [1, 3]}, small(), {}, "supernet.epochs is at most 3: no cell"),
        (FIRST, AXES, small(supernet={"reuse": "there"}), {}, "(supernet.learning_rate: 0.1) judges networks by those"),
        (FIRST, AXES, small(**ALONE), {}, "judges networks by no shared weights: it has no epochs of a training"),
        (FIRST, {"budgets.0.latency": ["1 ms", "2 ms"], "seed": [0]}, small(), {}, "and no two are such"),
        (FIRST, {"winners.epochs": [1, 2]}, small(), {}, "space, target and budgets, and no two are such"),
        (FIRST, {"target.threads": [1, 2], "supernet.epochs": [2]}, small(), {}, "and no two are such"),
        ({"min_epochs": 9}, {RATE: {"log": [0.1, 0.2]}, "supernet.epochs": {"int": [1, 9]}}, small(), SEARCHED, "is 9"),
        ({"min_epochs": 9}, {RATE: {"log": [0.1, 0.2]}, "supernet.epochs": [1, 9]}, small(), SEARCHED, "is 9"),
        (FIRST, {"splits.val": [0.1, 0.2]}, small(), {}, "same data, splits, space, target and budgets, and no"),
        (FIRST, {"budgets.0.latency": {"log": ["1 ms", "2 ms"]}}, small(), SEARCHED, "and no two are such"),
        (FIRST, {RATE: {"log": [0.1, 0.2]}}, small(), {**SEARCHED, "objective": "latency"}, "latency is searched for"),
    ],
)  # fmt: skip
def test_what_stops_nothing_is_refused_before_anything_is_written(
    scheduler: Any, axes: Any, base: Any, keys: Any, message: str, nas: Command, tmp_path: Path
) -> None:
    path = str(write_sweep(tmp_path, axes, base, scheduler=scheduler, **keys))
    before = hashes(tmp_path)
    for command in (("check", path), ("sweep", path, "--out", "out")):
        error = nas(*command).error
        assert message in error and path in error
    assert hashes(tmp_path) == before and not Path("out").exists()


def test_without_optuna_there_is_one_sentence(nas: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    path = str(write_sweep(tmp_path, AXES, small(supernet={"epochs": 9}), scheduler=FIRST))
    for command in (("check", path), ("sweep", path, "--out", "out")):
        assert "sweeps with scheduler: asha need Optuna, which is not installed: pip inst" in nas(*command).error
    assert not Path("out").exists()


@pytest.mark.parametrize("epochs", [[*range(1, 60), 99], {"int": [1, 99]}], ids=["list", "range"])
def test_what_a_search_may_yet_choose_is_not_refused_for_the_examples_of_it(epochs: Any, tmp_path: Path) -> None:
    """The few cells that stand for all of them may have none of the many epochs."""
    axes = {RATE: {"log": [0.1, 0.2]}, "supernet.epochs": epochs}
    sweep = load(write_sweep(tmp_path, axes, small(), scheduler={"min_epochs": 98}, **{**SEARCHED, "samples": 60}))
    sweep, some = prepared(sweep)
    assert max(cell.experiment.supernet.epochs for cell in some) < 98
    require_stops(sweep, planned(some))


def test_check_says_where_cells_are_compared(nas: Command, tmp_path: Path) -> None:
    axes = {RATE: [0.1, 0.01], "supernet.epochs": [2, 20]}
    done = nas("check", str(write_sweep(tmp_path, axes, HOPELESS, scheduler="asha")))
    assert done.code == 0, done.err
    told = " ".join(done.out.split())
    assert "scheduler asha: cells are compared after epochs none of 2; 2, 6, 18 of 20; about one in 3 goes on" in told
    assert "processor-hours are at most those above" in told


def test_a_sweep_goes_on_with_the_scheduler_that_it_was_begun_with(tmp_path: Path) -> None:
    path = write_sweep(tmp_path, AXES, small(), scheduler=FIRST)
    files, _ = begun(path, tmp_path / "out")
    assert read_json(files.cells, "")["scheduler"] == {"name": "asha", "min_epochs": 1, "reduction_factor": 3}
    for scheduler, message in (
        ({**FIRST, "reduction_factor": 4}, "another sweep: scheduler.reduction_factor was 3 and is 4"),
        (None, r"another sweep: scheduler was \{.*\} and is None"),
    ):
        with pytest.raises(InputError, match=message):
            begun(write_sweep(tmp_path, AXES, small(), scheduler=scheduler), tmp_path / "out")
    begun(write_sweep(tmp_path, AXES, small(), scheduler=FIRST), tmp_path / "out")


def test_a_search_goes_on_with_the_scheduler_that_it_was_begun_with(tmp_path: Path) -> None:
    axes, keys, files = {RATE: {"log": [0.1, 0.2]}}, {**SEARCHED, "scheduler": FIRST}, SweepFiles(tmp_path / "out")
    files.root.mkdir()
    RecipeSearch(files, prepared(load(write_sweep(tmp_path, axes, small(), **keys)))[0])
    RecipeSearch(files, prepared(load(write_sweep(tmp_path, axes, small(), **keys)))[0])
    with pytest.raises(InputError, match=r"another sweep: scheduler\.min_epochs was 1 and is 2"):
        RecipeSearch(files, prepared(load(write_sweep(tmp_path, axes, small(), **{**keys, "scheduler": "asha"})))[0])


def test_a_sweep_of_a_release_that_knew_no_scheduler_goes_on(tmp_path: Path) -> None:
    files, _ = begun(write_sweep(tmp_path, AXES, small()), tmp_path / "out")
    assert "scheduler" not in json.loads(files.cells.read_text())
    begun(write_sweep(tmp_path, AXES, small()), tmp_path / "out")
    with pytest.raises(InputError, match=r"another sweep: scheduler was None and is \{'name': 'asha', "):
        begun(write_sweep(tmp_path, AXES, small(), scheduler="asha"), tmp_path / "out")


GOOD, BAD = "learning_rate-0.1", "learning_rate-0.0001"
#: Two epochs, of which the first tells a rate that is much too low from a good one; nothing is measured.
PREDICTED = small(
    budgets=[{"name": "worst", "latency": "200 ms"}], target={"device": "rpi4b", "runner": "onnxruntime"},
    search={**small()["search"], "evaluations": 3}, winners={"epochs": 0, "candidates": 1},
)  # fmt: skip


def test_the_command_stops_what_is_behind(nas: Command, tmp_path: Path) -> None:
    file = str(write_sweep(tmp_path, {RATE: [0.1, 0.0001]}, PREDICTED, scheduler=FIRST))
    done = nas("sweep", file, "--out", "out")
    assert done.code == 3 and "1 of 2 cells complete, 0 kept, 1 stopped\n" in done.out, done.err
    files = SweepFiles(Path("out"))
    good, bad = read_jsonl(files.rungs)
    assert (good["cell"], bad["cell"]) == (GOOD, BAD) and good["value"] > bad["value"]
    run = files.cell(BAD)
    assert f"{BAD}: stopped, after epoch 1, with {bad['value']:.1%} (1 of 2 complete, 1 stopped)" in done.out
    assert "stopped early: " in run.output.read_text() and not run.trials.exists()
    assert "compared: " in files.cell(GOOD).output.read_text()
    assert "1 of 2 were stopped early" in files.report.read_text()
    # It is over, and no failure that would be tried again.
    before = hashes(files.root)
    assert nas("sweep", file, "--out", "out", "--resume").code == 3
    changed = {name for name, digest in hashes(files.root).items() if before.get(name) != digest}
    assert changed <= {".lock", "report.html"}
    # It stops again where it is run as a cell of its sweep.
    again = nas("run", str(run.experiment), "--out", str(run.root), "--resume", "--cell-of", "out")
    assert again.code == 3 and again.err.startswith("nas: stopped early: ")
    assert len(read_jsonl(files.rungs)) == 2


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--workers", "1")])
def test_a_cell_that_was_stopped_is_a_run_that_goes_on_alone(
    options: tuple[str, ...], nas: Command, tmp_path: Path
) -> None:
    base = small(budgets=[{"name": "worst", "latency": "200 ms"}])
    file = str(write_sweep(tmp_path, {RATE: [0.1, 0.0001]}, base, scheduler=FIRST))
    done = nas("sweep", file, "--out", "out", *options)
    assert done.code == 0 and "1 of 2 cells complete, 1 kept, 1 stopped\n" in done.out, done.err
    run = SweepFiles(Path("out")).cell(BAD)
    assert nas("run", str(run.experiment), "--out", str(run.root), "--resume").code == 0 and progress_of(run).kept
    assert "2 of 2 cells complete, 2 kept" in nas("status", "out").out
    assert nas("sweep", file, "--out", "out", "--resume", *options).code == 0


def test_a_run_is_a_cell_of_the_sweep_that_has_it(nas: Command, tmp_path: Path) -> None:
    begun(write_sweep(tmp_path, AXES, HOPELESS, scheduler=FIRST), tmp_path / "out")
    base = str(tmp_path / "base.yaml")
    assert "out is a sweep that has no cell 'small'; see `nas status out`" in nas("run", base, "--cell-of", "out").error
    assert "is not a sweep: it has no sweep.json" in nas("run", base, "--cell-of", str(tmp_path)).error
    # Another run must not report in its place.
    cell = SweepFiles(Path("out")).cell("learning_rate-0.1")
    named = str(tmp_path / "learning_rate-0.1.yaml")
    Path(named).write_text((tmp_path / "base.yaml").read_text().replace("name: small", "name: learning_rate-0.1"))
    for out in ((), ("--out", "elsewhere")):
        assert (
            f"its cell learning_rate-0.1 is run in {cell.root}, not in "
            in nas("run", named, "--cell-of", "out", *out).error
        )
    assert not Path("elsewhere").exists() and not Path("runs").exists()


@pytest.mark.slow
@pytest.mark.skipif(len(cores_used()) < 2, reason="there is one core")
def test_processes_side_by_side_compare_each_other(nas: Command, tmp_path: Path) -> None:
    """Each decides by itself, and all by the same file."""
    rates = [0.1, 0.0001, 0.2, 0.0002]
    file = str(write_sweep(tmp_path, {RATE: rates}, small(), scheduler=FIRST))
    done = nas("sweep", file, "--out", "out", "--workers", "2")
    assert done.code == 0, (done.out, done.err)
    files = SweepFiles(Path("out"))
    found = {path.name: progress_of(RunFiles(path)) for path in files.cell("x").root.parent.iterdir()}
    stopped = {name for name, progress in found.items() if progress.stopped is not None}
    assert len(found) == 4 and 1 <= len(stopped) <= 3
    assert all(progress.kept for name, progress in found.items() if name not in stopped)
    assert "compared: " in "".join(files.cell(name).output.read_text() for name in found)
