"""Which candidate of a budget to measure next, or to take: the budget loop, on the networks that a search judged.

What is known of a candidate is its reading where it has one, counted with its upper bound, and else what the latency
model, fitted again with every reading so far, predicts with its error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from latency_models.roofline import LinearModel
from nas.devices.measurement import Measurement
from nas.run.trial import Trial
from nas.search.budget_loop import Rules, Step, decide
from nas.settings import Budget
from search_spaces.slots import SearchSpace

Floats = NDArray[np.float64]

#: Expected gain in accuracy that is not worth measuring, and training, another network for.
GAIN: Final = 0.0005
#: A probability of keeping the budget that is taken for none.
_DOUBT: Final = 0.04
#: What a candidate that was seen to break its budget, or could not be measured, is taken to need, in multiples of it.
_FAR: Final = 1e3


@dataclass(frozen=True, eq=False)
class Belief:
    """Central predictions of candidates, in seconds [n], and their errors: Student's t of width `std_s` [n].

    The errors are those of logarithms, since seconds are positive. Satisfies `budget_loop.Belief`.
    """

    mean_s: Floats
    std_s: Floats
    freedom: float

    def probability_within(self, limit_s: float) -> Floats:
        """The probability that each candidate takes at most `limit_s` [n]."""
        from scipy.special import ndtr, stdtr

        width = np.maximum(np.sqrt(np.log1p((self.std_s / self.mean_s) ** 2)), 1e-6)
        distance = np.log(limit_s / self.mean_s) / width
        return np.asarray(ndtr(distance) if math.isinf(self.freedom) else stdtr(self.freedom, distance), np.float64)


def next_step(
    space: SearchSpace,
    budget: Budget,
    rates: Sequence[tuple[float, ...]],
    accuracy: Floats,
    pool: Sequence[Trial],
    rows: Mapping[str, Measurement],
    model: LinearModel,
    left: int,
) -> Step:
    """Measure a candidate, or stop with one: `decide` for candidates `pool` [n] with validation `accuracy` [n].

    `rates` has the share of samples that leaves at each exit of each candidate, `rows` the readings by network,
    `left` how many more may be taken.
    """
    prediction = model.predict([space.decode(trial.genome) for trial in pool])
    mean, std = prediction.total_s, prediction.total_std_s
    if budget.of == "expected":
        shares = np.zeros(prediction.segment_s.shape)
        for number, of_one in enumerate(rates):
            shares[number, : len(of_one)] = of_one
        mean, std = prediction.expected_s(shares), prediction.expected_std_s(shares)
    known = [number for number, trial in enumerate(pool) if trial.key in rows]
    seconds = [seconds_of(budget, rates[number], rows[pool[number].key]) for number in known]
    belief = Belief(mean, std, prediction.freedom)
    if not known and not (belief.probability_within(budget.latency_s) > _DOUBT).any():
        # Nothing is likely to fit; only a reading can tell, of the one that is believed to be the fastest.
        return Step(None, int(np.argmin(mean)), 0.0, 0.0) if left > 0 else Step("nothing fits", None, 0.0, 0.0)
    rules = Rules(measurements=max(left, 0), gain=GAIN, doubt=_DOUBT, noise=0.0, step_s=0.0)
    at, taken = np.array(known, np.intp), np.array(seconds, np.float64)
    return decide(accuracy, budget.latency_s, belief, at, taken, left, rules)


def seconds_of(budget: Budget, rates: tuple[float, ...], row: Measurement) -> float:
    """What a reading says a candidate takes: the bound of its worst case, or the mean over the data by medians."""
    if budget.name in row.broken or row.refused:
        return _FAR * budget.latency_s
    seconds = row.worst_upper_s if budget.of == "worst_case" else float(np.dot(rates, row.reach_s))
    return min(seconds, _FAR * budget.latency_s)
