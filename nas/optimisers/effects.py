"""What each choice does to a loss, learned from single sampled networks: the natural gradient of the expected loss.

For a softmax per gene and a loss that choices enter independently, the natural gradient by the logits is the mean loss
given each choice, up to a constant per gene (Kakade 2001, "A natural policy gradient", theorem 1: the least-squares fit
of the loss by the choices). The plain straight-through gradient carries a choice's probability twice where only the
sampled operator runs, and so favours what is already likely; this doesn't. There are two ways to estimate it. The
gradient of a gate is precise, since it compares options within one network and batch, and biased, since it is the
slope at the network and not the step to the other one. The loss alone is neither. `Guided` takes both: losses decide,
and what they leave open follows the gradients. Later observations weigh more, in proportion to their number:
what was learned while the weights were young fades, at 4/3 of the variance of a plain mean.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol

import numpy as np

from nas.optimisers.base import Bools, Feedback, Floats, Ints


class Effects(Protocol):
    """Estimates the effect of each choice [genes, options] on a loss; only differences within a gene mean anything."""

    def observe(self, genome: Ints, used: Bools, feedback: Feedback) -> None:
        """Hear of a genome [genes], in which the genes that are not `used` [genes] had no effect."""
        ...

    def estimate(self) -> Floats:
        """The effect of each choice on the loss [genes, options]; 0 where nothing is known."""
        ...

    def state(self) -> dict[str, Floats]:
        """All that has been learned, for `restore`."""
        ...

    def restore(self, state: Mapping[str, Floats]) -> None:
        """Go on from a `state`."""
        ...


class GateMeans:
    """The mean gradient of each choice over the genomes that showed it.

    Where all options of a gene are seen at once they are compared within the same network and batch, which is what
    makes gradients say more than losses.
    """

    def __init__(self, legal: Bools) -> None:
        self.legal = legal
        self.count = np.zeros(legal.shape)
        self.mean = np.zeros(legal.shape)

    def observe(self, genome: Ints, used: Bools, feedback: Feedback) -> None:
        """Hear of a genome with its gradient; raises ValueError without."""
        if feedback.gradient is None or feedback.seen is None:
            raise ValueError("this loss gave a gradient before and gives none now; give it always or never")
        seen = feedback.seen & self.legal & used[:, None]
        self.count += seen
        step = 2 / (self.count + 1) * (feedback.gradient - self.mean)
        self.mean += np.where(seen, step, 0.0)

    def estimate(self) -> Floats:
        """A choice that no genome took counts as the mean of its gene's others."""
        seen = self.count > 0
        known = np.where(seen, self.mean, 0.0).sum(axis=1, keepdims=True) / np.maximum(seen.sum(1, keepdims=True), 1)
        return np.where(seen, self.mean, known)

    def state(self) -> dict[str, Floats]:
        """All that has been learned, for `restore`."""
        return {"count": self.count.copy(), "mean": self.mean.copy()}

    def restore(self, state: Mapping[str, Floats]) -> None:
        """Go on from a `state`."""
        self.count, self.mean = state["count"].copy(), state["mean"].copy()


class LossRegression:
    """Least squares of the loss by one indicator per choice; serves choices of any kind, and costs that don't add up.

    Every choice starts with one observation of no effect, which keeps the fit defined and has no unit.
    """

    #: Observations between two solutions: each takes a step's loss for granted, which is much dearer.
    EVERY = 8

    def __init__(self, legal: Bools) -> None:
        self.shape = legal.shape
        self.count = 0
        size = legal.size + 1
        self.products = np.zeros((size, size))
        self.sums: Floats = np.zeros((size,))
        self._solved = -self.EVERY
        self._solution: Floats = np.zeros(self.shape)

    def observe(self, genome: Ints, used: Bools, feedback: Feedback) -> None:
        """Hear of a genome with its loss."""
        self.count += 1
        genes = np.flatnonzero(used)
        ones = np.append(genes * self.shape[1] + genome[genes], self.sums.size - 1)
        self.products[np.ix_(ones, ones)] += self.count
        self.sums[ones] += self.count * feedback.loss

    def estimate(self) -> Floats:
        """The latest solution."""
        if self.count >= self._solved + self.EVERY:
            prior = np.full(self.sums.size, float(self.count))
            # The mean loss has no prior, or the estimate would depend on where the loss has its zero.
            prior[-1] = 0.0
            if self.count:
                solved = np.asarray(np.linalg.solve(self.products + np.diag(prior), self.sums), np.float64)
                self._solution = solved[:-1].reshape(self.shape)
            self._solved = self.count
        return self._solution

    def state(self) -> dict[str, Floats]:
        """All that has been learned, for `restore`."""
        counts = np.array([self.count, self._solved], np.float64)
        return {
            "counts": counts,
            "products": self.products.copy(),
            "sums": self.sums.copy(),
            "solution": self._solution,
        }

    def restore(self, state: Mapping[str, Floats]) -> None:
        """Go on from a `state`."""
        self.count, self._solved = (int(number) for number in state["counts"])
        self.products, self.sums = state["products"].copy(), state["sums"].copy()
        self._solution = state["solution"]


class Guided:
    """A regression of losses on choices and on what gradients foretell: gradients say what losses leave open.

    Effects are a multiple of the gradients' and corrections of them. With how many observations of no correction each
    choice begins follows from the losses themselves, by the marginal likelihoods of linear models, which are averaged
    by these (MacKay 1992, "Bayesian interpolation"): many where gradients foretell losses, few where they do not. The
    multiple begins at 1, which is what a slope promises, or at 0, where it promises nothing.
    """

    #: Observations between two solutions, at first; later a share of those that there were at the last.
    EVERY, SHARE = LossRegression.EVERY, 0.02
    #: Observations of no correction; the multiple begins with one of being what it begins at.
    PRIORS = (0.5, 2.0, 8.0, 32.0, 128.0, 512.0, 2048.0)

    def __init__(self, legal: Bools) -> None:
        self._legal = legal
        self.gates = GateMeans(legal)
        self.count = 0
        size = legal.size + 1
        #: Of indicators, a one and the loss, [size + 1, size + 1]: weighted sums of products.
        self.products = np.zeros((size + 1, size + 1))
        self._solved = -self.EVERY
        self._solution: Floats = np.zeros(legal.shape)

    def observe(self, genome: Ints, used: Bools, feedback: Feedback) -> None:
        """Hear of a genome with its loss and its gradient; raises ValueError without."""
        self.gates.observe(genome, used, feedback)
        self.count += 1
        row = np.zeros(len(self.products))
        genes = np.flatnonzero(used)
        row[genes * self._legal.shape[1] + genome[genes]] = 1.0
        row[-2:] = 1.0, feedback.loss
        there = np.flatnonzero(row)
        self.products[np.ix_(there, there)] += self.count * np.outer(row[there], row[there])

    def estimate(self) -> Floats:
        """The latest solution: the effect of each choice on the loss [genes, options]."""
        if self.count >= self._solved + max(self.EVERY, round(self.SHARE * self._solved)):
            if self.count:
                self._solution = self._solve()
            self._solved = self.count
        return self._solution

    def _solve(self) -> Floats:
        means = self.gates.estimate()
        # Only differences within a gene mean anything; what its options share would be the effect of its being used.
        centred = means - (means * self._legal).sum(1, keepdims=True) / self._legal.sum(1, keepdims=True)
        guide = np.append(np.where(self._legal, centred, 0.0).ravel(), 0.0)
        weighed = self.products / self.count
        inner, sums, squares = weighed[:-1, :-1], weighed[:-1, -1], float(weighed[-1, -1])
        number = inner[-1, -1]
        # One more column: what gradients foretell, less its mean and in units of its spread, whatever the loss's unit.
        foretold = inner @ guide
        mean = float(foretold[-1]) / number
        square = float(guide @ foretold) / number
        # Where they foretell the same of all, rounding errors are left, of which no multiple says anything.
        varies = square - mean**2 > 1e-12 * square
        spread = math.sqrt(square - mean**2) if varies else 1.0
        column = (foretold - mean * inner[:, -1]) / spread * varies
        rows = np.block([[inner, column[:, None]], [column[None], np.array([[float(guide @ column) / spread]])]])
        evidence, effects = [], []
        for multiple in (1.0, 0.0):
            # Explained is the loss less this multiple of what they foretell, so that it has the coefficient 0.
            left = sums - multiple * foretold
            right = np.append(left, (float(guide @ left) - mean * float(left[-1])) / spread * varies)
            rest = squares + multiple**2 * float(guide @ foretold) - 2 * multiple * float(guide @ sums)
            for prior in self.PRIORS:
                observed = np.append(np.full(len(guide) - 1, prior), (0.0, 1.0))
                likelihood, found = _fit(rows, right, rest, number, observed)
                evidence.append(likelihood)
                effects.append(found[:-2] + (multiple + found[-1] / spread) * guide[:-1])
        likely = np.exp(np.array(evidence) - max(evidence))
        averaged = (likely / likely.sum()) @ np.array(effects)
        return np.asarray(averaged, np.float64).reshape(self._legal.shape)

    def state(self) -> dict[str, Floats]:
        """All that has been learned, for `restore`."""
        counts = np.array([self.count, self._solved], np.float64)
        own = {"counts": counts, "products": self.products.copy(), "solution": self._solution}
        return own | {f"gates/{name}": value for name, value in self.gates.state().items()}

    def restore(self, state: Mapping[str, Floats]) -> None:
        """Go on from a `state`."""
        self.count, self._solved = (int(number) for number in state["counts"])
        self.products, self._solution = state["products"].copy(), state["solution"]
        self.gates.restore({name: state[f"gates/{name}"] for name in self.gates.state()})


def _fit(rows: Floats, right: Floats, squares: float, number: float, prior: Floats) -> tuple[float, Floats]:
    """The log marginal likelihood of a linear model up to a constant, and its coefficients.

    `rows` and `right` are the normal equations, `squares` the sum of squares of what is explained, `number` how many
    observations these are; `prior` observations of zero belong to each coefficient, none to the constant.
    """
    matrix = rows + np.diag(prior)
    solved = np.linalg.solve(matrix, right)
    left = max(squares - float(right @ solved), 1e-12 * max(squares, 1e-300))
    _, volume = np.linalg.slogdet(matrix)
    evidence = -0.5 * (number * math.log(left / number) + volume - np.log(prior[prior > 0]).sum())
    return float(evidence), np.asarray(solved, np.float64)
