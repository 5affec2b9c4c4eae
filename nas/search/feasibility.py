"""Whether any network of a space can keep a budget, by the tables: asked before anything is trained."""

from __future__ import annotations

from typing import Final

from latency_models.additive import Additive
from nas.config.units import format_seconds
from nas.search.problem import BudgetProblem
from nas.searchers.fastest import fastest

#: Starts and passes of the descent to the fastest network where each step costs a prediction.
_FEW_PREDICTIONS: Final = {"starts": 2, "sweeps": 3}


def impossible(problem: BudgetProblem, number: int) -> str | None:
    """Why no network of the space can keep a budget, with the fastest one found; None where one may."""
    budget = problem.experiment.budgets[number]
    target = problem.experiment.target_of(budget)
    # Without tables every genome that is tried is a prediction.
    how = {} if isinstance(problem.tables[target], Additive) else _FEW_PREDICTIONS
    genome, violation = fastest(problem, lambda genomes: problem.free_objectives(genomes)[1][:, number], **how)
    if violation == 0:
        return None
    cumulative = problem.tables[target].cumulative_s(genome[None])[0]
    seconds = budget.lower_bound(cumulative)
    return (
        f"Budget {budget.name} allows {budget.describe()} on {target.key}, but the fastest network of space "
        f"{problem.space.name} needs {format_seconds(float(seconds))} (predicted, "
        f"+-{problem.safety_margin[target]:.0%}): genome {genome.tolist()}. Raise the budget or choose a smaller space."
    )
