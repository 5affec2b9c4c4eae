"""The picture of single calls: shares that are slower, with the budget and the percentiles marked."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from nas.process.files import atomic_write_json
from nas.report import write_report
from nas.report.single_calls import picture
from nas.run.layout import RunFiles
from nas.run.verdict import Verdict
from nas.run.verdict_files import load_verdicts
from tests.nas.report.made_up_run import settle_again, space, write_run

SHARES = np.concatenate([np.linspace(0, 0.9, 100, endpoint=False), np.linspace(0.9, 1, 101)])


def verdict(folder: Path, slowest: float, budget_s: float, every_s: float | None = None) -> Verdict:
    """A winner whose single calls take from 1 to `slowest` milliseconds."""
    run = write_run(folder, networks=24)
    record = json.loads((run / "verify.json").read_text())
    winner = record["winners"][0]
    seconds = 1e-3 * (1 + (slowest - 1) * SHARES**20)
    calls = {"p95_s": 1.1e-3, "p99_s": 1.2e-3, "calls": 1000, "every_s": every_s, "refused": ""}
    winner["single_calls"] = {**calls, "shares": SHARES.tolist(), "seconds": seconds.tolist()}
    winner["budget_s"] = budget_s
    atomic_write_json(run / "verify.json", {name: value for name, value in record.items() if not name.startswith("@")})
    settle_again(run)
    return load_verdicts(RunFiles(run)).winners[0]


@pytest.mark.parametrize(("slowest", "every_s"), [(1.3, None), (40.0, 33e-3), (1.0, None)])
def test_median_percentiles_and_budget_are_named(tmp_path: Path, slowest: float, every_s: float | None) -> None:
    winner = verdict(tmp_path / "run", slowest, 1.5e-3, every_s)
    drawn = str(picture(winner, 0))
    text = re.sub("[\xa0\u202f]", " ", drawn)
    for name in ("median 1.00 ms", "95 % ", "99 % ", "budget 1.50 ms", "1 000 single calls"):
        assert name in text, name
    for number in re.findall(r'(?:c?[xy][12]?)="([-\d.]+)"', drawn):
        assert -1 <= float(number) <= 430


def test_a_budget_far_away_is_named_at_the_edge(tmp_path: Path) -> None:
    assert "to the right" in str(picture(verdict(tmp_path / "run", 1.3, 10.0), 0))


def test_the_page_shows_it_only_where_there_is_one(tmp_path: Path) -> None:

    run = write_run(tmp_path / "without", networks=24)
    assert all(picture(winner, 0) is None for winner in load_verdicts(RunFiles(run)).winners)
    assert 'id="calls"' not in write_report(run, space()).read_text()
    verdict(tmp_path / "with", 3.0, 2e-3, 33e-3)
    page = write_report(tmp_path / "with", space()).read_text()
    assert page.count('class="calls-line"') == 1 and "one every 33.0" in page
