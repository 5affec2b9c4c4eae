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

    def estimate(self, guide: Floats | None = None) -> Floats:
        """The latest solution.

        With a `guide` [genes, options] effects are a multiple of it, fitted to the losses too, plus what losses say
        besides; no observation is assumed against that multiple.
        """
        if self.count >= self._solved + self.EVERY:
            if self.count:
                self._solution = self._solved_for(guide)
            self._solved = self.count
        return self._solution

    def _solved_for(self, guide: Floats | None) -> Floats:
        prior = np.full(self.sums.size, float(self.count))
        # The mean loss has no prior, or the estimate would depend on where the loss has its zero.
        prior[-1] = 0.0
        products = self.products + np.diag(prior)
        if guide is None:
            solved = np.linalg.solve(products, self.sums)
        else:
            direction = np.append(guide.ravel(), 0.0)
            along, length = self.products @ direction, math.sqrt(float(direction @ self.products @ direction))
            if not length:
                return self._solved_for(None)
            # In units of its own length, so that the equations have one scale.
            along, direction = along / length, direction / length
            rows = np.block([[products, along[:, None]], [along[None], np.ones((1, 1))]])
            found = np.linalg.solve(rows, np.append(self.sums, direction @ self.sums))
            solved = found[:-1] + found[-1] * direction
        return np.asarray(solved[:-1], np.float64).reshape(self.shape)

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
    """A regression of losses in which gradients say what losses leave open."""

    def __init__(self, legal: Bools) -> None:
        self.gates, self.losses = GateMeans(legal), LossRegression(legal)
        self._legal = legal

    def observe(self, genome: Ints, used: Bools, feedback: Feedback) -> None:
        """Hear of a genome with its loss and its gradient; raises ValueError without."""
        self.gates.observe(genome, used, feedback)
        self.losses.observe(genome, used, feedback)

    def estimate(self) -> Floats:
        """The effect of each choice on the loss [genes, options]."""
        means = self.gates.estimate()
        # Only differences within a gene mean anything; what all options share would be the effect of the gene's use.
        centred = means - (means * self._legal).sum(1, keepdims=True) / self._legal.sum(1, keepdims=True)
        return self.losses.estimate(np.where(self._legal, centred, 0.0))

    def state(self) -> dict[str, Floats]:
        """All that has been learned, for `restore`."""
        parts = {"gates": self.gates, "losses": self.losses}
        return {f"{name}/{key}": value for name, part in parts.items() for key, value in part.state().items()}

    def restore(self, state: Mapping[str, Floats]) -> None:
        """Go on from a `state`."""
        for name, part in (("gates", self.gates), ("losses", self.losses)):
            part.restore({key.partition("/")[2]: v for key, v in state.items() if key.startswith(f"{name}/")})
