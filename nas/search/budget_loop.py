"""A latency budget that holds: measure a few candidates, and return only one that was seen to keep it.

The loop knows arrays: the accuracy of each candidate, one budget, a belief about the seconds of each candidate given
all readings, and a way to take one more reading. Each round measures the candidate with the largest expected gain in
accuracy over the best that is known to keep the budget (expected improvement under a constraint; Schonlau, Welch and
Jones, 1998; Gardner et al., ICML 2014), adapts the belief, and stops when no reading promises enough. Accuracies are
known, so the expectation is over seconds alone.

Readings are multiplied by log-normal noise. A reading just within the budget is no proof: a network counts as keeping
it when readings and belief both say so with the chosen confidence, and a near-budget network may be read again.

`decide` is one round and keeps no state: whoever logs readings can stop anywhere and go on from the log.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from latency_models.few_shot.readings import rounding_step

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
Found = Literal["network", "nothing fits", "undecided"]

#: What is taken for the noise of a reading before anything was read twice, and how many repeats that guess is worth.
NOISE, NOISE_WEIGHT = 0.03, 2
#: A gain may need several readings of one network; more than this many are not looked ahead.
LOOK_AHEAD = 3
#: A reading below this share of what is believed of every network not read is one that the belief does not understand.
#: Of the class that it belongs to others may be faster, down to this share of the lowest reading.
STRANGE, CLASS = 0.5, 0.65
#: A budget below this share of the lowest reading, or a chance below this share of the doubt, is given up at once.
FAR, CLEAR = 0.8, 1 / 3
#: "Nothing fits" after the last reading: the chance may be so many times the doubt, since nothing more can be learned.
LAST = 2.0


class Belief(Protocol):
    """What is believed of the seconds of n candidates, given every reading so far."""

    @property
    def mean_s(self) -> Floats:
        """The central prediction of each candidate, in seconds [n]."""

    def probability_within(self, limit_s: float) -> Floats:
        """The probability that each candidate takes at most `limit_s` [n]."""


#: The belief after readings of candidates [k], in seconds [k], with the noise of one reading (log scale).
Adapt = Callable[[Indices, Floats, float], Belief]


@dataclass(frozen=True)
class Rules:
    """When the loop is content.

    `measurements`: readings it may take, beside those it is given. `confidence`: how sure it must be that the network
    it returns keeps the budget. `gain`: the expected gain, in the units of the accuracies, that is not worth a reading.
    `doubt`: a probability that is taken for none. `slack`: "nothing fits" is said only where a budget larger by this
    factor could not be kept either by what was not read, so that an error of the belief of that size cannot make it
    wrong; of what was read half of it. `noise`: standard deviation of the logarithm of a reading; None where it is not
    known. `step_s`: what the clock rounds to in seconds, 0 where it does not; None: as the readings look.
    """

    measurements: int = 10
    confidence: float = 0.95
    gain: float = 0.01
    doubt: float = 0.03
    slack: float = 1.05
    noise: float | None = None
    step_s: float | None = None

    def __post_init__(self) -> None:
        if self.measurements < 0:
            raise ValueError(f"the loop may take {self.measurements} readings; give 0 or more")
        if not 0.5 < self.confidence < 1:
            raise ValueError(f"a confidence of {self.confidence} says nothing; give one between 0.5 and 1")
        if self.gain < 0 or not 0 < self.doubt < 1 or self.slack < 1:
            raise ValueError("give a gain of at least 0, a doubt between 0 and 1 and a slack of at least 1")
        if self.noise is not None and not 0 <= self.noise < 1:
            raise ValueError(f"a noise of {self.noise} is no standard deviation of a logarithm; give one in [0, 1)")


@dataclass(frozen=True)
class Step:
    """What to do next: read candidate `index` (`found` is None), or stop with `found`.

    `index` is then the network that was found, None without one. `promise` is the largest expected gain of one more
    reading, or the probability that anything fits where nothing was found yet; `noise` what was taken for the noise.
    """

    found: Found | None
    index: int | None
    promise: float
    noise: float


@dataclass(frozen=True)
class Outcome:
    """Where the loop ended. `index`: the network, None without one; `seconds` [k] all readings, of `measured` [k]."""

    found: Found
    index: int | None
    promise: float
    measured: Indices = field(repr=False)
    seconds: Floats = field(repr=False)


def search(
    accuracy: Floats,
    limit_s: float,
    adapt: Adapt,
    measure: Callable[[int], float],
    measured: Sequence[int] | Indices,
    seconds: Sequence[float] | Floats,
    rules: Rules,
) -> Outcome:
    """The most accurate of n candidates that keeps `limit_s`, by few readings.

    `accuracy` [n]; `measured` [k] and `seconds` [k] are the readings that are there already, at least one; `measure`
    takes one more, in seconds. Raises ValueError for arrays that do not fit together and readings that are no times.
    """
    index, read = [int(i) for i in measured], [float(s) for s in seconds]
    _check(accuracy, limit_s, index, read)
    for left in range(rules.measurements, -1, -1):
        at, taken = np.array(index, np.intp), np.array(read)
        belief = adapt(at, taken, noise_of(at, taken, rules.noise))
        step = decide(accuracy, limit_s, belief, at, taken, left, rules)
        if step.found is not None:
            return Outcome(step.found, step.index, step.promise, at, taken)
        if step.index is None:
            break
        index.append(step.index)
        read.append(float(measure(step.index)))
        _check(accuracy, limit_s, index[-1:], read[-1:])
    raise AssertionError("a step reads something or ends the loop, and ends it when no reading is left")


def decide(
    accuracy: Floats, limit_s: float, belief: Belief, measured: Indices, seconds: Floats, left: int, rules: Rules
) -> Step:
    """The next step, from the belief given `measured` [k] and `seconds` [k], with `left` readings still allowed."""
    noise = noise_of(measured, seconds, rules.noise)
    step_s = rounding_step(seconds, measured) if rules.step_s is None else rules.step_s
    readings = Readings.of(measured, seconds, len(accuracy), noise, step_s)
    kept = readings.within(limit_s) >= rules.confidence
    if noise > 0:
        kept &= belief.probability_within(limit_s) >= rules.confidence
    proof = _proof(belief, readings, readings.reachable(limit_s), rules.confidence)
    if kept.any():
        best = _best(accuracy, kept, readings)
        gain = np.where(kept | (proof <= rules.doubt), 0.0, proof * np.maximum(accuracy - accuracy[best], 0.0))
        candidate = int(np.argmax(gain))
        promise = float(gain[candidate])
        if left <= 0 or promise <= rules.gain:
            return Step("network", best, promise, noise)
        return Step(None, candidate, promise, noise)
    return _without(accuracy, limit_s, belief, readings, proof, left, rules)


def _without(
    accuracy: Floats, limit_s: float, belief: Belief, readings: Readings, proof: Floats, left: int, rules: Rules
) -> Step:
    """The next step while no network is known to keep the budget."""
    wide_s, known = rules.slack * limit_s, readings.count > 0
    # The slack is for errors of the belief; of what was read only the noise is in doubt, and half of it will do.
    near = np.where(
        known, readings.within(math.sqrt(rules.slack) * limit_s), belief.probability_within(readings.reachable(wide_s))
    )
    expected = np.where(known, np.exp(readings.mean), belief.mean_s)
    chance, fastest, lowest = float(near.max()), int(np.argmin(expected)), float(expected[known].min(initial=np.inf))
    clear = wide_s <= FAR * lowest or chance <= CLEAR * rules.doubt
    doubt = rules.doubt if left > 0 else LAST * rules.doubt
    if (clear or left <= 0) and chance <= doubt and lowest <= rules.slack * expected[fastest]:
        return _nothing(accuracy, wide_s, expected, known, chance, left, readings.noise)
    if left <= 0:
        return Step("undecided", None, chance, readings.noise)
    if proof.max() > rules.doubt:
        # Any network is worth more than none by as much as the best is worth more than the worst.
        low, high = float(accuracy.min()), float(accuracy.max())
        worth = accuracy - low + max(high - low, 1e-9)
        return Step(None, int(np.argmax(proof * worth)), chance, readings.noise)
    if clear and not known[fastest]:
        return Step(None, fastest, chance, readings.noise)
    # Where what was read is in doubt it is read again; where it takes hardly more than the budget no reading helps.
    told = known & ((near <= rules.doubt) | (near >= 1 - rules.doubt))
    doubtful = int(np.argmax(np.where(told, -1.0, near)))
    if told[doubtful]:
        return Step("undecided", None, chance, readings.noise)
    return Step(None, doubtful, chance, readings.noise)


def _nothing(
    accuracy: Floats, wide_s: float, expected: Floats, known: NDArray[np.bool_], chance: float, left: int, noise: float
) -> Step:
    """ "Nothing fits", as far as the belief goes; it may be wrong about a whole class of networks.

    A runtime may drop what has no effect, and a network of which nothing is left takes a thousandth of what it should.
    Such networks are the least accurate ones, so one of these is read first. Where a reading is far below all that is
    believed of the others, more of them are read, and only a budget far below all readings is given up.
    """
    order = np.lexsort((expected, accuracy))
    unread, tried = order[~known[order]], known[accuracy <= accuracy.min()].any()
    lowest = float(expected[known].min())
    strange = len(unread) > 0 and lowest < STRANGE * float(expected[unread].min())
    if left > 0 and len(unread) and (strange or not tried):
        return Step(None, int(unread[0]), chance, noise)
    if strange and wide_s > CLASS * lowest:
        return Step("undecided", None, chance, noise)
    return Step("nothing fits", None, chance, noise)


@dataclass(frozen=True, eq=False)
class Readings:
    """The readings of each candidate [n]: how many, and the mean of their logarithms (NaN without one).

    `noise` is that of one reading, `step` what the clock rounds to, in seconds (0 = it does not).
    """

    count: NDArray[np.intp]
    mean: Floats
    noise: float
    step: float

    @staticmethod
    def of(measured: Indices, seconds: Floats, n: int, noise: float, step_s: float) -> Readings:
        """Readings `seconds` [k] of candidates `measured` [k] among n, by a clock that rounds to `step_s` (0: not)."""
        count = np.bincount(measured, minlength=n)
        total = np.bincount(measured, np.log(seconds), minlength=n)
        return Readings(count, np.where(count > 0, total / np.maximum(count, 1), np.nan), noise, step_s)

    def reachable(self, limit_s: float) -> float:
        """The seconds below which a network reads as at most `limit_s`: half a step of the clock more."""
        return (math.floor(limit_s / self.step + 1e-4) + 0.5) * self.step if self.step else limit_s

    def within(self, limit_s: float) -> Floats:
        """How sure the readings alone are that each candidate takes at most `limit_s` [n]; 0 without a reading."""
        over = self.mean - math.log(limit_s)
        if self.noise == 0:
            # The mean of equal logarithms may differ from theirs in the last digits.
            return np.where(over <= 1e-12, 1.0, 0.0)
        known = self.count > 0
        result = np.zeros(len(over))
        result[known] = _normal(-over[known] * np.sqrt(self.count[known]) / self.noise)
        return result


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


def _proof(belief: Belief, readings: Readings, limit_s: float, confidence: float) -> Floats:
    """The probability, per reading, that the next readings of each candidate prove that it keeps the budget [n].

    After m more readings the bound of the mean must be within the budget: it lies z noise / sqrt(readings) above it.
    """
    z, noise, known = NormalDist().inv_cdf(confidence), readings.noise, np.flatnonzero(readings.count)
    best = np.zeros(len(readings.count))
    for more in range(1, LOOK_AHEAD + 1 if noise > 0 else 2):
        chance = belief.probability_within(limit_s * math.exp(-z * noise / math.sqrt(more)))
        chance[known] = 0.0
        if noise > 0:
            count = readings.count[known]
            room = math.log(limit_s) - z * noise / np.sqrt(count + more) - readings.mean[known]
            chance[known] = _normal(room / (noise * np.sqrt(more / (count * (count + more)))))
        best = np.maximum(best, chance / more)
    return best


def _best(accuracy: Floats, kept: NDArray[np.bool_], readings: Readings) -> int:
    """The most accurate network that keeps the budget, the faster one of equals."""
    able = np.flatnonzero(kept)
    return int(able[np.lexsort((readings.mean[able], -accuracy[able]))[0]])


def _normal(z: Floats) -> Floats:
    """The normal distribution function."""
    from scipy.special import ndtr

    return np.asarray(ndtr(z), np.float64)


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
