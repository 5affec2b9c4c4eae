"""The next candidate: the largest expected gain, larger networks again when readings are lower than predicted."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from hardware_profiles import Target, load
from latency_models.roofline import Roofline
from nas.config.budget import Budget
from nas.devices.measurement import ExitTime, Measurement
from nas.run.trial import Trial
from nas.search.budget_loop import Step
from nas.search.candidates import Candidates, next_step, seconds_of
from nas.search.shrinkage import LEAST_GAIN, Estimates
from search_spaces.slots import random_genomes
from search_spaces.toy import toy

TARGET = Target("raspi4", "onnxruntime")
SPACE = toy((1, 8, 8), 4, max_exits=0)
MODEL = Roofline(load("raspi4"), TARGET)
POOL = [
    Trial(0, slot, 6, tuple(genome.tolist()), SPACE.decode(genome).key, "complete")
    for slot, genome in enumerate(np.unique(random_genomes(SPACE, 40, np.random.default_rng(0)), axis=0)[:6])
]
RATES = [(1.0,)] * len(POOL)
SECONDS = MODEL.predict([SPACE.decode(trial.genome) for trial in POOL]).total_s
#: The slower, the more accurate.
ACCURACY = 0.8 + 0.1 * np.argsort(np.argsort(SECONDS)) / len(POOL)


def reading(number: int, seconds: float, broken: tuple[str, ...] = ()) -> Measurement:
    trial = POOL[number]
    return Measurement(
        purpose="candidate",
        target=TARGET.key,
        genome=trial.genome,
        key=trial.key,
        exits=(ExitTime(0.9 * seconds, seconds, False),),
        broken=broken,
    )


def step(limit_s: float, rows: list[Measurement], left: int = 4) -> Step:
    budget = Budget(limit_s, "worst_case", "b")
    candidates = Candidates(POOL, RATES, Estimates(ACCURACY, math.nan))
    return next_step(SPACE, budget, candidates, {row.key: row for row in rows}, MODEL, left)


def test_the_most_accurate_network_is_taken_where_everything_fits() -> None:
    best = int(np.argmax(ACCURACY))
    assert step(1.0, []).index == best
    found = step(1.0, [reading(best, 0.5)])
    assert (found.found, found.index) == ("network", best)


def test_a_more_accurate_network_is_read_while_one_that_fits_is_known() -> None:
    worst, best = int(np.argmin(ACCURACY)), int(np.argmax(ACCURACY))
    assert ACCURACY[best] - ACCURACY[worst] > LEAST_GAIN
    found = step(1.0, [reading(worst, 0.1)])
    assert (found.found, found.index) == (None, best)
    assert step(1.0, [reading(worst, 0.1)], left=0).index == worst


def test_a_reading_above_the_budget_is_not_taken_and_neither_is_a_broken_one() -> None:
    best = int(np.argmax(ACCURACY))
    for row in (reading(best, 2.0), reading(best, 0.5, ("b",))):
        found = step(1.0, [row])
        assert found.found is None and found.index not in (None, best)


def test_nothing_fits_is_said_after_readings_alone() -> None:
    limit = 1e-3 * float(SECONDS.min())
    first = step(limit, [])
    assert first.found is None and first.index == int(np.argmin(SECONDS))
    rows = []
    for _ in range(10):
        found = step(limit, rows, 10 - len(rows))
        if found.found is not None:
            break
        assert found.index is not None
        rows.append(reading(found.index, float(SECONDS[found.index])))
    assert rows and found.found in ("nothing fits", "undecided") and found.index is None


@pytest.mark.parametrize(("of", "expected"), [("worst_case", 0.5), ("expected", 0.45)])
def test_a_worst_case_counts_with_its_bound_and_a_mean_with_its_medians(of: str, expected: float) -> None:
    budget = replace(Budget(1.0, "worst_case", "b"), of=of)
    assert seconds_of(budget, (1.0,), reading(0, 0.5)) == pytest.approx(expected)
