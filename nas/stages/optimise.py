"""Optimise: a differentiable search per budget, on the shared weights, before the searcher begins.

Reads the supernet and the latency model; writes optimiser/BUDGET.json: proposals, which are the first networks that the
search judges, and a distribution over the choices, which is a prior for searchers that take one. Losses are those of
single networks on images kept for architecture (`splits.arch`). A killed run goes on at the last checkpoint.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from nas.config.budget import Budget
from nas.errors import NothingFits
from nas.process.machine import computing
from nas.run.context import Context
from nas.run.optimiser import is_found, read_checkpoint, write_checkpoint, write_found
from nas.run.supernet import shared_weights
from nas.run.training import steps_progress, training_set
from nas.search.problem import BudgetProblem

if TYPE_CHECKING:
    from nas.optimisers.base import ArchitectureOptimiser, SearchResult, Steps
    from nas.optimisers.sampled import SampledLoss, SampledNetworks

#: What seeds of this stage derive from.
_SEED: Final = "optimiser"
#: Images of one step, as far as there are so many; and checkpoints per search.
_BATCH, _CHECKPOINTS = 128, 20


def optimise(context: Context, problem: BudgetProblem) -> None:
    """Search for every budget that has no result yet; nothing to do where the experiment has no optimiser."""
    spec = context.experiment.search.optimiser
    if spec is None:
        return
    optimiser: ArchitectureOptimiser = spec.load()(**spec.arguments)
    networks: SampledNetworks | None = None
    for number, budget in enumerate(context.experiment.budgets):
        if is_found(context, budget):
            continue
        with computing():
            networks = networks or open_networks(context)
            _for_budget(context, replace(problem, seed=context.seed(_SEED, budget.name)), number, optimiser, networks)


def open_networks(context: Context) -> SampledNetworks:
    """Networks on images kept for architecture, by the run's shared weights."""
    from nas.optimisers.sampled import SampledNetworks

    data = training_set(context, False, "arch")
    batch = min(_BATCH, len(data))
    return SampledNetworks(context.space, shared_weights(context), data, batch, context.seed(_SEED, "images"))


def _for_budget(
    context: Context, problem: BudgetProblem, number: int, optimiser: ArchitectureOptimiser, networks: SampledNetworks
) -> None:
    from nas.optimisers import collapse
    from nas.optimisers.exit_shares import Exitless, loss_and_cost

    budget = context.experiment.budgets[number]
    tables = problem.additive(context.experiment.target_of(budget))
    limit_s = problem.effective_budget_s(budget)
    record: dict[str, Any] = {"limit_s": limit_s, "proposals": []}
    loss, cost = loss_and_cost(problem, number, networks)
    record["leaves"] = loss.exit_rates
    if loss.exit_rates is None:
        problem = Exitless.of(problem)
    try:
        search = optimiser.begin(problem, cost, limit_s)
        result = _drive(context, budget, search, loss)
    except NothingFits as error:
        record["statement"] = error.statement
    else:
        report = dict(result.report)
        report |= collapse.compare(problem, tables.tables("macs"), cost, limit_s, result.proposals[0])
        record |= _record(problem, result) | {"steps": search.steps, "report": report}
        record["statement"] = collapse.statement(report)
        if record["statement"]:
            context.voice.warning(f"{budget.name}: {record['statement']}")
    write_found(context, budget, record)


def _record(problem: BudgetProblem, result: SearchResult) -> dict[str, Any]:
    rows = [row[:size].tolist() for row, size in zip(result.probabilities, problem.sizes.tolist(), strict=True)]
    return {
        "proposals": result.proposals.tolist(),
        "proposals_s": result.seconds.tolist(),
        "before": result.before.tolist(),
        "before_s": result.before_s,
        "probabilities": rows,
    }


def _drive(context: Context, budget: Budget, search: Steps, loss: SampledLoss) -> SearchResult:
    """All steps from the last checkpoint on."""
    begin = 0
    if (stored := read_checkpoint(context, budget)) is not None:
        begin, state = stored
        search.restore(state)
    every = max(1, search.steps // _CHECKPOINTS)
    with steps_progress(context, f"optimiser, {budget.name}", search.steps, begin) as report:
        for step in range(begin, search.steps):
            genome = search.sample(step)
            feedback = loss(genome, step)
            search.update(genome, step, feedback)
            report(step + 1, feedback.loss)
            if (step + 1) % every == 0:
                write_checkpoint(context, budget, step + 1, search.state())
    return search.result()
