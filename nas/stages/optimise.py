"""Optimise: a differentiable search per budget, on the shared weights, before the searcher begins.

Reads the supernet and the latency model; writes optimiser/BUDGET.json: proposals, which are the first networks that the
search judges, and a distribution over the choices, which is a prior for searchers that take one. Losses are those of
single networks on images kept for architecture (`splits.arch`). A killed run goes on at the last checkpoint.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from latency_models.additive import Additive, Tables
from nas import registry
from nas.errors import InputError, NothingFits
from nas.process.files import atomic_write_bytes, atomic_write_json
from nas.run.context import Context
from nas.search import scoring as judge
from nas.search.problem import BudgetProblem
from nas.settings import Budget
from nas.stages.supernet import load_supernet, steps_progress, training_set
from search_spaces.slots import Genomes, SearchSpace, exit_positions, random_genomes, switched, with_exits

if TYPE_CHECKING:
    from nas.optimisers.base import Bools, Cost, Floats, Ints, Optimiser, Result, Steps
    from nas.optimisers.paths import PathLoss, Paths

FOLDER: Final = "optimiser"
SCHEMA: Final = 1
#: Images of one step, as far as there are so many; and checkpoints per search.
_BATCH, _CHECKPOINTS = 128, 20
#: Networks, and batches for each, from which the shares that leave at exits are known.
_SHARES_FROM, _SHARE_BATCHES = 12, 4
#: No exit sends everything away: what is behind it must keep some weight.
_MOST_LEAVE: Final = 0.95


@dataclass(frozen=True, eq=False)
class Found:
    """What the search for one budget left: `proposals` [n, genes], the best first, and probabilities per gene."""

    budget: str
    proposals: NDArray[np.int64]
    probabilities: tuple[tuple[float, ...], ...]


def load(context: Context) -> tuple[Found, ...]:
    """What was found for each budget that can be kept; empty where the experiment has no optimiser."""
    found = []
    for budget in context.experiment.budgets:
        path = context.path(FOLDER, f"{budget.name}.json")
        if not path.exists():
            continue
        record = json.loads(path.read_text())
        if record["proposals"]:
            proposals = np.array(record["proposals"], np.int64)
            found.append(Found(budget.name, proposals, tuple(map(tuple, record["probabilities"]))))
    return tuple(found)


@dataclass(frozen=True)
class Exitless(BudgetProblem):
    """A problem whose networks have no early exits: in the worst case they only cost time."""

    off: tuple[tuple[int, int], ...] = ()

    @staticmethod
    def of(problem: BudgetProblem) -> Exitless:
        """The same problem with the genes of every early exit's own where they turn it off."""
        space = problem.space
        readers = [gene for slot in space.slots for gene in slot.genes]
        bare = switched(space, np.zeros(len(space.genes), np.int64), ())
        early = [space.slots[position] for position in exit_positions(space)[:-1]]
        own = sorted({gene for slot in early for gene in slot.genes if readers.count(gene) == 1})
        parts = {field.name: getattr(problem, field.name) for field in fields(problem)}
        return Exitless(**parts, off=tuple((gene, int(bare[gene])) for gene in own))

    def canonical(self, genomes: Genomes) -> Genomes:
        """Genomes [n, genes] without early exits, and with genes that have no effect set to 0."""
        bare = np.array(genomes)
        for gene, value in self.off:
            bare[:, gene] = value
        return super().canonical(bare)


def _without_exits(tables: Tables) -> Tables:
    """The tables without the slots of early exits."""
    kept = [number for number, slot in enumerate(tables.slots) if slot.role != "exit"]
    return Tables(
        tuple(tables.slots[number] for number in kept),
        tuple(tables.values[number] for number in kept),
        tuple(tables.present[number] for number in kept),
    )


def optimise(context: Context, problem: BudgetProblem) -> None:
    """Search for every budget that has no result yet; nothing to do where the experiment has no optimiser."""
    part = context.experiment.search.optimiser
    if part is None:
        return
    optimiser: Optimiser = registry.load(part.reference)(**part.arguments)
    paths: Paths | None = None
    for number, budget in enumerate(context.experiment.budgets):
        if context.path(FOLDER, f"{budget.name}.json").exists():
            continue
        paths = paths or open_paths(context)
        _for_budget(context, replace(problem, seed=context.seed(FOLDER, budget.name)), number, optimiser, paths)


def open_paths(context: Context) -> Paths:
    """Networks on images kept for architecture, by the run's shared weights."""
    from nas.optimisers.paths import Paths

    data = training_set(context, False, "arch")
    batch = min(_BATCH, len(data))
    return Paths(context.space, load_supernet(context), data, batch, context.seed(FOLDER, "images"))


def _for_budget(context: Context, problem: BudgetProblem, number: int, optimiser: Optimiser, paths: Paths) -> None:
    from nas.optimisers import collapse

    budget = context.experiment.budgets[number]
    tables = problem.tables[context.experiment.target_of(budget)]
    limit_s = problem.allowance_s(budget)
    record: dict[str, Any] = {"schema": SCHEMA, "budget": budget.name, "limit_s": limit_s, "proposals": []}
    loss, cost = loss_and_cost(problem, number, paths)
    record["leaves"] = loss.leaves
    if loss.leaves is None:
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
            context.console.print(f"[yellow]{budget.name}: {record['statement']}[/]")
    atomic_write_json(context.path(FOLDER, f"{budget.name}.json"), record)
    _state_path(context, budget).unlink(missing_ok=True)


def _record(problem: BudgetProblem, result: Result) -> dict[str, Any]:
    rows = [row[:size].tolist() for row, size in zip(result.probabilities, problem.sizes.tolist(), strict=True)]
    return {
        "proposals": result.proposals.tolist(),
        "proposals_s": result.seconds.tolist(),
        "before": result.before.tolist(),
        "before_s": result.before_s,
        "probabilities": rows,
    }


def _state_path(context: Context, budget: Budget) -> Any:
    return context.path(FOLDER, f"{budget.name}.state.npz")


def _drive(context: Context, budget: Budget, search: Steps, loss: PathLoss) -> Result:
    """All steps from the last checkpoint on."""
    path, begin = _state_path(context, budget), 0
    if path.exists():
        with np.load(path, allow_pickle=False) as stored:
            begin = int(stored["step"])
            search.restore({name.removeprefix("own/"): stored[name] for name in stored.files if name != "step"})
    every = max(1, search.steps // _CHECKPOINTS)
    with steps_progress(context, f"optimiser, {budget.name}", search.steps, begin) as report:
        for step in range(begin, search.steps):
            genome = search.path(step)
            feedback = loss(genome, step)
            search.hear(genome, step, feedback)
            report(step + 1, feedback.loss)
            if (step + 1) % every == 0:
                data = io.BytesIO()
                state = {f"own/{name}": value for name, value in search.state().items()}
                np.savez(data, step=np.array(step + 1), **state)  # type: ignore[arg-type]  # names are ours
                atomic_write_bytes(path, data.getvalue())
    return search.result()


def loss_and_cost(problem: BudgetProblem, number: int, paths: Paths) -> tuple[PathLoss, Cost]:
    """The loss and the seconds of a budget: of the cascade for a mean, of the last exit alone in the worst case.

    So too for a mean where nobody leaves early: exits would only cost time there.
    """
    from nas.optimisers.cost import of_tables
    from nas.optimisers.exits_cost import ExpectedExits
    from nas.optimisers.paths import PathLoss

    budget = problem.experiment.budgets[number]
    tables = problem.tables[problem.experiment.target_of(budget)]

    def present(genome: Ints) -> Bools:
        there: Bools = ~np.isnan(tables.reach_s(genome[None])[0])
        return there

    leaves = () if budget.of == "worst_case" else leaving(problem, number, paths)
    if not any(leaves):
        return PathLoss(paths, present), of_tables(_without_exits(tables.seconds))
    try:
        return PathLoss(paths, present, leaves), ExpectedExits(tables.seconds, leaves)
    except ValueError as error:
        raise InputError(
            f"search.optimiser: budget {budget.name} is a mean over the data, and space {problem.space.name} is not "
            f"suited for that: {error}; give a budget of the worst case, or leave the optimiser out"
        ) from error


def leaving(problem: BudgetProblem, number: int, paths: Paths) -> tuple[float, ...]:
    """The share of the arriving samples that leaves at each early exit [positions - 1] where a budget is met exactly.

    Means over random networks, each with all exits that it can have, as many at a time as it may have at once, and
    thresholds solved for the budget; an exit that none of them can have gets the mean of the others. Where none of the
    networks can keep the budget, nearly all have to leave at once.
    """
    budget, space = problem.experiment.budgets[number], problem.space
    table = problem.tables[problem.experiment.target_of(budget)]
    rng = np.random.default_rng((problem.seed, _SHARES_FROM))
    drawn = random_genomes(space, 64 * _SHARES_FROM, rng)
    drawn = drawn[np.argsort(problem.cheap(drawn)[1][:, number], kind="stable")][:_SHARES_FROM]
    positions = len(table.reach_s(drawn[:1])[0])
    if positions == 1:
        return ()
    left, arrived = np.zeros(positions - 1), np.zeros(positions - 1)
    for index, genome in enumerate(drawn):
        batches = [paths(genome, index * _SHARE_BATCHES + more) for more in range(_SHARE_BATCHES)]
        logs = np.concatenate([logs for logs, _ in batches], axis=1)
        labels = np.concatenate([labels for _, labels in batches])
        for on in _windows(space, genome, table, paths, rng):
            reach = table.reach_s(with_exits(space, genome, on)[None])[0]
            present = ~np.isnan(reach)
            shares = _rates(logs[present], labels, reach[present], problem.allowance_s(budget))
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
    space: SearchSpace, genome: Ints, table: Additive, paths: Paths, rng: np.random.Generator
) -> list[list[int]]:
    """Every early exit that a network can have, in random sets as large as it may have at once."""
    early = np.flatnonzero(paths.supernet.choices(genome[None]).legal[0][:-1])
    most = int((~np.isnan(table.reach_s(with_exits(space, genome, early.tolist())[None])[0])).sum()) - 1
    sets = np.array_split(rng.permutation(early), -(-len(early) // most)) if most > 0 else []
    return [on.tolist() for on in sets]


def _rates(logs: Floats, labels: NDArray[np.int32], reach: Floats, limit_s: float) -> Floats | None:
    """Share of the samples that leaves at each exit [exits], for log-probabilities [exits, n, classes]; None if the
    budget cannot be kept."""
    from nas.exits.thresholds import Policies

    found = judge.scores(np.moveaxis(logs, 0, 1).astype(np.float32), labels)
    policy = Policies.of(found.confidence, found.correct, reach).best(limit_s)
    return None if policy is None else np.array(policy.rates)
