"""Who goes on at a rung follows from what stands in the file up to one's own line, and from nothing else."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import pytest

from nas.errors import InputError
from nas.process.files import append_jsonl
from nas.run.rungs import AtRung, Judged
from nas.sweep.layout import SweepFiles
from nas.sweep.rungs import CellRungs, decisions, reports
from nas.sweep.scheduler import Scheduler

pytest.importorskip("optuna")

NAN = math.nan
#: Stops, goes on.
S, G = True, False


@pytest.mark.parametrize(
    ("factor", "values", "stops"),
    [
        # Nobody to be compared with: the first goes on, whatever it is worth.
        (3, [0.1], [G]),
        (3, [0.0, 0.0], [G, G]),
        # Until there are as many as the factor, those that are the best so far.
        (3, [0.1, 0.2], [G, G]),
        (3, [0.2, 0.1], [G, S]),
        (3, [0.5, 0.4, 0.6, 0.55, 0.7], [G, S, G, S, G]),
        # Then one in three: of six the second still goes on, of nine the third.
        (3, [0.5, 0.4, 0.6, 0.1, 0.2, 0.55], [G, S, G, S, S, G]),
        (3, [0.1, 0.2, 0.3, 0.0, 0.0, 0.3, 0.0, 0.0, 0.25], [G, G, G, S, S, G, S, S, G]),
        (2, [0.1, 0.2, 0.3, 0.25], [G, G, G, G]),
        (2, [0.4, 0.3, 0.2, 0.1], [G, S, S, S]),
        # Equals are treated alike.
        (3, [0.5, 0.5, 0.5, 0.5], [G, G, G, G]),
        (3, [0.5, 0.6, 0.5, 0.6], [G, G, S, G]),
        # What is no number stops, and counts for nobody.
        (3, [NAN], [S]),
        (3, [NAN, 0.1, NAN, 0.05], [S, G, S, S]),
    ],
)
def test_the_best_go_on(factor: int, values: list[float], stops: list[bool]) -> None:
    assert decisions(factor, values) == stops


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_who_comes_later_changes_no_decision(factor: int) -> None:
    rng = random.Random(factor)
    values = [round(rng.random(), 1) for _ in range(40)]
    whole = decisions(factor, values)
    assert all(decisions(factor, values[:count]) == whole[:count] for count in range(0, 41, 8))
    # About one in so many goes on, and not much more by luck of the order.
    assert 40 / factor / 2 < whole.count(G) < 40 / factor * 2


def cell(files: SweepFiles, name: str, **group: Any) -> CellRungs:
    return CellRungs(files, name, Scheduler(min_epochs=2, reduction_factor=3), group)


def at(value: float) -> AtRung:
    return AtRung(value, "worst", (Judged((0, 1), 1000, value),))


def test_cells_are_compared_at_the_same_epoch_with_those_of_the_same_question(tmp_path: Path) -> None:
    files = SweepFiles(tmp_path)
    good, bad, tight = cell(files, "good"), cell(files, "bad"), cell(files, "tight", **{"budgets.0.latency": "1 ms"})
    for each, value in ((good, 0.9), (tight, 0.2), (bad, 0.3)):
        assert each.reported(2) is None
        each.report(2, at(value))
        assert each.reported(2) == value and each.reported(6) is None
    assert [each.stops(2) for each in (good, bad, tight)] == [False, True, False]
    # Later ones that are better change nothing; at another rung everything is open again.
    cell(files, "best").report(2, at(0.95))
    bad.report(6, at(0.3))
    good.report(6, at(0.2))
    assert [each.stops(2) for each in (good, bad, tight)] == [False, True, False]
    assert [each.stops(6) for each in (bad, good)] == [False, True]
    assert [(each.cell, each.epoch) for each in reports(files)][-2:] == [("bad", 6), ("good", 6)]


@pytest.mark.parametrize("rest", [b'{"cell":"third","epo', b"\0\0\0"])
def test_a_torn_line_was_never_written_and_a_line_that_comes_twice_counts_once(rest: bytes, tmp_path: Path) -> None:
    files = SweepFiles(tmp_path)
    first, second = cell(files, "first"), cell(files, "second")
    for each, value in ((first, 0.5), (second, 0.4), (first, 0.1), (second, 0.9)):
        each.report(2, at(value))
    files.rungs.write_bytes(files.rungs.read_bytes() + rest)
    assert (first.reported(2), second.reported(2)) == (0.5, 0.4)
    assert (first.stops(2), second.stops(2)) == (False, True)
    third = cell(files, "third")
    third.report(2, at(0.45))
    assert third.stops(2) and len(reports(files)) == 5


def test_a_value_that_is_no_number_is_kept_as_such(tmp_path: Path) -> None:
    files = SweepFiles(tmp_path)
    broken = cell(files, "broken")
    broken.report(2, at(NAN))
    assert math.isnan(broken.reported(2) or 0.0) and broken.stops(2)


@pytest.mark.parametrize(
    "record",
    [{}, {"cell": "x", "epoch": 2, "value": "much", "group": {}}, {"cell": "x", "epoch": [], "value": 1, "group": 0}],
)
def test_a_damaged_file_is_named_with_what_to_do(record: dict[str, Any], tmp_path: Path) -> None:
    files = SweepFiles(tmp_path)
    append_jsonl(files.rungs, [record])
    with pytest.raises(InputError, match=r"rungs\.jsonl .*restore it, or start anew with another --out"):
        cell(files, "x").reported(2)


@pytest.mark.parametrize(
    ("least", "factor", "epochs", "rungs"),
    [
        (2, 3, 20, (2, 6, 18)),
        (2, 3, 18, (2, 6)),
        (1, 2, 9, (1, 2, 4, 8)),
        (5, 4, 6, (5,)),
        (5, 4, 5, ()),
        (9, 2, 5, ()),
    ],
)
def test_rungs_are_before_the_end(least: int, factor: int, epochs: int, rungs: tuple[int, ...]) -> None:
    assert Scheduler(min_epochs=least, reduction_factor=factor).rungs(epochs) == rungs
