"""A sweep is carried out: who begins when, who trains, and what is lost when it is killed (nothing)."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest

from nas.config import parse
from nas.errors import InputError
from nas.process.files import atomic_write_json
from nas.process.lock import holder, locked
from nas.sweep import folder, running
from nas.sweep.layout import SweepFiles
from nas.sweep.running import is_over
from nas.sweep.state import Watcher
from tests.nas.sweep.pretended import Died, Pretended, begun, carried_out, dying_after
from tests.nas.sweep.small_sweeps import write_sweep

#: Two groups of three cells.
AXES = {"budgets.0.latency": ["2 ms", "4 ms", "8 ms"], "seed": [0, 1]}
FIRST, SECOND = ("latency-2ms_seed-0", "latency-4ms_seed-0", "latency-8ms_seed-0"), ("latency-2ms_seed-1",)


def takes(files: SweepFiles, name: str) -> str | None:
    """The cell whose weights a cell takes."""
    taken = parse.load(files.cell(name).experiment).supernet.reuse
    return None if taken is None else Path(taken).name


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "_PATIENCE_S", 0.01)


@pytest.mark.parametrize("room", [1, 3])
def test_every_cell_runs_once_and_weights_are_trained_once(room: int, tmp_path: Path) -> None:
    files, cells = begun(write_sweep(tmp_path, AXES), tmp_path / "out")
    workers = Pretended(room)
    assert carried_out(files, cells, workers) == {}
    assert sorted(workers.begun) == sorted(cell.name for cell in cells)
    assert workers.trained == {"latency-2ms_seed-0": 1, "latency-2ms_seed-1": 1}
    assert {takes(files, f"latency-{ms}ms_seed-{seed}") for ms in (4, 8) for seed in (0, 1)} == {
        "latency-2ms_seed-0", "latency-2ms_seed-1"
    }  # fmt: skip
    # Those that wait for weights leave their place to others.
    assert workers.most_at_a_time == min(room, 6)
    if room > 1:
        assert workers.begun[:2] == ["latency-2ms_seed-0", "latency-2ms_seed-1"]


@pytest.mark.parametrize(
    ("at", "trainer", "room"), [("calibrate", 1, 1), ("calibrate", 1, 3), ("supernet", 1, 3), ("search", 0, 1)]
)
def test_a_trainer_that_fails_dooms_nobody(at: str, trainer: int, room: int, tmp_path: Path) -> None:
    """Before the weights are there the next cell trains them; afterwards they are taken all the same."""
    files, cells = begun(write_sweep(tmp_path, AXES), tmp_path / "out")
    workers = Pretended(room, {FIRST[0]: at})
    assert carried_out(files, cells, workers) == {FIRST[0]: f"broke in {at}"}
    assert workers.trained == {FIRST[trainer]: 1, SECOND[0]: 1}
    assert takes(files, FIRST[2]) == FIRST[trainer]
    state = Watcher(files).look()
    assert {cell.cell.name for cell in state.cells if cell.state == "failed"} == {FIRST[0]}
    assert state.count("not kept") == 5
    assert next(cell.cause for cell in state.cells if cell.state == "failed") == f"broke in {at}"
    # It is tried again, and only it.
    again = Pretended()
    assert carried_out(files, cells, again) == {} and again.begun == [FIRST[0]]


def test_a_trainer_that_failed_before_its_run_began_takes_weights_when_it_is_tried_again(tmp_path: Path) -> None:
    files, cells = begun(write_sweep(tmp_path, AXES), tmp_path / "out")
    carried_out(files, cells, Pretended(1, {FIRST[0]: "calibrate"}))
    assert takes(files, FIRST[0]) is None
    carried_out(files, cells, Pretended())
    assert takes(files, FIRST[0]) == FIRST[1]


def test_where_all_fail_all_are_told(tmp_path: Path) -> None:
    files, cells = begun(write_sweep(tmp_path, AXES), tmp_path / "out")
    names = [cell.name for cell in cells]
    workers = Pretended(2, dict.fromkeys(names, "calibrate"))
    assert sorted(carried_out(files, cells, workers)) == sorted(names)


@pytest.mark.parametrize("seed", range(4))
def test_a_sweep_that_is_killed_at_any_instant_loses_nothing(seed: int, tmp_path: Path) -> None:
    """Killed again and again: in the end all cells are complete, and no weights were trained by two cells."""
    files, cells = begun(write_sweep(tmp_path, AXES), tmp_path / "out")
    rng = random.Random(seed)
    every, kills = Pretended(rng.randint(1, 4)), 0
    while not all(is_over(files, cell.name) for cell in cells):
        workers = Pretended(every.room)
        workers.trained, workers.completed = every.trained, every.completed
        workers.tick = dying_after(rng.randint(1, 12))
        try:
            carried_out(files, cells, workers)
        except Died:
            kills += 1
    assert kills > 1
    assert all(count <= 2 for count in every.trained.values()), "twice only where its end was not written down"
    assert sorted(every.trained) == ["latency-2ms_seed-0", "latency-2ms_seed-1"]
    assert sorted(every.completed) == sorted(cell.name for cell in cells)
    last = Pretended()
    assert carried_out(files, cells, last) == {} and not last.begun


@pytest.mark.parametrize("lost", [False, True])
def test_a_cell_whose_end_was_not_noted_has_ended(lost: bool, tmp_path: Path) -> None:
    """The sweep was killed before it heard of it; a cell that lacked a board runs again, and may come to more."""
    files, cells = begun(write_sweep(tmp_path, {"seed": [0]}), tmp_path / "out")
    carried_out(files, cells, Pretended())
    log = files.log.read_text().splitlines(keepends=True)
    files.log.write_text("".join(log[:-1]))
    if lost:
        run = files.cell(cells[0].name).log
        run.write_text(run.read_text() + '{"event":"device lost"}\n')
    watcher = Watcher(files)
    with locked(files.root):
        (cell,) = watcher.look().cells
        assert cell.state == ("running" if lost else "not kept")
    assert watcher.look().cells[0].state == "not kept"
    with locked(files.cell(cell.cell.name).root):
        assert watcher.look().cells[0].state == ("running" if lost else "not kept")


def test_a_cell_that_somebody_else_goes_on_with_is_waited_for(tmp_path: Path) -> None:
    """Such as a process of this sweep whose parent was killed: its weights are not trained a second time."""
    files, cells = begun(write_sweep(tmp_path, AXES), tmp_path / "out")
    first = cells[0].name
    folder.begin(files, cells[0], None)
    workers, other = Pretended(2), Pretended()
    other.running[first] = files.cell(first)
    held = locked(files.cell(first).root)
    held.__enter__()
    ticks = 0

    def tick() -> None:
        nonlocal ticks
        ticks += 1
        if ticks == 5:
            held.__exit__(None, None, None)
            while other.running:
                other.ended(0)

    workers.tick = tick
    assert carried_out(files, cells, workers) == {}
    assert first not in workers.begun and len(workers.begun) == 5
    assert workers.trained == {SECOND[0]: 1} and other.trained == {first: 1}
    assert takes(files, "latency-4ms_seed-0") == first


def test_who_has_a_folder_is_known_without_locking_it(tmp_path: Path) -> None:
    assert holder(tmp_path) is None
    with locked(tmp_path):
        assert holder(tmp_path) is not None
    assert holder(tmp_path) is None
    # A process that was killed leaves its number, which another one has by now.
    (tmp_path / ".lock").write_text("1\n")
    os.utime(tmp_path / ".lock", (0, 0))
    assert holder(tmp_path) is None
    # A process of another machine, or of a container, that sees the folder too: the number is somebody else's here.
    (tmp_path / ".lock").write_text(f"{os.getpid()} elsewhere\n")
    assert holder(tmp_path) is None
    (tmp_path / ".lock").write_text(f"{os.getpid()}\n")  # as older releases wrote it
    assert holder(tmp_path) == os.getpid()


def test_temporary_files_of_who_works_within_a_folder_are_left_alone(tmp_path: Path) -> None:
    """Those of a cell that goes on while its sweep begins again; others are rests of what was killed."""
    used, rest = (tmp_path / name / "deep" / ".tmp-1-x" for name in ("used", "rest"))
    for path in (used, rest):
        path.parent.mkdir(parents=True)
        path.touch()
    with locked(tmp_path / "used"):
        used.touch()
        with locked(tmp_path):
            assert used.exists() and not rest.exists()
    with locked(tmp_path):
        assert not used.exists()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"axes": {**AXES, "seed": [0, 2]}}, "this one lacks the cell latency-2ms_seed-1|has the cell latency-2ms_se"),
        ({"axes": {**AXES, "winners.epochs": [3]}}, "winners.epochs was 1 and is 3"),
    ],
)
def test_another_sweep_is_not_carried_on_with(changed: dict[str, object], message: str, tmp_path: Path) -> None:
    begun(write_sweep(tmp_path, AXES), tmp_path / "out")
    with pytest.raises(InputError, match=message):
        begun(write_sweep(tmp_path, changed["axes"]), tmp_path / "out")


def test_a_sweep_of_an_older_release_that_knew_fewer_keys_goes_on(tmp_path: Path) -> None:
    path = write_sweep(tmp_path, AXES)
    files, _ = begun(path, tmp_path / "out")
    record = json.loads(files.cells.read_text())
    for row in record["cells"]:
        del row["experiment"]["supernet"]["averaging"], row["experiment"]["supernet"]["final_rate"]
    atomic_write_json(files.cells, {key: value for key, value in record.items() if not key.startswith("@")})
    begun(path, tmp_path / "out")


def test_an_experiment_that_was_changed_meanwhile_is_named_with_its_key(tmp_path: Path) -> None:
    path = write_sweep(tmp_path, AXES)
    files, cells = begun(path, tmp_path / "out")
    base = tmp_path / "base.yaml"
    base.write_text(base.read_text().replace("evaluations: 12", "evaluations: 13"))
    with pytest.raises(InputError, match=r"in the cell latency-2ms_seed-0, search.evaluations was 12 and is 13"):
        begun(path, tmp_path / "out")
    folder.begin(files, cells[0], None)
    folder.begin(files, cells[2], cells[0].name)
    folder.require_as_planned(files, cells, cells[0].cell.experiment.plugins)
    own = files.cell(cells[2].name).experiment
    own.write_text(own.read_text().partition("\n")[2].replace("evaluations: 12", "evaluations: 13"))
    with pytest.raises(InputError, match=r"is not that of the cell: search.evaluations is 13, not 12"):
        folder.require_as_planned(files, cells, cells[0].cell.experiment.plugins)


def test_a_cell_is_complete_whether_or_not_somebody_noted_its_end(tmp_path: Path) -> None:
    """Whoever began it was killed before it ended: it does not run any more, although the sweep does."""
    files, cells = begun(write_sweep(tmp_path, AXES), tmp_path / "out")
    carried_out(files, cells, Pretended())
    *lines, last = files.log.read_text().splitlines(keepends=True)
    assert '"event":"end"' in last
    files.log.write_text("".join(lines))
    with locked(files.root):
        state = Watcher(files).look()
        assert state.running and state.count("not kept") == len(cells)
