"""A training within a time: how many steps it takes is found out once."""

from __future__ import annotations

import json
from pathlib import Path

from nas.process.files import read_json
from nas.run.training import planned_steps
from tests.nas.opened_runs import opened


def test_a_time_is_turned_into_steps_once(run: Path) -> None:
    timed: list[int] = []

    def time_steps() -> list[float]:
        timed.append(1)
        return [0.1] * (4 + len(timed))

    with opened(run) as context:
        own = run / "winners" / "worst" / "plan.json"
        assert planned_steps(context, own, "x", 100, None, time_steps) == 100 and not timed
        assert planned_steps(context, own, "x", 100, 2.0, time_steps) == 20
        assert planned_steps(context, own, "x", 100, 7.0, time_steps) == 20  # written down
        assert planned_steps(context, own, "y", 5, 2.0, time_steps) == 5
        assert planned_steps(context, own, "z", 5, 1e-9, time_steps) == 1
        assert len(timed) == 3 and read_json(own, "") == {"x": 20, "y": 5, "z": 1}


def test_a_plan_of_the_first_release_is_kept_to(run: Path) -> None:
    """It kept the plans of all trainings in one file."""
    (run / "plans.json").write_text(json.dumps({"supernet": 9, "winner-abc": 7}))
    own = run / "winners" / "worst" / "plan.json"
    with opened(run) as context:
        assert planned_steps(context, own, "winner-abc", 100, 2.0, lambda: [0.1] * 5) == 7
    assert not own.exists()
