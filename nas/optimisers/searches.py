"""The architecture searches of a run: for every budget its losses, its costs and its limit, after training or in turns.

In turns means that the weights learn from training images and the architecture from images of its own, step by step
(Liu et al. 2019, arXiv 1806.09055; LightNAS, arXiv 2208.14446): the search then says which networks the weights should
serve, and sees weights that do.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from jax import Array
from numpy.typing import NDArray

from nas.errors import NothingFits
from nas.nn.batches import TrainingSet
from nas.optimisers.base import ArchitectureOptimiser, ByGradients, Cost, Floats, Ints, Loss, Steps
from nas.optimisers.exit_shares import Exitless, exit_rates_of, loss_and_cost
from nas.optimisers.gated import GatedNetworks
from nas.optimisers.sampled import SampledNetworks
from nas.run.context import Context
from nas.run.training import training_set
from nas.search.problem import BudgetProblem

#: What seeds of searches derive from.
_SEED: Final = "optimiser"
#: Images of one step, as far as there are so many.
_BATCH: Final = 128
_RATES: Final = "exit_rates"


@dataclass(frozen=True, eq=False)
class BudgetSearch:
    """A search for one budget; `exit_rates` are those of its loss and its cost, empty for the last exit alone."""

    number: int
    problem: BudgetProblem
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


@dataclass(eq=False)
class Networks:
    """The networks that searches look at, by the weights that they have at the moment."""

    sampled: SampledNetworks
    gated: GatedNetworks | None

    @staticmethod
    def of(context: Context, optimiser: ArchitectureOptimiser, weights: Mapping[str, NDArray[np.float32]]) -> Networks:
        """On images kept for architecture, with gates for an optimiser that learns from them."""
        data: TrainingSet = training_set(context, False, "arch")
        seed = context.seed(_SEED, "images")
        sampled = SampledNetworks(context.space, weights, data, min(_BATCH, len(data)), seed)
        return Networks(sampled, GatedNetworks(sampled) if isinstance(optimiser, ByGradients) else None)


def begin(
    context: Context,
    problem: BudgetProblem,
    number: int,
    optimiser: ArchitectureOptimiser,
    networks: Networks,
    exit_rates: tuple[float, ...] | None = None,
) -> BudgetSearch:
    """A search for the budget of a number; `exit_rates` are found where they are not given. Raises NothingFits."""
    budget = problem.experiment.budgets[number]
    problem = replace(problem, seed=context.seed(_SEED, budget.name))
    limit_s = problem.effective_budget_s(budget)
    if exit_rates is None:
        exit_rates = exit_rates_of(problem, number, networks.sampled)
    loss, cost = loss_and_cost(problem, number, networks.sampled, networks.gated, exit_rates)
    problem = problem if exit_rates else Exitless.of(problem)
    return BudgetSearch(number, problem, loss, cost, limit_s, exit_rates, optimiser.begin(problem, cost, limit_s))


class Turns:
    """Searches for all budgets in turns with a training of `steps` steps, during the optimiser's share of it."""

    def __init__(self, context: Context, problem: BudgetProblem, optimiser: ByGradients, steps: int) -> None:
        self._context, self._problem, self._optimiser, self._steps = context, problem, optimiser, steps
        self.first = round(steps * (1 - optimiser.share))
        self._networks: Networks | None = None
        self._searches: dict[int, BudgetSearch] | None = None
        self._stored: dict[str, NDArray[np.float64]] = {}
        #: Seconds that the searches have taken.
        self.spent_s = 0.0

    def restore(self, stored: Mapping[str, NDArray[np.float64]], params: Mapping[str, Array]) -> None:
        """Go on from a `state`, with the weights that the training had then."""
        self._stored = dict(stored)
        if stored:
            self._begun(params)

    def after(self, params: Mapping[str, Array], step: int) -> None:
        """What is due after a step of the training, from 0, with the weights that it has reached."""
        if step < self.first:
            return
        begun_s = time.perf_counter()
        for search in self._begun(params).values():
            for own in range(*(self._due(search, turn) for turn in (step, step + 1))):
                search.step(own)
        self.spent_s += time.perf_counter() - begun_s

    def sample(self, step: int) -> Ints | None:
        """A network [genes] that the searches want trained at a step: of one budget after the other; None before."""
        if not self._searches:
            return None
        searches = list(self._searches.values())
        search = searches[step % len(searches)]
        # It has numbers of its own, so that the search looks at other networks than those that are trained for it.
        return search.steps.sample(search.steps.steps + step)

    def state(self) -> dict[str, Floats]:
        """All searches under way, for `restore`; empty before they begin."""
        if self._searches is None:
            return dict(self._stored)
        found: dict[str, Floats] = {}
        for number, search in self._searches.items():
            found |= {f"{number}/{name}": value for name, value in search.steps.state().items()}
            found[f"{number}/{_RATES}"] = np.array(search.exit_rates, np.float64)
        return found

    def _due(self, search: BudgetSearch, step: int) -> int:
        """How many steps of a search come before a step of the training."""
        return (step - self.first) * search.steps.steps // max(self._steps - self.first, 1)

    def _begun(self, params: Mapping[str, Array]) -> dict[int, BudgetSearch]:
        if self._networks is None:
            weights = {name: np.asarray(value) for name, value in params.items()}
            self._networks = Networks.of(self._context, self._optimiser, weights)
        self._networks.sampled.params = dict(params)
        if self._searches is None:
            self._searches = {}
            for number in range(len(self._context.experiment.budgets)):
                try:
                    found = resumed(self._context, self._problem, number, self._optimiser, self._networks, self._stored)
                except NothingFits:
                    # Whoever derives the networks says so.
                    continue
                self._searches[number] = found
        return self._searches


def in_turns(stored: Mapping[str, NDArray[np.float64]], number: int) -> bool:
    """Whether a `state` of `Turns` has the search for the budget of a number."""
    return f"{number}/{_RATES}" in stored


def resumed(
    context: Context,
    problem: BudgetProblem,
    number: int,
    optimiser: ArchitectureOptimiser,
    networks: Networks,
    stored: Mapping[str, NDArray[np.float64]],
) -> BudgetSearch:
    """The search of a budget as a `state` of `Turns` has it, or from its beginning; raises NothingFits."""
    if not in_turns(stored, number):
        return begin(context, problem, number, optimiser, networks)
    own = {name.partition("/")[2]: value for name, value in stored.items() if name.startswith(f"{number}/")}
    rates = tuple(own.pop(_RATES).tolist())
    search = begin(context, problem, number, optimiser, networks, rates)
    search.steps.restore(own)
    return search
