"""The budget loop on a device of which only readings with noise can be had: from the first readings to its answer.

`nas.search.budget_loop.decide` is one round; a run logs each reading and adapts its latency model in between. Here the
rounds follow each other in memory, and what a run knows, the noise of a reading and the step of the clock, may have to
be found out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from latency_models.base import Distribution
from latency_models.few_shot.readings import rounding_step
from nas.search.budget_loop import Floats, Found, Indices, Observed, Rules, decide

#: What is taken for the noise of a reading before anything was read twice, and how many repeats that guess is worth.
NOISE, NOISE_WEIGHT = 0.03, 2

#: The belief after readings of candidates [k], in seconds [k], with the noise of one reading (log scale).
Adapt = Callable[[Indices, Floats, float], Distribution]


@dataclass(frozen=True)
class Conditions:
    """What the loop is told: the readings that it may take beside the first, when it is content, and of its clock.

    `noise` is the standard deviation of the logarithm of a reading, None where it is not known. `step_s` is what the
    clock rounds to in seconds, 0 where it does not; None: as the readings look.
    """

    measurements: int = 10
    noise: float | None = None
    step_s: float | None = None
    rules: Rules = field(default_factory=Rules)

    def __post_init__(self) -> None:
        if self.measurements < 0:
            raise ValueError(f"the loop may take {self.measurements} readings; give 0 or more")
        if self.noise is not None and not 0 <= self.noise < 1:
            raise ValueError(f"a noise of {self.noise} is no standard deviation of a logarithm; give one in [0, 1)")

    def readings(self, measured: Indices, seconds: Floats, n: int) -> Observed:
        """Readings `seconds` [k] of candidates `measured` [k] among n, as they are understood."""
        step_s = rounding_step(seconds, measured) if self.step_s is None else self.step_s
        return Observed.of(measured, seconds, n, noise_of(measured, seconds, self.noise), step_s)


@dataclass(frozen=True, eq=False)
class Taken:
    """The readings so far: `seconds` [k] of `measured` [k], in order."""

    measured: Indices
    seconds: Floats

    def and_one(self, index: int, seconds: float) -> Taken:
        """These and one more."""
        return Taken(np.append(self.measured, index), np.append(self.seconds, seconds))


@dataclass(frozen=True)
class Outcome:
    """Where the loop ended. `index`: the network, None without one; `taken`: all readings."""

    found: Found
    index: int | None
    promise: float
    taken: Taken = field(repr=False)


def search(
    accuracy: Floats,
    limit_s: float,
    adapt: Adapt,
    measure: Callable[[int], float],
    taken: Taken,
    conditions: Conditions,
) -> Outcome:
    """The most accurate of n candidates, of `accuracy` [n], that keeps `limit_s`, by few readings.

    `taken` is what was read already, at least once; `measure` takes one more reading, in seconds. Raises ValueError for
    arrays that do not fit together and readings that are no times.
    """
    _check(accuracy, limit_s, taken.measured.tolist(), taken.seconds.tolist())
    for left in range(conditions.measurements, -1, -1):
        readings = conditions.readings(taken.measured, taken.seconds, len(accuracy))
        belief = adapt(taken.measured, taken.seconds, readings.noise)
        step = decide(accuracy, limit_s, belief, readings, left, conditions.rules)
        if step.found is not None:
            return Outcome(step.found, step.index, step.promise, taken)
        if step.index is None:
            break
        seconds = float(measure(step.index))
        _check(accuracy, limit_s, [step.index], [seconds])
        taken = taken.and_one(step.index, seconds)
    raise AssertionError("a step reads something or ends the loop, and ends it when no reading is left")


def noise_of(measured: Indices, seconds: Floats, noise: float | None) -> float:
    """The standard deviation of the logarithm of a reading: `noise`, or an estimate from repeated readings.

    Readings that repeat to the last digit are taken to be free of noise, unless the clock rounds: then, as without
    repeats, there is only a guess.
    """
    if noise is not None:
        return noise
    logs = np.log(seconds)
    _, group, count = np.unique(measured, return_inverse=True, return_counts=True)
    centred = logs - (np.bincount(group, logs) / count)[group]
    repeats = len(measured) - len(count)
    if repeats and np.abs(centred).max() < 1e-9:
        return NOISE if rounding_step(seconds, measured) else 0.0
    return math.sqrt((NOISE_WEIGHT * NOISE**2 + float(np.sum(centred**2))) / (NOISE_WEIGHT + repeats))


def _check(accuracy: Floats, limit_s: float, measured: Sequence[int], seconds: Sequence[float]) -> None:
    """Raise ValueError for what the loop cannot work with."""
    if np.ndim(accuracy) != 1 or not len(accuracy) or not np.all(np.isfinite(accuracy)):
        raise ValueError(f"accuracies have shape {np.shape(accuracy)}; give one finite number for each candidate")
    if not (math.isfinite(limit_s) and limit_s > 0):
        raise ValueError(f"a budget of {limit_s} s cannot be kept; give a positive number of seconds")
    if not measured or len(measured) != len(seconds):
        raise ValueError(
            f"there are {len(seconds)} readings of {len(measured)} candidates; give one for each, at least one"
        )
    if min(measured) < 0 or max(measured) >= len(accuracy):
        raise ValueError(f"a reading is of candidate {max(measured)}, but there are {len(accuracy)} of them")
    if not all(math.isfinite(s) and s > 0 for s in seconds):
        raise ValueError(f"a reading took {min(seconds)} s; readings are positive and finite")
