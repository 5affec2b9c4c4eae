"""What a sweep will take: cells that share weights are trained for once, and alike ones are asked once."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.outlook.effort import SHARED_WEIGHTS, effort_of
from nas.outlook.rehearsal import rehearsed
from nas.sweep.cells import cells_of
from nas.sweep.estimate import outlook
from nas.sweep.sharing import planned
from nas.sweep.sweep_file import load
from tests.nas.small_runs import small
from tests.nas.sweep.small_sweeps import write_sweep

TOY = small(space={"name": "toy", "width": 4})


def test_weights_are_counted_once_for_all_that_share_them(tmp_path: Path) -> None:
    path = write_sweep(tmp_path, {"budgets.0.latency": ["1 ms", "2 ms"], "seed": [0, 1]}, TOY)
    found = outlook(path, planned(cells_of(load(path))))
    assert [any(each.what == SHARED_WEIGHTS for each in effort.trainings) for effort in found.efforts] == [
        True, True, False, False
    ]  # fmt: skip
    assert len(found.kinds) == 2
    whole = found.efforts[0]
    trained_s = next(each for each in whole.trainings if each.what == SHARED_WEIGHTS).seconds(1e9)
    assert found.seconds(1e9) == pytest.approx(4 * whole.seconds(1e9) - 2 * trained_s)


@pytest.mark.parametrize(
    "key",
    ["supernet.learning_rate", "supernet.weight_decay", "supernet.label_smoothing", "winners.learning_rate",
     "winners.weight_decay"],
)  # fmt: skip
def test_what_is_left_out_of_the_comparison_is_looked_at_by_nobody(key: str, tmp_path: Path) -> None:
    """Neither a rehearsal nor an estimate computes with it."""
    (cell,) = cells_of(load(write_sweep(tmp_path, {"seed": [0]}, TOY)))
    section, _, name = key.partition(".")
    object.__setattr__(getattr(cell.experiment, section), name, object())
    assert effort_of(rehearsed(cell.experiment)).memory_bytes > 0
