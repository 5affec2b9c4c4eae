"""Whether any network of a space can keep a budget, by the tables: asked before anything is trained."""

from __future__ import annotations

from math import prod
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hardware_profiles import Target
from latency_models.untabled import Untabled
from nas.config.units import format_seconds
from nas.search.problem import BudgetProblem
from nas.searchers.fastest import fastest
from search_spaces.slots import Genomes

#: A space of so many genomes at most is looked through.
_FEW_GENOMES: Final = 2**16


def nearest(problem: BudgetProblem, number: int) -> tuple[NDArray[np.int64], float]:
    """The genome nearest to the budget of a number and its violation; of all there are, where these are few."""
    target = problem.experiment.target_of(problem.experiment.budgets[number])

    def violation(genomes: Genomes) -> NDArray[np.float64]:
        return problem.free_objectives(genomes)[1][:, number]

    # Each genome that is tried is a prediction then.
    if isinstance(problem.tables[target], Untabled):
        return fastest(problem, violation, starts=2, sweeps=3)
    if prod(problem.sizes.tolist()) > _FEW_GENOMES:
        return fastest(problem, violation)
    every = np.indices(tuple(problem.sizes.tolist())).reshape(len(problem.sizes), prod(problem.sizes.tolist())).T
    genomes = problem.canonical(every)
    amounts = violation(genomes)
    return genomes[int(amounts.argmin())], float(amounts.min())


def impossible(problem: BudgetProblem, number: int) -> str | None:
    """Why no network of the space can keep a budget, with the fastest one found; None where one may."""
    budget = problem.experiment.budgets[number]
    target = problem.experiment.target_of(budget)
    genome, violation = nearest(problem, number)
    if violation == 0:
        return None
    cumulative = problem.tables[target].cumulative_s(genome[None])[0]
    seconds = problem.lower_bound_s(budget, cumulative)
    return (
        f"Budget {budget.name} allows {budget.describe()} on {target.key}, but the fastest network of space "
        f"{problem.space.name} needs {format_seconds(float(seconds))} ({_how_sure(problem, target, float(seconds))}): "
        f"genome {genome.tolist()}. Raise the budget or choose a smaller space."
    )


def _how_sure(problem: BudgetProblem, target: Target, seconds: float) -> str:
    """How a prediction may be off; where nothing was measured it is no more than likely."""
    factor = problem.factor_90.get(target)
    if factor is None:
        return f"predicted, +-{problem.safety_margin[target]:.0%}"
    low, high = format_seconds(seconds / factor), format_seconds(seconds * factor)
    return f"predicted, 90 %: {low} to {high}; nothing was measured there"
