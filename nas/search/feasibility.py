"""Whether any network of a space can keep a budget, by the tables: asked before anything is trained."""

from __future__ import annotations

from nas.config.units import format_seconds
from nas.search.problem import BudgetProblem
from nas.searchers.fastest import fastest


def impossible(problem: BudgetProblem, number: int) -> str | None:
    """Why no network of the space can keep a budget, with the fastest one found; None where one may."""
    budget = problem.experiment.budgets[number]
    genome, violation = fastest(problem, lambda genomes: problem.cheap(genomes)[1][:, number])
    if violation == 0:
        return None
    target = problem.experiment.target_of(budget)
    reach = problem.tables[target].reach_s(genome[None])[0]
    seconds = budget.lower_bound(reach)
    return (
        f"Budget {budget.name} allows {budget.describe()} on {target.key}, but the fastest network of space "
        f"{problem.space.name} needs {format_seconds(float(seconds))} (predicted, +-{problem.caution[target]:.0%}): "
        f"genome {genome.tolist()}. Raise the budget or choose a smaller space."
    )
