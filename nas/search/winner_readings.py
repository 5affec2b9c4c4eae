"""What do winners take where they run, all of a device measured together, and what of it decides?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from hardware_profiles import Target
from nas.config.budget import Budget
from nas.devices.base import Device, DeviceLost, Session, Times, Wanted
from nas.devices.board.device import Board
from nas.devices.conditions import Conditions
from nas.devices.measurement import ExitTime
from nas.process.machine import computing
from nas.process.side_by_side import side_by_side
from nas.run.artefacts import plan_of, prepared_samples, shipped
from nas.run.context import Context
from nas.run.winners import Winner
from nas.search.settling import wanted_of

#: Rest between rounds of blocks, so that they see the machine at different times.
GAP_S = 1.5


@dataclass(frozen=True)
class Taken:
    """What was read of a winner: seconds, the shares of samples that left at each exit, and under what conditions."""

    times: Times
    rates: NDArray[np.float64]
    conditions: Conditions


def taken_where_they_run(context: Context, winners: Sequence[Winner]) -> dict[str, Taken]:
    """The readings of winners by budget name, each on its own target; none of those whose device is not within reach.

    Boards are measured side by side, and this machine afterwards, when it has nothing else to do. What one of them
    gave stands where another is lost meanwhile.
    """
    there: dict[str, list[Target]] = {}
    here: list[Target] = []
    for target in context.experiment.targets:
        device = context.device(target)
        if isinstance(device, Board):
            there.setdefault(device.connection.name, []).append(target)
        elif device is not None:
            here.append(target)
    found: dict[str, Taken] = {}
    lost: list[DeviceLost] = []

    def on(targets: Sequence[Target]) -> None:
        try:
            for target in targets:
                mine = [winner for winner in winners if context.experiment.target_of(winner.budget) == target]
                device = context.device(target)
                if mine and device is not None:
                    found.update(taken_on(context, device, target, mine))
        except DeviceLost as error:
            lost.append(error)

    side_by_side({name: partial(on, targets) for name, targets in there.items()})
    for target in here:
        on([target])
    for error in lost:
        context.lose(error)
    return found


def taken_on(context: Context, device: Device, target: Target, winners: Sequence[Winner]) -> dict[str, Taken]:
    """The readings of winners on one device, taken together, by budget name; `target` says what was built for it."""
    artefacts = {winner.budget.name: shipped(context, winner, target) for winner in winners}
    wanted = [wanted_of(winner, artefacts[winner.budget.name], "winner") for winner in winners]
    samples, plan = prepared_samples(context, "test"), replace(plan_of(context, target), gap_s=GAP_S)
    with device.open(artefacts) as session:
        times = session.time(wanted, samples, plan)
        conditions = session.conditions()
        rates = {each.name: _rates(session, each, samples) for each in wanted}
    return {name: Taken(times[name], rates[name], conditions) for name in artefacts}


def _rates(session: Session, wanted: Wanted, samples: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
    """The shares of samples that leave at each exit; without a stream, all of them at the last."""
    if not wanted.stream:
        return np.asarray(np.eye(wanted.exits)[-1], np.float64)
    with computing():
        leaving = session.leaving(wanted.name, samples)
    return np.asarray(np.bincount(leaving, minlength=wanted.exits) / len(leaving), np.float64)


def deciding(budget: Budget, taken: Taken) -> tuple[float, float, str]:
    """What was measured of what a budget is about, the bound that decides, and why it could not be measured, if so.

    An expected latency has two estimates, the mean over images and the exits' times weighed by the rates at which
    images leave; the larger bound counts, because where they differ the machine was not the same all the while.
    """
    return decided(budget, taken.times, taken.rates)


def decided(budget: Budget, times: Times, rates: NDArray[np.float64]) -> tuple[float, float, str]:
    """The same of seconds, and of the shares of samples that left at each exit."""
    last = times.to_exits[-1]
    if budget.percentile is not None:
        return *last.percentile(budget.percentile), _refused_single(last)
    left = [(float(rate), time) for rate, time in zip(rates, times.to_exits, strict=True) if rate > 0]
    weighed_s = sum(rate * time.upper_95_s for rate, time in left)
    both = [time for _, time in left] if times.stream is None else [times.stream, *(time for _, time in left)]
    refused = next((time.refused for time in both if time.refused), "")
    if times.stream is None:
        return last.median_s, weighed_s, refused
    return times.stream.median_s, max(times.stream.upper_95_s, weighed_s), refused


def as_decided(budget: Budget, exits: tuple[ExitTime, ...]) -> tuple[ExitTime, ...]:
    """The times to the exits; where a percentile is refused, the last one's is, since it says nothing of the budget."""
    last = exits[-1]
    if budget.percentile is None:
        return exits
    return (*exits[:-1], replace(last, refused=_refused_single(last)))


def _refused_single(last: ExitTime) -> str:
    """Why a percentile could not be measured; empty where it could."""
    return last.refused or last.single_refused or ("" if last.calls else "no single calls were timed there")
