"""Exits in a differentiable search: the loss and the cost of a budget, and how many samples leave where.

In the worst case exits only cost time, so networks have none; nor have they for a percentile, where nearly all leave at
one exit, which might as well be the last. For a mean, fixed shares of the arriving samples leave.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

from latency_models.additive import Additive, Tables
from nas.errors import InputError
from nas.exits.base import ExitPolicy
from nas.exits.scores import scores
from nas.exits.thresholds import Policies
from nas.optimisers.base import Bools, Cost, Floats, Ints
from nas.optimisers.cost import of_tables
from nas.optimisers.exits_cost import ExpectedExits
from nas.optimisers.gated import GatedLoss, GatedNetworks
from nas.optimisers.sampled import SampledLoss, SampledNetworks
from nas.search.problem import BudgetProblem
from search_spaces.slots import Genomes, SearchSpace, random_genomes, with_exits

#: Networks, and batches for each, from which the shares that leave at exits are known.
_SHARES_FROM: Final = 12
_SHARE_BATCHES: Final = 4
#: No exit sends everything away: what is behind it must keep some weight.
_MOST_LEAVE: Final = 0.95


@dataclass(frozen=True)
class Exitless(BudgetProblem):
    """A problem whose networks have no early exits: in the worst case they only cost time."""

    off: tuple[tuple[int, int], ...] = ()

    @staticmethod
    def of(problem: BudgetProblem) -> Exitless:
        """The same problem with every early exit switched off."""
        parts = {field.name: getattr(problem, field.name) for field in fields(problem)}
        off = {site.gene: site.off for site in problem.space.exit_sites if site.gene is not None}
        return Exitless(**parts, off=tuple(off.items()))

    def canonical(self, genomes: Genomes) -> Genomes:
        """Genomes [n, genes] without early exits, and with genes that have no effect set to 0."""
        bare = np.array(genomes)
        for gene, value in self.off:
            bare[:, gene] = value
        return super().canonical(bare)

    def active(self, genomes: Genomes) -> NDArray[np.bool_]:
        """Whether each gene of canonical genomes [n, genes] has an effect there; none that switches an exit has."""
        result = np.array(super().active(genomes))
        result[:, [gene for gene, _ in self.off]] = False
        return result


def _without_exits(tables: Tables) -> Tables:
    """The tables without the slots of early exits."""
    kept = [number for number, slot in enumerate(tables.slots) if slot.role != "exit"]
    return Tables(
        tuple(tables.slots[number] for number in kept),
        tuple(tables.values[number] for number in kept),
        tuple(tables.present[number] for number in kept),
    )


def exit_rates_of(problem: BudgetProblem, number: int, networks: SampledNetworks) -> tuple[float, ...]:
    """The share of the arriving samples that a budget lets leave at each early exit [positions - 1].

    Empty where exits would only cost time: in the worst case, and for a mean where nobody leaves early.
    """
    if not problem.experiment.budgets[number].needs_thresholds:
        return ()
    exit_rates = leaving(problem, number, networks)
    return exit_rates if any(exit_rates) else ()


def loss_and_cost(
    problem: BudgetProblem,
    number: int,
    networks: SampledNetworks,
    gated: GatedNetworks | None,
    exit_rates: tuple[float, ...],
) -> tuple[SampledLoss | GatedLoss, Cost]:
    """The loss and the seconds of a budget: of the cascade with these `exit_rates`, of the last exit alone without.

    Where networks are `gated`, the loss comes with its gradient.
    """
    budget = problem.experiment.budgets[number]
    tables = problem.additive(problem.experiment.target_of(budget))

    def present(genome: Ints) -> Bools:
        there: Bools = ~np.isnan(tables.cumulative_s(genome[None])[0])
        return there

    if not exit_rates:
        bare = Exitless.of(problem)
        loss = SampledLoss(networks, present) if gated is None else GatedLoss(gated, bare)
        return loss, of_tables(_without_exits(tables.seconds))
    try:
        cost = ExpectedExits(tables.seconds, problem.space.exit_sites, exit_rates)
    except ValueError as error:
        raise InputError(
            f"search.optimiser: budget {budget.name} is a mean over the data, and space {problem.space.name} is not "
            f"suited for that: {error}; give a budget of the worst case, or leave the optimiser out"
        ) from error
    if gated is None:
        return SampledLoss(networks, present, exit_rates), cost
    return GatedLoss(gated, problem, exit_rates), cost


def leaving(problem: BudgetProblem, number: int, networks: SampledNetworks) -> tuple[float, ...]:
    """The share of the arriving samples that leaves at each early exit [positions - 1] where a budget is met exactly.

    Means over random networks, each with all exits that it can have, as many at a time as it may have at once, and
    thresholds solved for the budget; an exit that none of them can have gets the mean of the others. Where none of the
    networks can keep the budget, nearly all have to leave at once.
    """
    budget, space = problem.experiment.budgets[number], problem.space
    table = problem.additive(problem.experiment.target_of(budget))
    rng = np.random.default_rng((problem.seed, _SHARES_FROM))
    drawn = random_genomes(space, 64 * _SHARES_FROM, rng)
    drawn = drawn[np.argsort(problem.free_objectives(drawn)[1][:, number], kind="stable")][:_SHARES_FROM]
    positions = len(table.cumulative_s(drawn[:1])[0])
    if positions == 1:
        return ()
    left, arrived = np.zeros(positions - 1), np.zeros(positions - 1)
    for index, genome in enumerate(drawn):
        batches = [networks(genome, index * _SHARE_BATCHES + more) for more in range(_SHARE_BATCHES)]
        logs = np.concatenate([logs for logs, _ in batches], axis=1)
        labels = np.concatenate([labels for _, labels in batches])
        for on in _windows(space, genome, table, networks, rng):
            cumulative = table.cumulative_s(with_exits(space, genome, on)[None])[0]
            present = ~np.isnan(cumulative)
            shares = _rates(
                problem.experiment.policy,
                logs[present],
                labels,
                cumulative[present],
                problem.effective_budget_s(budget),
                networks.counted,
            )
            if shares is not None:
                early = np.flatnonzero(present)[:-1]
                left[early] += shares[:-1]
                arrived[early] += 1 - np.concatenate(([0.0], np.cumsum(shares)))[:-2]
    known = arrived > 0
    if not known.any():
        return (_MOST_LEAVE,) * (positions - 1)
    conditional = np.where(known, left / np.where(known, arrived, 1), left[known].sum() / arrived[known].sum())
    return tuple(np.clip(conditional, 0, _MOST_LEAVE).tolist())


def _windows(
    space: SearchSpace, genome: Ints, table: Additive, networks: SampledNetworks, rng: np.random.Generator
) -> list[list[int]]:
    """Every early exit that a network can have, in random sets as large as it may have at once."""
    early = np.flatnonzero(networks.supernet.choices(genome[None]).legal[0][:-1])
    most = int((~np.isnan(table.cumulative_s(with_exits(space, genome, early.tolist())[None])[0])).sum()) - 1
    sets = np.array_split(rng.permutation(early), -(-len(early) // most)) if most > 0 else []
    return [on.tolist() for on in sets]


def _rates(
    exit_policy: ExitPolicy,
    logs: Floats,
    labels: NDArray[np.int32],
    cumulative: Floats,
    limit_s: float,
    counted: Floats | None,
) -> Floats | None:
    """Share of the samples that leaves at each exit [exits], for log-probabilities [exits, n, classes]; None if the
    budget cannot be kept.

    A right answer counts what `counted` [classes] says of its class, or the same.
    """
    found = scores(exit_policy, np.moveaxis(logs, 0, 1).astype(np.float32), labels)
    weights = None if counted is None else counted[labels]
    policy = Policies.of(found.confidence, found.correct, cumulative, weights=weights).best(limit_s)
    return None if policy is None else np.array(policy.rates)
