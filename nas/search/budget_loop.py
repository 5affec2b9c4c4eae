"""A latency budget that holds: measure a few candidates, and return only one that was seen to keep it.

The loop knows arrays: the accuracy of each candidate, one budget, the readings, and a belief about the seconds of each
candidate given these. Each round measures the candidate with the largest expected gain in accuracy over the best that
is known to keep the budget (expected improvement under a constraint; Schonlau, Welch and Jones, 1998; Gardner et al.,
ICML 2014), adapts the belief, and stops when no reading promises enough. Accuracies are known, so the expectation is
over seconds alone.

Readings are multiplied by log-normal noise. A reading just within the budget is no proof: a network counts as keeping
it when readings and belief both say so with the chosen confidence, and a near-budget network may be read again.

`decide` is one round and keeps no state: whoever logs readings can stop anywhere and go on from the log.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from latency_models.base import Distribution

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
Found = Literal["network", "nothing fits", "undecided"]

#: A gain may need several readings of one network; more than this many are not looked ahead.
LOOK_AHEAD = 3
#: A reading below this share of what is believed of every network not read is one that the belief does not understand.
#: Of the class that it belongs to others may be faster, down to this share of the lowest reading.
SURPRISING_SHARE, CLASS_FASTEST_SHARE = 0.5, 0.65
#: A budget below this share of the lowest reading, or a chance below this share of the doubt, is given up at once.
HOPELESS_SHARE, NEGLIGIBLE_DOUBT_SHARE = 0.8, 1 / 3
#: "Nothing fits" after the last reading: the chance may be so many times the doubt, since nothing more can be learned.
LAST_READING_DOUBT_FACTOR = 2.0


@dataclass(frozen=True)
class Rules:
    """When the loop is content.

    `confidence`: how sure it must be that the network it returns keeps the budget. `gain`: the expected gain, in the
    units of the accuracies, that is not worth a reading; within `equal` accuracies are the same, and the faster network
    is taken. `doubt`: a probability that is taken for none. `slack`:
    "nothing fits" is said only where a budget larger by this factor could not be kept either by what was not read, so
    that an error of the belief of that size cannot make it wrong; of what was read half of it.
    """

    confidence: float = 0.95
    gain: float = 0.01
    doubt: float = 0.03
    slack: float = 1.05
    equal: float = 0.0

    def __post_init__(self) -> None:
        if not 0.5 < self.confidence < 1:
            raise ValueError(f"a confidence of {self.confidence} says nothing; give one between 0.5 and 1")
        if min(self.gain, self.equal) < 0 or not 0 < self.doubt < 1 or self.slack < 1:
            raise ValueError("give a gain of at least 0, a doubt between 0 and 1 and a slack of at least 1")


@dataclass(frozen=True)
class Step:
    """What to do next: read candidate `index` (`found` is None), or stop with `found`.

    `index` is then the network that was found, None without one. `promise` is the largest expected gain of one more
    reading, or the probability that anything fits where nothing was found yet.
    """

    found: Found | None
    index: int | None
    promise: float


def decide(accuracy: Floats, limit_s: float, belief: Distribution, readings: Observed, left: int, rules: Rules) -> Step:
    """The next step for candidates of `accuracy` [n], with `left` readings still allowed.

    `belief` is what is believed of each given the readings.
    """
    kept = readings.within(limit_s) >= rules.confidence
    if readings.noise > 0:
        kept &= belief.probability_within(limit_s) >= rules.confidence
    if kept.any():
        best = _best(accuracy, kept, readings, rules.equal)
        proof = _proof(belief, readings, readings.reachable(limit_s), rules.confidence)
        gain = np.where(kept | (proof <= rules.doubt), 0.0, proof * np.maximum(accuracy - accuracy[best], 0.0))
        candidate = int(np.argmax(gain))
        promise = float(gain[candidate])
        if left <= 0 or promise <= rules.gain:
            return Step("network", best, promise)
        return Step(None, candidate, promise)
    return _without(accuracy, limit_s, belief, readings, left, rules)


def _without(
    accuracy: Floats, limit_s: float, belief: Distribution, readings: Observed, left: int, rules: Rules
) -> Step:
    """The next step while no network is known to keep the budget."""
    wide_s, known = rules.slack * limit_s, readings.count > 0
    # The slack is for errors of the belief; of what was read only the noise is in doubt, and half of it will do.
    near = np.where(
        known, readings.within(math.sqrt(rules.slack) * limit_s), belief.probability_within(readings.reachable(wide_s))
    )
    expected = np.where(known, np.exp(readings.mean), belief.mean_s)
    chance, fastest, lowest = float(near.max()), int(np.argmin(expected)), float(expected[known].min(initial=np.inf))
    clear = wide_s <= HOPELESS_SHARE * lowest or chance <= NEGLIGIBLE_DOUBT_SHARE * rules.doubt
    doubt = rules.doubt if left > 0 else LAST_READING_DOUBT_FACTOR * rules.doubt
    if (clear or left <= 0) and chance <= doubt and lowest <= rules.slack * expected[fastest]:
        return _nothing(accuracy, wide_s, expected, known, chance, left)
    if left <= 0:
        return Step("undecided", None, chance)
    proof = _proof(belief, readings, readings.reachable(limit_s), rules.confidence)
    if proof.max() > rules.doubt:
        # Any network is worth more than none by as much as the best is worth more than the worst.
        low, high = float(accuracy.min()), float(accuracy.max())
        worth = accuracy - low + max(high - low, 1e-9)
        return Step(None, int(np.argmax(proof * worth)), chance)
    if clear and not known[fastest]:
        return Step(None, fastest, chance)
    # Where what was read is in doubt it is read again; where it takes hardly more than the budget no reading helps.
    told = known & ((near <= rules.doubt) | (near >= 1 - rules.doubt))
    doubtful = int(np.argmax(np.where(told, -1.0, near)))
    if told[doubtful]:
        return Step("undecided", None, chance)
    return Step(None, doubtful, chance)


def _nothing(
    accuracy: Floats, wide_s: float, expected: Floats, known: NDArray[np.bool_], chance: float, left: int
) -> Step:
    """ "Nothing fits", as far as the belief goes; it may be wrong about a whole class of networks.

    A runtime may drop what has no effect, and a network of which nothing is left takes a thousandth of what it should.
    Such networks are the least accurate ones, so one of these is read first. Where a reading is far below all that is
    believed of the others, more of them are read, and only a budget far below all readings is given up.
    """
    order = np.lexsort((expected, accuracy))
    unread, tried = order[~known[order]], known[accuracy <= accuracy.min()].any()
    lowest = float(expected[known].min())
    strange = len(unread) > 0 and lowest < SURPRISING_SHARE * float(expected[unread].min())
    if left > 0 and len(unread) and (strange or not tried):
        return Step(None, int(unread[0]), chance)
    if strange and wide_s > CLASS_FASTEST_SHARE * lowest:
        return Step("undecided", None, chance)
    return Step("nothing fits", None, chance)


@dataclass(frozen=True, eq=False)
class Observed:
    """The readings of each candidate [n]: how many, and the mean of their logarithms (NaN without one).

    `noise` is the standard deviation of the logarithm of one reading, `step_s` what the clock rounds to, in seconds;
    0 means neither.
    """

    count: NDArray[np.intp]
    mean: Floats
    noise: float
    step_s: float

    @staticmethod
    def of(measured: Indices, seconds: Floats, n: int, noise: float = 0.0, step_s: float = 0.0) -> Observed:
        """Readings `seconds` [k] of candidates `measured` [k] among n."""
        count = np.bincount(measured, minlength=n)
        total = np.bincount(measured, np.log(seconds), minlength=n)
        return Observed(count, np.where(count > 0, total / np.maximum(count, 1), np.nan), noise, step_s)

    def reachable(self, limit_s: float) -> float:
        """The seconds below which a network reads as at most `limit_s`: half a step of the clock more."""
        return (math.floor(limit_s / self.step_s + 1e-4) + 0.5) * self.step_s if self.step_s else limit_s

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


def _proof(belief: Distribution, readings: Observed, limit_s: float, confidence: float) -> Floats:
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


def _best(accuracy: Floats, kept: NDArray[np.bool_], readings: Observed, equal: float) -> int:
    """The most accurate network that keeps the budget, the faster one of equals."""
    able = np.flatnonzero(kept)
    able = able[accuracy[able] >= accuracy[able].max() - equal]
    return int(able[np.lexsort((-accuracy[able], readings.mean[able]))[0]])


def _normal(z: Floats) -> Floats:
    """The normal distribution function."""
    from scipy.special import ndtr

    return np.asarray(ndtr(z), np.float64)
