"""A run that is killed between two of its writes goes on as if it had not been: nothing is done or measured twice."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nas.devices.base import Times
from nas.devices.local import InProcessSession
from nas.devices.measurement import ExitTime
from nas.process.files import append_jsonl, read_jsonl
from nas.run.layout import RunFiles
from nas.run.verdict_files import load_verdicts
from nas.run.verifying import read_before
from nas.stages import train
from tests.nas.opened_runs import opened, rewind, untrained
from tests.nas.small_runs import SMALL, Command, write


class Killed(BaseException):
    """The process is gone."""


def killing(*_: Any, **__: Any) -> None:
    raise Killed


def unverified(run: Path) -> list[dict[str, Any]]:
    """Take back all that came after the export; returns what was measured of the winners."""
    for name in ("verify.json", "test.json", "report.html", "lengths.json"):
        (run / name).unlink()
    rows = read_jsonl(run / "measurements.jsonl")
    (run / "measurements.jsonl").unlink()
    append_jsonl(run / "measurements.jsonl", [row for row in rows if row["purpose"] != "winner"])
    return [row for row in rows if row["purpose"] == "winner"]


#: What is not done any more, in the order of the run.
INSTANTS = {
    "before the log has the readings": "nas.run.verifying.append_measurements",
    "before anything is judged": "nas.stages.verify.write_measured",
    "when all is judged": "nas.stages.verify.forget_read",
    "before the test": "nas.stages.test.test_winners",
    "before the page": "nas.stages.order._report",
}


#: One of each kind stands for the others, which take seconds too.
_FAST = ("before anything is judged", "thresholds")


def shortly(names: Iterable[str]) -> list[Any]:
    """Cases, of which the fast suite has one."""
    return [pytest.param(name, marks=[] if name in _FAST else pytest.mark.slow) for name in names]


@pytest.mark.parametrize("instant", shortly(INSTANTS))
def test_what_was_measured_is_not_measured_again(instant: str, run: Path, nas: Command) -> None:
    whole, experiment = unverified(run), write(run.parent, SMALL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(INSTANTS[instant], killing)
        with pytest.raises(Killed):
            nas("run", experiment, "--out", str(run), "--resume")
    taken = [row for row in read_jsonl(run / "measurements.jsonl") if row["purpose"] == "winner"]
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(InProcessSession, "time")
        assert nas("run", experiment, "--out", str(run), "--resume").code == 0
    now = [row for row in read_jsonl(run / "measurements.jsonl") if row["purpose"] == "winner"]
    assert now[: len(taken)] == taken and [row["budget"] for row in now] == [row["budget"] for row in whole]
    verdicts = load_verdicts(RunFiles(run))
    assert (verdicts.looks, verdicts.tried, verdicts.tested, verdicts.kept) == (1, 1, True, True)
    assert not RunFiles(run).verifying.exists()


@pytest.mark.parametrize("change", shortly(["thresholds", "choice", "look"]))
def test_readings_of_something_else_are_logged_and_judge_nobody(change: str, run: Path, nas: Command) -> None:
    """A reading that was taken is not lost, whatever became of its network; the winners are measured anew."""
    unverified(run)
    files = RunFiles(run)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(INSTANTS["before the log has the readings"], killing)
        with pytest.raises(Killed):
            nas("verify", str(run))
    if change == "thresholds":
        files.winner("mean").thresholds.write_text("{}")
    elif change == "choice":
        shutil.rmtree(files.winner("mean").root)
    else:
        files.verify.write_text('{"schema": 2, "looks": 1, "winners": [], "unmet": []}')
    with opened(run) as context:
        assert read_before(context) is None
    assert sorted(row["budget"] for row in read_jsonl(run / "measurements.jsonl") if row["purpose"] == "winner") == [
        "mean", "worst"
    ]  # fmt: skip
    assert not files.verifying.exists()


def slowed(measure: Callable[..., dict[str, Times]]) -> Callable[..., dict[str, Times]]:
    """Winners take far more than their budgets."""

    def longer(time: ExitTime | None) -> ExitTime | None:
        return time and replace(time, median_s=time.median_s * 1e5, upper_95_s=time.upper_95_s * 1e5)

    def time(session: Any, wanted: Any, *rest: Any, **named: Any) -> dict[str, Times]:
        times = measure(session, wanted, *rest, **named)
        if wanted[0].purpose != "winner":
            return times
        return {name: Times(tuple(map(longer, t.to_exits)), longer(t.stream)) for name, t in times.items()}

    return time


@pytest.mark.parametrize("instant", shortly(["before the choice", "before the test"]))
def test_attempts_are_as_many_as_without_the_kill(
    instant: str, run: Path, nas: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every verification finds the budgets broken: after a kill there are as many attempts left as there were."""
    rewind(run, "search")
    experiment = write(run.parent, SMALL)
    monkeypatch.setattr(InProcessSession, "time", slowed(InProcessSession.time))
    monkeypatch.setattr(train, "_train", untrained)
    with pytest.MonkeyPatch.context() as patch:
        if instant == "before the test":
            patch.setattr(INSTANTS[instant], killing)
        else:
            choose, chosen = train.choose, []

            def once(context: Any) -> Any:
                if chosen:
                    raise Killed
                chosen.append(choose(context))
                return chosen[0]

            patch.setattr(train, "choose", once)
        with pytest.raises(Killed):
            nas("run", experiment, "--out", str(run), "--resume")
    assert nas("run", experiment, "--out", str(run), "--resume").code == 3
    verdicts = load_verdicts(RunFiles(run))
    assert verdicts.looks == verdicts.tried == SMALL["winners"]["attempts"] and verdicts.tested
    for name in ("worst", "mean"):
        rows = [row for row in read_jsonl(run / "measurements.jsonl") if row["budget"] == name]
        tried = [row["key"] for row in rows if row["purpose"] == "winner"]
        assert len(tried) == len(set(tried)) == SMALL["winners"]["attempts"]


def test_a_checkpoint_that_outlived_its_training_goes(run: Path) -> None:
    files = RunFiles(run).winner("worst")
    shutil.copy(files.weights, files.checkpoint)
    before = files.weights.read_bytes()
    with opened(run) as context:
        train.train_winners(context)
    assert not files.checkpoint.exists() and files.weights.read_bytes() == before
