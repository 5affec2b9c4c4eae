"""How far percentiles of single calls lie above calls in a row, on each target, as far as this run has measured it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from latency_models.tail import NO_TAIL, UNKNOWN_TAIL, Tail
from nas.config.budget import Budget
from nas.devices.measurement import Measurement
from nas.run.context import Context
from nas.run.measurements import read_measurements

#: The percentile itself, or the bound of it that a verification has, which is what decides.
Figure = Literal["percentile", "bound"]


def tail_of(context: Context, budget: Budget, figure: Figure) -> Tail:
    """What readings so far say of a budget's percentile, those of winners among them; NO_TAIL for other budgets.

    So a winner that took longer than was believed makes the next choice a faster one.
    """
    return _of(budget, read_measurements(context, context.experiment.target_of(budget)), figure)


def tails_before(context: Context) -> Mapping[str, Tail]:
    """The tails of the deciding bounds by budget, as calibrated before the search, which nothing changes later."""
    experiment = context.experiment
    rows = {target: read_measurements(context, target, "single_calls") for target in experiment.targets}
    return {budget.name: _of(budget, rows[experiment.target_of(budget)], "bound") for budget in experiment.budgets}


def known(budget: Budget, rows: Iterable[Measurement]) -> bool:
    """Whether any of these readings says something of a budget's percentile."""
    return any(True for _ in _ratios(budget, rows, "percentile"))


def _of(budget: Budget, rows: Iterable[Measurement], figure: Figure) -> Tail:
    if budget.percentile is None:
        return NO_TAIL
    ratios = list(_ratios(budget, rows, figure))
    return Tail.learned(ratios) if ratios else UNKNOWN_TAIL


def _ratios(budget: Budget, rows: Iterable[Measurement], figure: Figure) -> Iterator[float]:
    """What each reading of the same duty cycle has; a bound of too few calls is taken to be the slowest of them.

    Calls over a stream are compared with those in a row to the exit that decides the percentile; their bound, which may
    be that of a later exit, only where none is.
    """
    for row in rows:
        single, in_a_row = row.exits[-1], row.exits[-1]
        if row.stream is not None and row.rates is not None:
            decides = int(budget.deciding_exit(row.rates))
            single, in_a_row = row.stream, row.exits[decides]
            if figure == "bound" and any(row.rates[decides + 1 :]):
                continue
        if budget.percentile is None or row.refused or single.single_refused or not single.calls:
            continue
        if row.purpose == "winner" and row.budget != budget.name:
            continue  # fewer calls, for another budget
        if single.every_s == budget.every_s:
            seconds, upper_s = single.percentile(budget.percentile)
            bound_s = upper_s if math.isfinite(upper_s) else max(seconds, single.slowest_s)
            yield (seconds if figure == "percentile" else bound_s) / in_a_row.median_s
