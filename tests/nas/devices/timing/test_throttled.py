"""A block that ran while the processor was slowed down is taken again, and refused where it stays so."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator

import pytest

from nas.devices.system import Throttle
from nas.devices.timing.bounds import upper_95_s
from nas.devices.timing.measuring import Clocks, measure
from nas.devices.timing.plan import Plan, SinglePlan
from nas.devices.timing.readings import Readings
from nas.devices.timing.single_calls import SingleJob, SingleReadings, single_calls

Take = Callable[[Iterator[bool]], Readings | SingleReadings]
PLAN = Plan(blocks=3, block_s=1e-3, warm_up_s=1e-3, repeats=4)


def clocks(states: Iterator[bool]) -> Clocks:
    return Clocks(throttle=lambda: Throttle("cooling" if next(states) else ""))


def work() -> int:
    return sum(range(200))


def calls(states: Iterator[bool]) -> Readings:
    return measure({"work": work}, PLAN, clocks(states))["work"]


def singles(states: Iterator[bool]) -> SingleReadings:
    job = SingleJob(lambda sample: work(), [None], SinglePlan(calls=20, repeats=1))
    return single_calls({"work": job}, PLAN, clocks(states))["work"]


@pytest.mark.parametrize("take", [calls, singles])
def test_a_hot_moment_is_taken_again(take: Take) -> None:
    found = take(itertools.chain([False, True, False], itertools.repeat(False)))
    assert found.repeated >= 1 and "slowed" not in found.refused


@pytest.mark.parametrize("take", [calls, singles])
def test_what_stays_hot_is_refused(take: Take) -> None:
    found = take(itertools.repeat(True))
    assert "the processor was slowed down" in found.refused and "cooling" in found.refused
    if isinstance(found, Readings):
        assert upper_95_s(found) == math.inf
