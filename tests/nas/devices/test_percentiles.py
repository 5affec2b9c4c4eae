"""Percentiles of single calls, as they are kept and shown."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from nas.devices.measurement import ExitTime
from nas.devices.timing.readings import Readings
from nas.devices.timing.single_calls import SingleReadings
from nas.process.files import read_jsonl, to_line
from nas.run.layout import RunFiles
from nas.run.verdict_files import load_verdicts


@pytest.mark.parametrize(("n", "p95", "p99"), [(100, 96, 100), (1000, 951, 991)])
def test_percentiles_are_calls_that_were_seen_and_never_below(n: int, p95: int, p99: int) -> None:
    seconds = np.random.default_rng(0).permutation(np.arange(1, n + 1)).astype(float)
    readings = Readings(np.ones((3, 5)), np.ones((3, 5)))
    time = ExitTime.of(readings, SingleReadings(seconds.reshape(2, -1), every_s=0.5, refused="busy"))
    assert (time.p95_s, time.p99_s, time.calls, time.slowest_s) == (p95, p99, n, n)
    assert (time.every_s, time.p99_upper_s, time.single_refused) == (0.5, math.inf, "busy")
    none = ExitTime.of(readings)
    assert math.isnan(none.p95_s) and none.calls == 0
    for each in (time, none):
        again = ExitTime.from_dict(json.loads(to_line({"median_s": 1.0, "upper_95_s": 2.0, **vars(each)})))
        assert again == each or not each.calls


def test_a_verdict_has_them_beside_its_bound(run: Path) -> None:
    for verdict in load_verdicts(RunFiles(run)).winners:
        assert verdict.p95_s is not None and verdict.p99_s is not None and verdict.single_calls == 1002
        assert 0 < verdict.p95_s <= verdict.p99_s
        page = (run / "report.html").read_text()
        assert verdict.statistic in page and "99 % of 1\u202f002 are faster" in page.replace("&#8239;", " ")
    rows = [row for row in read_jsonl(run / "measurements.jsonl") if row["purpose"] != "winner"]
    assert rows and all(time["calls"] == 0 for row in rows for time in row["exits"])
