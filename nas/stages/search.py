"""Search: ask a searcher, judge what it asks for, log, tell; then judge the best again on more images.

Reads the latency model, and the supernet if the evaluator does; writes trials.jsonl, a batch at a time, and front.json.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from functools import partial
from typing import Final

import numpy as np

from nas.errors import InputError, NothingFits
from nas.process.files import append_jsonl, atomic_write_json
from nas.process.interrupt import stop_if_asked
from nas.run.context import Context
from nas.run.latency import MODEL_VERSION
from nas.run.optimiser import load_found
from nas.run.training import require_same_kernels
from nas.run.trial import Trial, load_batches
from nas.search.asking import Asking
from nas.search.evaluation import Asked, Evaluation, Judge
from nas.search.feasibility import impossible
from nas.search.front import front_of
from nas.search.problem import BudgetProblem, objective_columns, problem_of, too_few
from nas.searchers.base import Searcher, TakesPrior
from nas.searchers.seeded import Seeded

#: What else a search of a percentile may come from, in the middle.
_BEFORE: Final = ", or an older release began it, for which all calls of a percentile passed every exit"


def require_feasible(context: Context) -> None:
    """Raise NothingFits, with the fastest networks found, if no network of the space can keep any budget.

    Called before anything is trained.
    """
    problem = problem_of(context)
    statements = [impossible(problem, number) for number in range(len(context.experiment.budgets))]
    if all(statements):
        raise NothingFits("nothing fits: " + " ".join(map(str, statements)))
    for statement in (*filter(None, statements), *too_few(problem)):
        context.voice.warning(statement)


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
                "the searcher does not answer the same when it is told the same"
                f"{_BEFORE if any(budget.percentile for budget in context.experiment.budgets) else ''}; start anew "
                "with another --out"
            )
        trials += logged
        _tell(searcher, problem, logged)
    require_same_kernels(context)
    evaluation = Evaluation(context, problem)
    judge = Judge(evaluation)
    if settings.by_score:
        context.voice.note(f"Networks are ranked by {settings.evaluator.name}, a score that is no accuracy.")
    steps = context.voice.steps("networks judged", settings.evaluations, len(trials))
    with closing(Asking(context)) as asking, steps as tell:
        while len(trials) < settings.evaluations:
            genomes = searcher.ask(min(settings.batch, settings.evaluations - len(trials)))
            if not len(genomes):
                context.voice.note(f"The space is exhausted after {len(trials)} networks.")
                break
            number = trials[-1].batch + 1 if trials else 0
            rows = [tuple(row) for row in genomes.tolist()]
            items = [Asked(row, number, slot, len(rows)) for slot, row in enumerate(rows)]
            batch = []
            for trial in _judged(asking, judge, problem, items):
                batch.append(trial)
                tell(len(trials) + len(batch), None)
                stop_if_asked()
            _require_answers(trials, batch)
            append_jsonl(context.files.trials, [asdict(trial) for trial in batch])
            trials += batch
            _tell(searcher, problem, tuple(batch))
        again = partial(_judged, asking, judge, problem)
        atomic_write_json(context.files.front, front_of(evaluation, trials, again, asking))


def _judged(asking: Asking, judge: Judge, problem: BudgetProblem, asked: Sequence[Asked]) -> Iterator[Trial]:
    """The trials of what was asked, in that order; one that cannot be judged is a trial that failed."""
    for each, outcome in zip(asked, asking(judge, asked, _is_of), strict=True):
        if isinstance(outcome, Trial):
            yield outcome
            continue
        key = problem.space.decode(each.genome).key
        nowhere: tuple[None, ...] = (None,) * len(problem.experiment.budgets)
        yield Trial(each.batch, each.slot, each.of, each.genome, key, "failed", error=outcome.cause,
                    violation=(math.inf,) * len(nowhere), budgets=nowhere, model_version=MODEL_VERSION)  # fmt: skip


def _is_of(trial: Trial, asked: Asked) -> bool:
    """Whether a trial is that of what was asked."""
    return isinstance(trial, Trial) and (trial.genome, trial.slot) == (asked.genome, asked.slot)


def _require_answers(before: Sequence[Trial], batch: Sequence[Trial]) -> None:
    """Raise InputError where no network of a run could be judged so far: then it is not the networks."""
    failed = [trial for trial in batch if trial.status == "failed"]
    if failed and not any(trial.status == "complete" for trial in (*before, *batch)):
        raise InputError(f"none of {len(failed)} networks could be judged: {failed[0].error}")


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
