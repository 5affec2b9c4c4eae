"""Networks of a run judged: from genomes to trials, here or in another process."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.config.plugins import Plugins
from nas.errors import InputError
from nas.process.machine import computing
from nas.run.context import Context
from nas.run.latency import MODEL_VERSION
from nas.run.training import require_same_kernels
from nas.run.trial import SCORE, Trial
from nas.search import scoring
from nas.search.evaluators.base import Evaluator, KnowsEveryNetwork, Ranking
from nas.search.problem import BudgetProblem, problem_of
from nas.tasks.image_classification.balance import class_weights


class Evaluation:
    """Turns genomes into trials by the experiment's evaluator, which is made when first needed."""

    def __init__(self, context: Context, problem: BudgetProblem) -> None:
        self.context = context
        self.problem = problem
        self._labels = context.data.labels("val")[context.order("val")]

    @cached_property
    def evaluator(self) -> Evaluator | Ranking:
        """What judges the networks."""
        spec = self.context.experiment.search.evaluator
        made: Evaluator | Ranking = spec.load()(self.context, **spec.arguments)
        if isinstance(made, KnowsEveryNetwork) and self.context.experiment.search.balanced:
            raise InputError(
                f"search.objectives: evaluator {spec.name} knows the accuracy of networks and not of their classes; "
                "write accuracy for balanced_accuracy"
            )
        return made

    @property
    def weights(self) -> NDArray[np.float64] | None:
        """What each validation image counts [images] where networks are chosen by balanced accuracy; else None."""
        return class_weights(self._labels) if self.context.experiment.search.balanced else None

    def trial(self, genome: NDArray[np.int64], batch: int, slot: int, of: int, images: int | None = None) -> Trial:
        """One genome judged on `images` validation images, by default as many as the search uses."""
        problem, experiment = self.problem, self.context.experiment
        cumulative = {target: table.cumulative_s(genome[None]) for target, table in problem.tables.items()}
        violation = problem.violation(cumulative)[0]
        network = self.context.space.decode(genome)
        base = Trial(batch, slot, of, tuple(genome.tolist()), network.key, "infeasible", violation=tuple(violation),
                     budgets=(None,) * len(experiment.budgets), model_version=MODEL_VERSION)  # fmt: skip
        if violation.min() > 0:
            return base
        present = ~np.isnan(cumulative[experiment.target][0])
        own_cumulative_s = {target: seconds[0, present] for target, seconds in cumulative.items()}
        counts = {
            "params": network.params,
            "macs": network.macs,
            "weight_bytes": network.weight_bytes,
            "peak_memory_bytes": network.peak_memory,
        }
        noted = {} if problem.known is None else problem.known.noted(genome)
        evaluator = self.evaluator
        if not isinstance(evaluator, Evaluator):
            (score,) = evaluator.score(genome[None])
            figures = {
                **counts,
                **noted,
                SCORE: float(score),
                "worst_case_latency_s": float(own_cumulative_s[experiment.target][-1]),
                "exits": float(present.sum()),
            }
            unjudged = scoring.at_last_exit(problem, own_cumulative_s, violation)
            return replace(base, status="complete", metrics=figures, budgets=unjudged)
        wanted = min(images or experiment.search.images, len(self._labels))
        own = evaluator.scores(genome, wanted, present)
        if {np.shape(own.confidence), np.shape(own.correct)} != {(wanted, int(present.sum()))}:
            raise ValueError(
                f"the evaluator scores {np.shape(own.confidence)}, and {wanted} images at {int(present.sum())} exits "
                "were asked for"
            )
        weights = class_weights(self._labels[:wanted])
        own_weights = weights if experiment.search.balanced else None
        own = replace(own, weights=own_weights)
        thresholds = scoring.solved(own, own_cumulative_s)
        figures, curve = scoring.metrics(own, thresholds[experiment.target], {**counts, **noted}, weights)
        budgets = scoring.at_budgets(problem, own, thresholds, violation, own_weights)
        found = replace(base, status="complete", metrics=figures, budgets=budgets, curve=curve)
        if isinstance(evaluator, KnowsEveryNetwork):
            return scoring.with_accuracy(found, float(evaluator.accuracy(genome[None])[0]))
        return found


@dataclass(frozen=True)
class Asked:
    """A genome that a searcher asked for, and where it stood."""

    genome: tuple[int, ...]
    batch: int
    slot: int
    of: int
    images: int | None = None


class OnRun:
    """What tasks of a search have in common: the run's evaluation, wherever they are called.

    Pickled it is the run's path and whose code may run; in another process the run is opened there, once.
    """

    def __init__(self, evaluation: Evaluation) -> None:
        self._evaluation: Evaluation | None = evaluation
        self._run, self._plugins = evaluation.context.run.path.resolve(), evaluation.context.experiment.plugins

    @property
    def evaluation(self) -> Evaluation:
        """That of the run, opened where that was not done yet."""
        return self._evaluation or _opened(self._run, self._plugins)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_evaluation": None}


class Judge(OnRun):
    """What an executor is given: turns what was asked into trials."""

    def __call__(self, asked: Asked) -> Trial:
        """The trial of a genome."""
        # Whichever process it is, it computes.
        with computing():
            genome = np.array(asked.genome, np.int64)
            return self.evaluation.trial(genome, asked.batch, asked.slot, asked.of, asked.images)


@lru_cache(maxsize=1)
def _opened(run: Path, plugins: Plugins) -> Evaluation:
    from nas.run.opening import reopen

    context = reopen(run, plugins)
    require_same_kernels(context)
    return Evaluation(context, problem_of(context))
