"""Single calls: each on its own, none left out, and no more than there is time for."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest

from nas.devices.measurement import ExitTime
from nas.devices.timing.measuring import single_calls
from nas.devices.timing.plan import Plan
from nas.devices.timing.readings import Readings
from nas.process.files import read_jsonl, to_line
from nas.run.layout import RunFiles
from nas.run.verdict_files import load_verdicts


class Hands:
    """A clock that a call moves on."""

    def __init__(self, takes: list[float]) -> None:
        self.now, self.takes = 0.0, itertools.cycle(takes)

    def __call__(self) -> float:
        return self.now

    def call(self, sample: object) -> None:
        self.now += next(self.takes)


def test_no_call_is_left_out_and_none_is_averaged() -> None:
    hands = Hands([1e-3] * 9 + [1e-1])
    seconds = single_calls(hands.call, [0], Plan(single_calls=100, single_s=100), hands)
    assert len(seconds) == 100 and (seconds > 0.05).sum() == 10


def test_slow_calls_are_fewer_but_a_fiftieth_of_them() -> None:
    hands = Hands([1.0])
    assert len(single_calls(hands.call, [0], Plan(single_calls=1000, single_s=5), hands)) == 20
    assert len(single_calls(hands.call, [0], Plan(single_calls=1000, single_s=300), hands)) == 301
    now = hands.now
    assert len(single_calls(hands.call, [0], Plan(), hands)) == 0 and hands.now == now


def test_samples_take_turns() -> None:
    hands, seen = Hands([1e-3]), []
    single_calls(lambda sample: seen.append(sample), [1, 2, 3], Plan(single_calls=5, single_s=1), hands)
    assert seen[-5:] == [1, 2, 3, 1, 2]


@pytest.mark.parametrize(("n", "p95", "p99"), [(100, 96, 100), (1000, 951, 991)])
def test_percentiles_are_calls_that_were_seen_and_never_below(n: int, p95: int, p99: int) -> None:
    seconds = np.random.default_rng(0).permutation(np.arange(1, n + 1)).astype(float)
    readings = Readings(np.ones((3, 5)), np.ones((3, 5)))
    time = ExitTime.of(readings, seconds)
    assert (time.p95_s, time.p99_s, time.calls) == (p95, p99, n)
    none = ExitTime.of(readings)
    assert math.isnan(none.p95_s) and none.calls == 0
    for each in (time, none):
        again = ExitTime.from_dict(json.loads(to_line({"median_s": 1.0, "upper_95_s": 2.0, **vars(each)})))
        assert (again.calls, again.p99_s) == (each.calls, each.p99_s) or not each.calls


def test_a_verdict_has_them_beside_its_bound(run: Path) -> None:
    for verdict in load_verdicts(RunFiles(run)).winners:
        assert verdict.p95_s is not None and verdict.p99_s is not None and verdict.single_calls == 1000
        assert 0 < verdict.p95_s <= verdict.p99_s
        page = (run / "report.html").read_text()
        assert verdict.statistic in page and "99 % of 1\u202f000 are faster" in page.replace("&#8239;", " ")
    rows = [row for row in read_jsonl(run / "measurements.jsonl") if row["purpose"] != "winner"]
    assert rows and all(time["calls"] == 0 for row in rows for time in row["exits"])
