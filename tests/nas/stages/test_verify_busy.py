"""A core that others use: what cannot be measured keeps no budget and breaks none, and is measured again."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.config import parse
from nas.config.budget import Budget
from nas.deploy.artefact import Artefact
from nas.devices.base import DeviceFinder, Session, Times, Wanted
from nas.devices.conditions import Conditions
from nas.devices.local import InProcess, InProcessSession
from nas.devices.measurement import ExitTime, Measurement
from nas.devices.runners import runner_for
from nas.devices.timing import measuring
from nas.exits.thresholds import Policy
from nas.process.files import read_jsonl
from nas.run.context import Context
from nas.run.layout import RunFiles
from nas.run.verdict_files import load_verdicts
from nas.run.winners import Winner, standing
from nas.search import settling, winner_readings
from nas.stages import train
from tests.nas.opened_runs import opened, rewind, untrained
from tests.nas.small_runs import SMALL, Command, write

#: Of a mean over images.
MEAN = Budget(1.0, "expected")
#: A CPU clock of milliseconds that says that we have the core half of the time.
BUSY_AND_COARSE = measuring.Clocks(cpu=lambda: round(time.process_time() / 2, 3))


def test_a_winner_that_cannot_be_measured_neither_keeps_nor_breaks_its_budget(
    run: Path, nas: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as busy:
        busy.setattr(measuring, "Clocks", lambda: BUSY_AND_COARSE)
        done = nas("verify", str(run))
    assert done.code == 3 and "not measurable: the core was busy in 3 of 3 blocks" in " ".join(done.out.split())
    verdicts = load_verdicts(RunFiles(run))
    assert verdicts.tested and not verdicts.kept
    for verdict in verdicts.winners:
        assert verdict.kept is verdict.within_budget is verdict.measured_s is verdict.upper_95_s is None
        assert verdict.contended and verdict.reason.startswith("not measurable: the core was busy")
    rows = [Measurement.from_dict(row) for row in read_jsonl(run / "measurements.jsonl")]
    refused = [row for row in rows if row.refused]
    assert len(refused) == len(SMALL["budgets"]) and not any(row.broken for row in refused)
    assert all(row.worst_upper_s == np.inf and row.contended and row.exits[-1].cpu_s == () for row in refused)
    record = json.loads((run / "verify.json").read_text())
    assert [winner["attempts"][-1]["kept"] for winner in record["winners"]] == [None, None]
    assert nas("report", str(run)).code == 0
    assert nas("verify", str(run)).code == 0, "the machine is quiet again"
    assert load_verdicts(RunFiles(run)).kept


def _time(upper_s: float, refused: str = "") -> ExitTime:
    return ExitTime(0.9 * upper_s, np.inf if refused else upper_s, refused=refused)


@pytest.mark.parametrize(
    ("stream", "upper_s"),
    [(None, 3.5), (_time(3.0), 3.5), (_time(9.0), 9.0), (_time(3.0, "busy"), np.inf)],
    ids=["calls", "fast stream", "slow stream", "refused stream"],
)
@pytest.mark.parametrize("unused", [_time(100.0), _time(100.0, "busy")], ids=["measured", "refused"])
def test_exits_count_as_often_as_images_of_the_stream_left_there_and_the_larger_bound_decides(
    stream: ExitTime | None, upper_s: float, unused: ExitTime
) -> None:
    """A core that was busy under either of the two makes the mean no faster; exits that nothing leaves do not count."""
    times = Times((_time(2.0), unused, _time(4.0)), stream)
    taken = winner_readings.Taken(times, np.array([0.25, 0.0, 0.75]), Conditions("here", 1))
    _, found, refused = winner_readings.deciding(MEAN, taken)
    assert found == pytest.approx(upper_s) and bool(refused) == (upper_s == np.inf)


@pytest.mark.parametrize("used", [0, 2])
def test_a_mean_over_exits_of_which_one_could_not_be_measured_cannot_be_either(used: int) -> None:
    exits = [_time(2.0), _time(3.0), _time(4.0)]
    exits[used] = _time(4.0, "the core was busy")
    taken = winner_readings.Taken(Times(tuple(exits), _time(3.0)), np.array([0.25, 0.0, 0.75]), Conditions("here", 1))
    assert winner_readings.deciding(MEAN, taken)[1:] == (np.inf, "the core was busy")


def test_a_stream_on_a_busy_core_lowers_thresholds_and_the_next_verification_solves_them_anew(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []
    solve = settling._solve

    def asking(context: Context, winner: Winner, allowed_s: float) -> Policy:
        asked.append(allowed_s)
        return solve(context, winner, allowed_s)

    monkeypatch.setattr(settling, "_solve", asking)
    with opened(run, streaming(1.25)) as context:
        winner = standing(context)[0]["mean"]
        limit_s = winner.budget.latency_s
        lowered = settling.settle_thresholds(context, winner)
        assert asked == pytest.approx([limit_s * 0.8**n for n in range(4)]) and lowered == asked[-1]
        asked.clear()
    with opened(run, streaming(0.9)) as context:
        assert settling.settle_thresholds(context, standing(context)[0]["mean"]) == limit_s and asked == [limit_s]


def streaming(share: float) -> DeviceFinder:
    """Finds a device of this process whose streams have a bound of so many times the mean budget."""

    class Streaming(InProcessSession):
        def time(self, wanted: Sequence[Wanted], *rest: Any, **named: Any) -> dict[str, Times]:
            limit_s = parse.experiment(SMALL).budgets[1].latency_s
            return {each.name: Times((), _time(share * limit_s)) for each in wanted}

    class Device(InProcess):
        @contextmanager
        def open(self, artefacts: Mapping[str, Artefact]) -> Iterator[Session]:
            yield Streaming(runner_for(self.target, self.plugins), artefacts)

    return lambda target, profile, plugins: Device(target, plugins)


@pytest.mark.slow
def test_candidates_that_cannot_be_measured_are_said_to_be_so_and_are_measured_later(
    run: Path, nas: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    rewind(run, "search")
    monkeypatch.setattr(train, "_train", untrained)
    with monkeypatch.context() as busy:
        busy.setattr(measuring, "Clocks", lambda: BUSY_AND_COARSE)
        assert nas("run", write(run.parent, SMALL), "--out", str(run), "--resume").code == 3
    unmet = load_verdicts(RunFiles(run)).unmet
    assert [budget.name for budget, _ in unmet] == [budget["name"] for budget in SMALL["budgets"]]
    for _, statement in unmet:
        assert "2 were not measurable: the core was busy in 3 of 3 blocks" in statement
    done = nas("run", write(run.parent, SMALL), "--out", str(run), "--resume")
    assert done.code == 0, "the machine is quiet again"
    verdicts = load_verdicts(RunFiles(run))
    assert verdicts.kept and not verdicts.unmet and len(verdicts.winners) == len(SMALL["budgets"])


@pytest.mark.slow
def test_a_run_whose_winners_could_not_be_measured_goes_on_with_them(
    run: Path, nas: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as busy:
        busy.setattr(measuring, "Clocks", lambda: BUSY_AND_COARSE)
        assert nas("verify", str(run)).code == 3
    before = [verdict.key for verdict in load_verdicts(RunFiles(run)).winners]
    assert nas("run", write(run.parent, SMALL), "--out", str(run), "--resume").code == 0
    verdicts = load_verdicts(RunFiles(run))
    assert verdicts.kept and [verdict.key for verdict in verdicts.winners] == before
