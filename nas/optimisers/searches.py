"""The architecture searches of a run: for every budget its losses, its costs and its limit."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nas.errors import NothingFits
from nas.nn.batches import TrainingSet
from nas.optimisers.base import BATCH, ArchitectureOptimiser, ByGradients
from nas.optimisers.exit_shares import Exitless, exit_rates_of, loss_and_cost
from nas.optimisers.gated import GatedNetworks
from nas.optimisers.sampled import SampledNetworks
from nas.optimisers.turns import BudgetSearch, Stored, Turns, stored_of
from nas.run.context import Context
from nas.run.training import training_set
from nas.search.problem import BudgetProblem

#: What seeds of searches derive from.
_SEED: Final = "optimiser"


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
        balanced = context.experiment.search.balanced
        sampled = SampledNetworks(context.space, weights, data, min(BATCH, len(data)), seed, balanced)
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
    return BudgetSearch(problem, loss, cost, limit_s, exit_rates, optimiser.begin(problem, cost, limit_s))


def turns(context: Context, problem: BudgetProblem, optimiser: ByGradients, steps: int) -> Turns:
    """The searches for all budgets that can be kept, in turns with a training of the run's weights of so many steps."""

    def opened(
        weights: Mapping[str, NDArray[np.float32]], stored: Stored
    ) -> tuple[SampledNetworks, Mapping[int, BudgetSearch]]:
        networks, found = Networks.of(context, optimiser, weights), {}
        for number in range(len(context.experiment.budgets)):
            if stored and stored_of(stored, number) is None:
                # It could not be kept when turns began, and has missed some since: it has its own search later.
                continue
            # Whoever derives the networks says what cannot be kept.
            with suppress(NothingFits):
                found[number] = resumed(context, problem, number, optimiser, networks, stored)
        return networks.sampled, found

    return Turns(steps, optimiser.share, opened)


def resumed(
    context: Context,
    problem: BudgetProblem,
    number: int,
    optimiser: ArchitectureOptimiser,
    networks: Networks,
    stored: Stored,
) -> BudgetSearch:
    """The search of a budget as a `state` of `Turns` has it, or from its beginning; raises NothingFits."""
    known = stored_of(stored, number)
    if known is None:
        return begin(context, problem, number, optimiser, networks)
    exit_rates, own = known
    search = begin(context, problem, number, optimiser, networks, exit_rates)
    search.steps.restore(own)
    return search
