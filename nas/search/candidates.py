"""Which candidate of a budget to measure next, or to take: the budget loop, on the networks that a search judged.

What is known of a candidate is its reading where it has one, counted with its upper bound, and else what the latency
model, fitted again with every reading so far, predicts with its error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from latency_models.base import LatencyModel
from latency_models.tail import NO_TAIL, Tail
from nas.config.budget import Budget
from nas.devices.measurement import Measurement
from nas.run.trial import Trial
from nas.search.budget_loop import Observed, Rules, Step, decide
from nas.search.shrinkage import Estimates
from search_spaces.slots import SearchSpace

Floats = NDArray[np.float64]

#: A probability of keeping the budget that is taken for none.
_DOUBT: Final = 0.04
#: What a candidate that was seen to break its budget, or could not be measured, is taken to need, in multiples of it.
_FAR: Final = 1e3


@dataclass(frozen=True, eq=False)
class Candidates:
    """What the search found for a budget, `pool` [n], and the `estimates` of their accuracies [n].

    `rates` has the share of samples that leaves at each exit of each candidate. `tail` says how far above calls in a
    row, which are what is read, the bound lies that will decide.
    """

    pool: Sequence[Trial]
    rates: Sequence[tuple[float, ...]]
    estimates: Estimates
    tail: Tail = NO_TAIL


def next_step(
    space: SearchSpace,
    budget: Budget,
    candidates: Candidates,
    rows: Mapping[str, Measurement],
    model: LatencyModel,
    left: int,
) -> Step:
    """Measure a candidate, or stop with one; `rows` has the readings by network, `left` says how many may follow."""
    pool, rates, tail = candidates.pool, candidates.rates, candidates.tail
    prediction = model.predict([space.decode(trial.genome) for trial in pool])
    shares = np.zeros(prediction.segment_s.shape)
    for number, of_one in enumerate(rates):
        shares[number, : len(of_one)] = of_one
    known = [number for number, trial in enumerate(pool) if trial.key in rows]
    seconds = [seconds_of(budget, rates[number], rows[pool[number].key], tail) for number in known]
    belief = budget.believed(prediction, shares, tail)
    if not known and not (belief.probability_within(budget.latency_s) > _DOUBT).any():
        # Nothing is likely to fit; only a reading can tell, of the one that is believed to be the fastest.
        return Step(None, int(np.argmin(belief.mean_s)), 0.0) if left > 0 else Step("nothing fits", None, 0.0)
    # What a reading says is a bound already; nothing is taken for its noise.
    readings = Observed.of(np.array(known, np.intp), np.array(seconds, np.float64), len(pool))
    found = candidates.estimates
    rules = Rules(gain=found.gain, equal=found.equal, doubt=_DOUBT)
    return decide(found.accuracy, budget.latency_s, belief, readings, left, rules)


def seconds_of(budget: Budget, rates: tuple[float, ...], row: Measurement, tail: Tail = NO_TAIL) -> float:
    """What a reading says a candidate takes: the bound of its worst case, or the mean over the data by medians.

    Of a percentile it is the bound of the median to the exit that decides it, times the ratio of the `tail`.
    """
    if budget.name in row.broken or row.refused:
        return _FAR * budget.latency_s
    if budget.needs_thresholds:
        seconds = float(budget.seconds(row.cumulative_s, rates, tail))
    else:
        seconds = float(budget.seconds([each.upper_95_s for each in row.exits], rates, tail))
    return min(seconds, _FAR * budget.latency_s)
