"""What do winners take where they run, all of a device measured together, and what of it decides?"""

from __future__ import annotations

from bisect import bisect_left
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
from nas.devices.measurement import LEVELS, ExitTime
from nas.exits.intervals import upper_share
from nas.process.machine import computing
from nas.process.side_by_side import side_by_side
from nas.run.artefacts import plan_of, prepared_samples, shipped
from nas.run.context import Context
from nas.run.winners import Winner
from nas.search.settling import wanted_of
from nas.tolerances import KEPT_LEVEL

#: Rest between rounds of blocks, so that they see the machine at different times.
GAP_S = 1.5


@dataclass(frozen=True)
class Taken:
    """What was read of a winner: seconds, the shares of `images` that left at each exit, and under what conditions."""

    times: Times
    rates: NDArray[np.float64]
    conditions: Conditions
    images: int = 0


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
    wanted = [wanted_of(context, winner, artefacts[winner.budget.name], "winner") for winner in winners]
    samples, plan = prepared_samples(context, "test"), replace(plan_of(context, target), gap_s=GAP_S)
    with device.open(artefacts) as session:
        times = session.time(wanted, samples, plan)
        conditions = session.conditions()
        rates = {each.name: _rates(session, each, samples) for each in wanted}
    return {name: Taken(times[name], rates[name], conditions, len(samples)) for name in artefacts}


def _rates(session: Session, wanted: Wanted, samples: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
    """The shares of samples that leave at each exit; without a stream, all of them at the last."""
    if not wanted.leaves:
        return np.asarray(np.eye(wanted.exits)[-1], np.float64)
    with computing():
        leaving = session.leaving(wanted.name, samples)
    return np.asarray(np.bincount(leaving, minlength=wanted.exits) / len(leaving), np.float64)


def deciding(budget: Budget, taken: Taken) -> tuple[float, float, str]:
    """What was measured of what a budget is about, the bound that decides, and why it could not be measured, if so.

    A percentile is that over the stream where there is one, and else of calls to the last exit.
    An expected latency has two estimates, the mean over images and the exits' times weighed by the rates at which
    images leave; the larger bound counts, because where they differ the machine was not the same all the while.
    """
    return decided(budget, taken.times, taken.rates, taken.images)


def decided(budget: Budget, times: Times, rates: NDArray[np.float64], images: int = 0) -> tuple[float, float, str]:
    """The same of seconds, and of the shares of so many images that left at each exit; 0 where nobody knows."""
    last = times.to_exits[-1]
    if budget.percentile is not None:
        single = last if times.stream is None else times.stream
        measured_s, upper_s = single.percentile(budget.percentile)
        return measured_s, for_other_images(budget.percentile, upper_s, times, rates, images), _refused_single(single)
    left = [(float(rate), time) for rate, time in zip(rates, times.to_exits, strict=True) if rate > 0]
    weighed_s = sum(rate * time.upper_95_s for rate, time in left)
    both = [time for _, time in left] if times.stream is None else [times.stream, *(time for _, time in left)]
    refused = next((time.refused for time in both if time.refused), "")
    if times.stream is None:
        return last.median_s, weighed_s, refused
    return times.stream.median_s, max(times.stream.upper_95_s, weighed_s), refused


def for_other_images(share: float, bound_s: float, times: Times, rates: NDArray[np.float64], images: int) -> float:
    """The bound of a percentile of calls over a stream of so many images, for all others of the kind too.

    The calls were over these images again and again, and the share that leaves late may be larger among others. Where
    it cannot be excluded by these, with 95 %, that a later exit decides the percentile than one that is within the
    bound, this is raised by as much as calls to it take longer.
    """
    if times.stream is None or not images or not times.single_s:
        return bound_s
    gone = np.cumsum(np.rint(rates * images))
    in_a_row_s = np.maximum.accumulate([each.median_s for each in times.to_exits])
    # What single calls take to each exit, as the middle one of the stream takes to its own.
    usual_s = times.single_s[bisect_left(LEVELS, 0.5)]
    single_s = in_a_row_s * usual_s / in_a_row_s[np.searchsorted(gone, images / 2)]
    beyond = [*(upper_share(images - int(each), images, KEPT_LEVEL) for each in gone[:-1]), 0.0]
    decides = next(place for place, most in enumerate(beyond) if most <= 1 - share)
    covered = max(int(np.searchsorted(single_s, bound_s, side="right")) - 1, 0)
    return bound_s * max(1.0, float(single_s[decides] / single_s[covered]))


def as_decided(budget: Budget, times: Times) -> tuple[ExitTime, ...]:
    """The times to the exits; where a percentile is refused, the last one's is, since it says nothing of the budget.

    Of a percentile over the stream it is the stream that is refused.
    """
    *early, last = times.to_exits
    if budget.percentile is None or times.stream is not None:
        return times.to_exits
    return (*early, replace(last, refused=_refused_single(last)))


def _refused_single(single: ExitTime) -> str:
    """Why a percentile could not be measured; empty where it could."""
    return single.refused or single.single_refused or ("" if single.calls else "no single calls were timed there")
