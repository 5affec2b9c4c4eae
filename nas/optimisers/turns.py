"""Architecture searches in turns with the training of the weights that they share.

The weights learn from training images and the architecture from images of its own, step by step (Liu et al. 2019,
arXiv 1806.09055; LightNAS, arXiv 2208.14446): the searches say which networks the weights should serve, and see weights
that do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from jax import Array
from numpy.typing import NDArray

from nas.optimisers.base import Cost, Floats, Ints, Loss, Problem, Steps
from nas.optimisers.sampled import SampledNetworks
from nas.run.optimiser import BALANCED

#: What is stored of a search beside its own arrays.
RATES: Final = "exit_rates"
Stored = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class BudgetSearch:
    """A search for one budget; `exit_rates` are those of its loss and its cost, empty for the last exit alone."""

    problem: Problem
    loss: Loss
    cost: Cost
    limit_s: float
    exit_rates: tuple[float, ...]
    steps: Steps

    def step(self, step: int) -> float:
        """Sample, evaluate, learn; the loss."""
        genome = self.steps.sample(step)
        feedback = self.loss(genome, step)
        self.steps.update(genome, step, feedback)
        return feedback.loss


#: From weights by name and what is stored: the networks that all searches look at, and the searches by their number.
Begin = Callable[[Mapping[str, NDArray[np.float32]], Stored], tuple[SampledNetworks, Mapping[int, BudgetSearch]]]


class Turns:
    """Searches in turns with a training of `steps` steps, during the last `share` of it; they `begin` at the first."""

    def __init__(self, steps: int, share: float, begin: Begin) -> None:
        self._steps, self._begin = steps, begin
        self.first = round(steps * (1 - share))
        self._begun: tuple[SampledNetworks, Mapping[int, BudgetSearch]] | None = None
        self._stored: Stored = {}
        #: Seconds that the searches have taken.
        self.spent_s = 0.0

    def restore(self, stored: Stored, params: Mapping[str, Array]) -> None:
        """Go on from a `state`, with the weights that the training had then."""
        self._stored = dict(stored)
        if stored:
            self._searches(params)

    def after(self, params: Mapping[str, Array], step: int) -> None:
        """What is due after a step of the training, from 0, with the weights that it has reached."""
        if step < self.first:
            return
        begun_s = time.perf_counter()
        for search in self._searches(params).values():
            for own in range(*(self._due(search, turn) for turn in (step, step + 1))):
                search.step(own)
        self.spent_s += time.perf_counter() - begun_s

    def sample(self, step: int) -> Ints | None:
        """A network [genes] that the searches, one after the other, want trained at a step; None before they begin."""
        if self._begun is None or not self._begun[1]:
            return None
        searches = list(self._begun[1].values())
        search = searches[step % len(searches)]
        # It has numbers of its own, so that the search looks at other networks than those that are trained for it.
        return search.steps.sample(search.steps.steps + step)

    def state(self) -> dict[str, Floats]:
        """All searches under way, for `restore`; empty before they begin."""
        if self._begun is None:
            return dict(self._stored)
        found: dict[str, Floats] = {}
        networks, searches = self._begun
        for number, search in searches.items():
            found |= {f"{number}/{name}": value for name, value in search.steps.state().items()}
            found[f"{number}/{RATES}"] = np.array(search.exit_rates, np.float64)
            found[f"{number}/{BALANCED}"] = np.array([networks.counted is not None], np.float64)
        return found

    @property
    def searches(self) -> Mapping[int, BudgetSearch]:
        """The searches by their number; empty before they begin."""
        return {} if self._begun is None else self._begun[1]

    def _due(self, search: BudgetSearch, step: int) -> int:
        """How many steps of a search come before a step of the training."""
        return (step - self.first) * search.steps.steps // max(self._steps - self.first, 1)

    def _searches(self, params: Mapping[str, Array]) -> Mapping[int, BudgetSearch]:
        if self._begun is None:
            weights = {name: np.asarray(value) for name, value in params.items()}
            self._begun = self._begin(weights, self._stored)
        networks, searches = self._begun
        networks.params = dict(params)
        return searches


def stored_of(stored: Stored, number: int) -> tuple[tuple[float, ...], dict[str, Floats]] | None:
    """The exit rates and the own state of a search in a `state`; None where it has none of that number."""
    if f"{number}/{RATES}" not in stored:
        return None
    own = {name.partition("/")[2]: value for name, value in stored.items() if name.startswith(f"{number}/")}
    own.pop(BALANCED, None)
    return tuple(own.pop(RATES).tolist()), own
