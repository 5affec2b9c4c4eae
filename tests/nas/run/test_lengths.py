"""Logs that lost whole lines at their ends: seen by what stages wrote down of them, and nothing goes on with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.errors import InputError
from nas.process.files import read_json
from nas.run import lengths
from nas.run.layout import RunFiles
from nas.run.soundness import damages, require_sound
from tests.nas.small_runs import SMALL, Command, hashes, write

LOGS = ("log.jsonl", "measurements.jsonl", "trials.jsonl")


def cut(path: Path, lost: int) -> int:
    """Take whole lines off the end of a log; returns how many are left."""
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-lost]))
    return len(lines) - lost


@pytest.mark.parametrize("lost", [1, 3])
@pytest.mark.parametrize("name", LOGS)
def test_a_log_that_lost_its_end_is_named_and_nothing_goes_on_with_it(
    name: str, lost: int, run: Path, nas: Command
) -> None:
    left = cut(run / name, lost)
    before = hashes(run)
    missing = f"{lost} at its end {'is' if lost == 1 else 'are'} missing; restore it, or delete {run / 'lengths.json'}"
    for command in (("run", write(run.parent, SMALL), "--out", str(run), "--resume"), ("verify", str(run))):
        error = nas(*command).error
        assert error.startswith(f"{run / name} has {left} line") and missing in error
        assert f"and had {left + lost} when a stage of the run ended" in error
    assert hashes(run) == before
    ((path, sentence),) = damages(RunFiles(run))
    assert path == run / name and sentence.startswith(f"{name} has {left} line")


@pytest.mark.parametrize("name", LOGS)
def test_a_log_that_is_gone_is_named(name: str, run: Path) -> None:
    (run / name).unlink()
    with pytest.raises(InputError, match=rf"{name} has 0 lines, and had \d+ when a stage of the run ended"):
        require_sound(RunFiles(run))


@pytest.mark.parametrize("name", LOGS)
def test_a_run_of_an_older_release_is_read_on(name: str, run: Path) -> None:
    (run / "lengths.json").unlink()
    cut(run / name, 2)
    require_sound(RunFiles(run))
    assert not [*damages(RunFiles(run))]


@pytest.mark.slow
def test_trials_that_were_lost_are_judged_again(run: Path, nas: Command) -> None:
    """As the message says."""
    wanted = {name: (run / name).read_bytes() for name in ("trials.jsonl", "front.json")}
    cut(run / "trials.jsonl", 3)
    command = ("search", write(run.parent, SMALL), "--out", str(run), "--resume")
    assert f"delete {run / 'lengths.json'} and {run / 'front.json'}, and --resume" in nas(*command).error
    for name in ("lengths.json", "front.json"):
        (run / name).unlink()
    assert nas(*command).code == 0
    assert {name: (run / name).read_bytes() for name in wanted} == wanted
    assert read_json(run / "lengths.json", "")["lines"]["trials.jsonl"] == wanted["trials.jsonl"].count(b"\n")


def test_readings_that_were_lost_are_gone_on_without(run: Path, nas: Command) -> None:
    """As the message says."""
    cut(run / "measurements.jsonl", 1)
    (run / "lengths.json").unlink()
    assert nas("run", write(run.parent, SMALL), "--out", str(run), "--resume").code == 0


def test_a_search_under_way_may_take_a_torn_batch_off(run: Path) -> None:
    files = RunFiles(run)
    files.lengths.unlink()
    files.front.unlink()
    lengths.note(files)
    assert set(read_json(files.lengths, "")["lines"]) == {"log.jsonl", "measurements.jsonl"}
    cut(files.trials, 2)
    lengths.require_whole(files)


def test_what_was_lost_is_not_forgotten_when_the_page_is_written(run: Path, nas: Command) -> None:
    cut(run / "measurements.jsonl", 2)
    assert nas("report", str(run)).code == 0
    assert "2 at its end are missing" in (run / "report.html").read_text()
    with pytest.raises(InputError, match="2 at its end are missing"):
        require_sound(RunFiles(run))


@pytest.mark.parametrize("content", ["{}", '{"lines": 3}', '{"lines": {"log.jsonl": "many"}}', "[", ""])
def test_lengths_that_cannot_be_read_are_named(content: str, run: Path, nas: Command) -> None:
    (run / "lengths.json").write_text(content)
    assert nas("report", str(run)).code == 0
    with pytest.raises(InputError, match=r"lengths\.json .*delete it, and what logs lack"):
        require_sound(RunFiles(run))
