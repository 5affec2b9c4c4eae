"""Optimise: a differentiable search per budget, on the shared weights, before the searcher begins.

Reads the supernet and the latency model; writes optimiser/BUDGET.json: proposals, which are the first networks that the
search judges, and a distribution over the choices, which is a prior for searchers that take one. Losses are those of
single networks on images kept for architecture (`splits.arch`). Where the search went on in turns with the training of
the weights, what it learned lies beside them, and networks are derived from it here. A killed run goes on at the last
checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from nas.config.budget import Budget
from nas.errors import NothingFits
from nas.process.machine import computing
from nas.run.context import Context
from nas.run.optimiser import forget_checkpoint, is_found, read_checkpoint, write_checkpoint, write_found
from nas.run.supernet import searches_in_turns, shared_weights
from nas.run.training import steps_progress
from nas.search.problem import BudgetProblem

if TYPE_CHECKING:
    from nas.optimisers.base import ArchitectureOptimiser, Problem, SearchResult
    from nas.optimisers.searches import Networks
    from nas.optimisers.turns import BudgetSearch

#: Checkpoints per search.
_CHECKPOINTS: Final = 20


def optimise(context: Context, problem: BudgetProblem) -> None:
    """Search for every budget that has no result yet; nothing to do where the experiment has no optimiser."""
    spec = context.experiment.search.optimiser
    if spec is None:
        return
    found = [budget for budget in context.experiment.budgets if is_found(context, budget)]
    for budget in found:
        # Of a run that was killed when the result was written.
        forget_checkpoint(context, budget)
    if len(found) == len(context.experiment.budgets):
        return
    from nas.optimisers.searches import Networks

    optimiser: ArchitectureOptimiser = spec.load()(**spec.arguments)
    with computing():
        networks, stored = Networks.of(context, optimiser, shared_weights(context)), searches_in_turns(context)
        for number, budget in enumerate(context.experiment.budgets):
            if not is_found(context, budget):
                _for_budget(context, problem, number, optimiser, networks, stored)


def _for_budget(
    context: Context,
    problem: BudgetProblem,
    number: int,
    optimiser: ArchitectureOptimiser,
    networks: Networks,
    stored: Mapping[str, NDArray[np.float64]],
) -> None:
    """What was searched in turns with the weights is derived; else it is searched now."""
    from nas.optimisers import collapse
    from nas.optimisers.differentiable import unbound
    from nas.optimisers.searches import resumed
    from nas.optimisers.turns import stored_of

    budget = context.experiment.budgets[number]
    tables = problem.additive(context.experiment.target_of(budget))
    record: dict[str, Any] = {"limit_s": problem.effective_budget_s(budget), "proposals": []}
    try:
        search = resumed(context, problem, number, optimiser, networks, stored)
        record["leaves"] = search.exit_rates or None
        done = stored_of(stored, number) is not None
        result = search.steps.result() if done else _drive(context, budget, search)
    except NothingFits as error:
        record["statement"] = error.statement
    else:
        report = dict(result.report)
        report |= collapse.compare(
            search.problem, tables.tables("macs"), search.cost, search.limit_s, result.proposals[0]
        )
        record |= _record(search.problem, result) | {"steps": search.steps.steps, "report": report}
        record["in_turns"] = done
        record["statement"] = collapse.statement(report)
        if record["statement"]:
            context.voice.warning(f"{budget.name}: {record['statement']}")
        elif loose := unbound(report):
            record["statement"] = loose
            context.voice.note(f"{budget.name}: {loose}")
    write_found(context, budget, record)


def _record(problem: Problem, result: SearchResult) -> dict[str, Any]:
    rows = [row[:size].tolist() for row, size in zip(result.probabilities, problem.sizes.tolist(), strict=True)]
    return {
        "proposals": result.proposals.tolist(),
        "proposals_s": result.seconds.tolist(),
        "before": result.before.tolist(),
        "before_s": result.before_s,
        "probabilities": rows,
    }


def _drive(context: Context, budget: Budget, search: BudgetSearch) -> SearchResult:
    """All steps from the last checkpoint on."""
    steps, begin = search.steps, 0
    if (kept := read_checkpoint(context, budget)) is not None:
        begin, state = kept
        steps.restore(state)
    every = max(1, steps.steps // _CHECKPOINTS)
    with steps_progress(context, f"optimiser, {budget.name}", steps.steps, begin) as report:
        for step in range(begin, steps.steps):
            report(step + 1, search.step(step))
            if (step + 1) % every == 0:
                write_checkpoint(context, budget, step + 1, steps.state())
    return steps.result()
