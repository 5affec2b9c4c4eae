"""Search: ask a searcher, judge with the shared weights, log, tell; then judge the best again on more images.

Reads the supernet and the latency model; writes trials.jsonl, a batch at a time, and front.json.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from nas import registry
from nas.errors import InputError, NothingFits
from nas.exits.placement import MOST_SUBSETS, best_placement
from nas.process.files import append_jsonl, atomic_write_json
from nas.process.interrupt import stop_if_asked
from nas.run.context import Context
from nas.run.trial import Trial, load_batches
from nas.search import scoring as judge
from nas.search.pareto import pareto_rank
from nas.search.problem import BudgetProblem, objective_columns
from nas.searchers.base import Searcher
from nas.searchers.fastest import fastest
from nas.searchers.seeded import Seeded
from nas.stages import optimise
from nas.stages.latency import MODEL_VERSION, load_tables
from nas.stages.supernet import load_evaluator
from nas.units import format_seconds
from search_spaces.slots import with_exits

TRIALS, FRONT = "trials.jsonl", "front.json"
SCHEMA = 1


def problem_of(context: Context) -> BudgetProblem:
    """The run's search problem, with the latency model that the run began with."""
    tables, caution = load_tables(context)
    return BudgetProblem(context.space, context.experiment, tables, caution, context.seed("search"))


def require_feasible(context: Context) -> None:
    """Raise NothingFits, with the fastest networks found, if no network of the space can keep any budget.

    Called before anything is trained.
    """
    problem = problem_of(context)
    statements = [impossible(problem, number) for number in range(len(context.experiment.budgets))]
    if all(statements):
        raise NothingFits("nothing fits: " + " ".join(map(str, statements)))
    for statement in filter(None, statements):
        context.console.print(f"[yellow]{statement}[/]")


def impossible(problem: BudgetProblem, number: int) -> str | None:
    """Why no network of the space can keep a budget, with the fastest one found; None where one may."""
    budget = problem.experiment.budgets[number]
    genome, violation = fastest(problem, lambda genomes: problem.cheap(genomes)[1][:, number])
    if violation == 0:
        return None
    target = problem.experiment.target_of(budget)
    reach = problem.tables[target].reach_s(genome[None])[0]
    seconds = reach[-1] if budget.of == "worst_case" else np.nanmin(reach)
    return (
        f"Budget {budget.name} allows {budget.describe()} on {target.key}, but the fastest network of space "
        f"{problem.space.name} needs {format_seconds(float(seconds))} (predicted, +-{problem.caution[target]:.0%}): "
        f"genome {genome.tolist()}. Raise the budget or choose a smaller space."
    )


def search(context: Context) -> None:
    """Evaluate `search.evaluations` genomes and write the front; goes on where a killed run stopped."""
    if context.path(FRONT).exists():
        return
    settings = context.experiment.search
    problem = problem_of(context)
    searcher = _searcher(context, problem)
    trials: list[Trial] = []
    for logged in load_batches(context.path(TRIALS)):
        asked = searcher.ask(min(settings.batch, settings.evaluations - len(trials)))
        if [tuple(row) for row in asked.tolist()] != [trial.genome for trial in logged]:
            raise InputError(
                f"{context.path(TRIALS)} holds other genomes in batch {logged[0].batch} than searcher "
                f"{settings.searcher.name} asks for: the file was edited, another version of NumPy draws otherwise, or "
                "the searcher does not answer the same when it is told the same; start anew with another --out"
            )
        trials += logged
        _tell(searcher, problem, logged)
    judging = Judge(context, problem)
    with Progress(console=context.console, transient=True) as progress:
        task = progress.add_task("networks judged", total=settings.evaluations, completed=len(trials))
        while len(trials) < settings.evaluations:
            genomes = searcher.ask(min(settings.batch, settings.evaluations - len(trials)))
            if not len(genomes):
                context.console.print(f"The space is exhausted after {len(trials)} networks.")
                break
            number = trials[-1].batch + 1 if trials else 0
            batch = []
            for slot, genome in enumerate(genomes):
                batch.append(judging.trial(genome, number, slot, len(genomes)))
                progress.advance(task)
                stop_if_asked()
            append_jsonl(context.path(TRIALS), [asdict(trial) for trial in batch])
            trials += batch
            _tell(searcher, problem, tuple(batch))
    atomic_write_json(context.path(FRONT), _front(context, problem, judging, trials))


def _searcher(context: Context, problem: BudgetProblem) -> Searcher:
    """The experiment's searcher; after an optimiser, with its proposals to begin with and its mean distribution."""
    part, found = context.experiment.search.searcher, optimise.load(context)
    arguments = dict(part.arguments)
    if found and {"prior", "initial"} <= set(arguments) and arguments["prior"] is None:
        genes = zip(*(each.probabilities for each in found), strict=True)
        arguments["prior"] = tuple(tuple(np.mean(rows, axis=0).tolist()) for rows in genes)
        # Proposals are much alike; a model needs to see other networks as well.
        different = {tuple(genome) for each in found for genome in each.proposals.tolist()}
        arguments["initial"] = arguments["initial"] + len(different)
    searcher: Searcher = registry.load(part.reference)(problem, **arguments)
    if not found:
        return searcher
    # Budgets take turns, so that none waits for another where few networks are judged.
    ranks = [(rank, number) for number, each in enumerate(found) for rank in range(len(each.proposals))]
    return Seeded(problem, searcher, np.stack([found[number].proposals[rank] for rank, number in sorted(ranks)]))


def _tell(searcher: Searcher, problem: BudgetProblem, batch: tuple[Trial, ...]) -> None:
    objectives = problem.experiment.search.objectives
    failed = [np.inf] * (len(problem.experiment.budgets) + len(objectives) - 1)
    values = np.array(
        [objective_columns(objectives, t.metrics, t.budgets) if t.status == "complete" else failed for t in batch]
    )
    violation = np.array([trial.violation for trial in batch])
    searcher.tell(np.array([trial.genome for trial in batch]), values, violation)


class Judge:
    """Turns genomes into trials with the shared weights; the evaluator is loaded when first needed."""

    def __init__(self, context: Context, problem: BudgetProblem) -> None:
        self._context = context
        self._problem = problem
        self._evaluators: dict[int, Any] = {}
        self._labels = context.data.labels("val")[context.order("val")]

    def scores(self, genome: NDArray[np.int64], images: int) -> judge.Scores:
        """Confidence and correctness at all legal positions, NaN confidence where there is none."""
        images = min(images, len(self._labels))
        if images not in self._evaluators:
            self._evaluators[images] = load_evaluator(self._context, images)
        logits = self._evaluators[images].logits(genome[None])[0]
        return judge.scores(logits, self._labels[:images])

    def trial(self, genome: NDArray[np.int64], batch: int, slot: int, of: int, images: int | None = None) -> Trial:
        """One genome judged on `images` validation images, by default as many as the search uses."""
        problem, experiment = self._problem, self._context.experiment
        reach = {target: table.reach_s(genome[None]) for target, table in problem.tables.items()}
        violation = problem.violation(reach)[0]
        network = self._context.space.decode(genome)
        base = Trial(batch, slot, of, tuple(genome.tolist()), network.key, "infeasible", violation=tuple(violation),
                     budgets=(None,) * len(experiment.budgets), model_version=MODEL_VERSION)  # fmt: skip
        if violation.min() > 0:
            return base
        present = ~np.isnan(reach[experiment.target][0])
        found = self.scores(genome, images or experiment.search.images)
        own = judge.Scores(found.confidence[:, present], found.correct[:, present])
        own_reach = {target: seconds[0, present] for target, seconds in reach.items()}
        counts = {
            "params": network.params,
            "macs": network.macs,
            "weight_bytes": network.weight_bytes,
            "peak_memory_bytes": network.peak_memory,
        }
        figures, curve = judge.metrics(own, own_reach[experiment.target], counts)
        budgets = judge.at_budgets(problem, own, own_reach, violation)
        return replace(base, status="complete", metrics=figures, budgets=budgets, curve=curve)


def _front(context: Context, problem: BudgetProblem, judging: Judge, trials: list[Trial]) -> dict[str, Any]:
    """The Pareto set of all trials, and the candidates of each budget judged again on every validation image."""
    complete = [trial for trial in trials if trial.status == "complete"]
    if not complete:
        raise NothingFits(f"none of the {len(trials)} networks that were judged keeps a budget")
    objectives = context.experiment.search.objectives
    values = np.array([objective_columns(objectives, trial.metrics, trial.budgets) for trial in complete])
    pareto = [trial for trial, rank in zip(complete, pareto_rank(values), strict=True) if rank == 0]
    return {
        "schema": SCHEMA,
        "model_version": MODEL_VERSION,
        "pareto": [asdict(trial) for trial in pareto],
        "budgets": {
            budget.name: [asdict(trial) for trial in _candidates(context, problem, judging, complete, number)]
            for number, budget in enumerate(context.experiment.budgets)
        },
    }


def _candidates(
    context: Context, problem: BudgetProblem, judging: Judge, trials: list[Trial], number: int
) -> list[Trial]:
    """The most accurate networks at one budget, exits placed anew, judged on all validation images; the best first."""
    wanted = context.experiment.winners.candidates
    able = [trial for trial in trials if trial.budgets[number] is not None]
    able.sort(key=lambda trial: _accuracy_then_speed(trial, number))
    images = len(context.data.splits.val)
    genomes = [np.array(trial.genome) for trial in able[:wanted]]
    genomes += [
        placed for genome in genomes if (placed := _placed(context, problem, judging, genome, number)) is not None
    ]
    different = list(dict.fromkeys(tuple(genome.tolist()) for genome in genomes))
    found = [
        judging.trial(np.array(genome), number, slot, len(different), images) for slot, genome in enumerate(different)
    ]
    found = [trial for trial in found if trial.budgets and trial.budgets[number] is not None]
    return sorted(found, key=lambda trial: _accuracy_then_speed(trial, number))[:wanted]


def _accuracy_then_speed(trial: Trial, number: int) -> tuple[float, float]:
    at = trial.budgets[number]
    if at is None:
        raise AssertionError("only trials that keep the budget are ranked by it")
    return -at.accuracy, at.latency_s


def _placed(
    context: Context, problem: BudgetProblem, judging: Judge, genome: NDArray[np.int64], number: int
) -> NDArray[np.int64] | None:
    """The same backbone with the best exits for an expected budget, found by enumeration; None if there are none."""
    budget = context.experiment.budgets[number]
    if budget.of != "expected":
        return None
    space = context.space
    every = with_exits(space, genome, range(len(space.slots)))
    most = len(space.decode(every).exits) - 1
    found = judging.scores(genome, len(context.data.splits.val))
    legal = np.flatnonzero(~np.isnan(found.confidence[0]))
    body_s, head_s = problem.parts(genome, context.experiment.target_of(budget))
    while sum(comb(len(legal) - 1, size) for size in range(most + 1)) > MOST_SUBSETS:
        most -= 1
    best = best_placement(
        found.confidence[:, legal], found.correct[:, legal], body_s[legal], head_s[legal], 0.0,
        problem.allowance_s(budget), most,
    )  # fmt: skip
    if best is None:
        return None
    return with_exits(space, genome, {int(legal[position]) for position in best.positions})
