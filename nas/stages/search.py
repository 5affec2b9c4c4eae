"""Search: ask a searcher, judge with the shared weights, log, tell; then judge the best again on more images.

Reads the supernet and the latency model; writes trials.jsonl, a batch at a time, and front.json.
"""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
from rich.progress import Progress
from rich.text import Text

from nas.errors import InputError, NothingFits
from nas.process.files import append_jsonl, atomic_write_json
from nas.process.interrupt import stop_if_asked
from nas.run.context import Context
from nas.run.optimiser import load_found
from nas.run.trial import Trial, load_batches
from nas.search.evaluation import Evaluation
from nas.search.feasibility import impossible
from nas.search.front import front_of
from nas.search.problem import BudgetProblem, objective_columns, problem_of
from nas.searchers.base import Searcher, TakesPrior
from nas.searchers.seeded import Seeded


def require_feasible(context: Context) -> None:
    """Raise NothingFits, with the fastest networks found, if no network of the space can keep any budget.

    Called before anything is trained.
    """
    problem = problem_of(context)
    statements = [impossible(problem, number) for number in range(len(context.experiment.budgets))]
    if all(statements):
        raise NothingFits("nothing fits: " + " ".join(map(str, statements)))
    for statement in filter(None, statements):
        context.console.print(Text(statement, "yellow"))


def search(context: Context) -> None:
    """Evaluate `search.evaluations` genomes and write the front; goes on where a killed run stopped."""
    if context.files.front.exists():
        return
    settings = context.experiment.search
    problem = problem_of(context)
    searcher = _searcher(context, problem)
    trials: list[Trial] = []
    for logged in load_batches(context.files.trials):
        asked = searcher.ask(min(settings.batch, settings.evaluations - len(trials)))
        if [tuple(row) for row in asked.tolist()] != [trial.genome for trial in logged]:
            raise InputError(
                f"{context.files.trials} holds other genomes in batch {logged[0].batch} than searcher "
                f"{settings.searcher.name} asks for: the file was edited, another version of NumPy draws otherwise, or "
                "the searcher does not answer the same when it is told the same; start anew with another --out"
            )
        trials += logged
        _tell(searcher, problem, logged)
    evaluation = Evaluation(context, problem)
    with Progress(console=context.console, transient=True) as progress:
        task = progress.add_task("networks judged", total=settings.evaluations, completed=len(trials))
        while len(trials) < settings.evaluations:
            genomes = searcher.ask(min(settings.batch, settings.evaluations - len(trials)))
            if not len(genomes):
                context.console.print(Text(f"The space is exhausted after {len(trials)} networks."))
                break
            number = trials[-1].batch + 1 if trials else 0
            batch = []
            for slot, genome in enumerate(genomes):
                batch.append(evaluation.trial(genome, number, slot, len(genomes)))
                progress.advance(task)
                stop_if_asked()
            append_jsonl(context.files.trials, [asdict(trial) for trial in batch])
            trials += batch
            _tell(searcher, problem, tuple(batch))
    atomic_write_json(context.files.front, front_of(context, problem, evaluation, trials))


def _searcher(context: Context, problem: BudgetProblem) -> Searcher:
    """The experiment's searcher; after an optimiser, with its proposals to begin with and its mean distribution."""
    spec, found = context.experiment.search.searcher, load_found(context)
    searcher: Searcher = spec.load()(problem, **spec.arguments)
    if not found:
        return searcher
    if isinstance(searcher, TakesPrior) and searcher.wants_prior:
        genes = zip(*(each.probabilities for each in found), strict=True)
        different = {tuple(genome) for each in found for genome in each.proposals.tolist()}
        searcher.take_prior(tuple(tuple(np.mean(rows, axis=0).tolist()) for rows in genes), len(different))
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
