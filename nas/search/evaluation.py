"""Networks of a run judged with its shared weights: from genomes to trials."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nas.exits.scores import Scores, scores
from nas.run.context import Context
from nas.run.latency import MODEL_VERSION
from nas.run.supernet import shared_weights
from nas.run.training import training_set
from nas.run.trial import Trial
from nas.search import scoring
from nas.search.problem import BudgetProblem

if TYPE_CHECKING:
    from nas.search.evaluators.supernet import SupernetEvaluator


class Evaluation:
    """Turns genomes into trials with the shared weights; the evaluator is loaded when first needed."""

    def __init__(self, context: Context, problem: BudgetProblem) -> None:
        self._context = context
        self._problem = problem
        self._evaluators: dict[int, Any] = {}
        self._labels = context.data.labels("val")[context.order("val")]

    def scores(self, genome: NDArray[np.int64], images: int) -> Scores:
        """Confidence and correctness at all legal positions, NaN confidence where there is none."""
        images = min(images, len(self._labels))
        if images not in self._evaluators:
            self._evaluators[images] = load_evaluator(self._context, images)
        logits = self._evaluators[images].logits(genome[None])[0]
        return scores(logits, self._labels[:images])

    def trial(self, genome: NDArray[np.int64], batch: int, slot: int, of: int, images: int | None = None) -> Trial:
        """One genome judged on `images` validation images, by default as many as the search uses."""
        problem, experiment = self._problem, self._context.experiment
        cumulative = {target: table.cumulative_s(genome[None]) for target, table in problem.tables.items()}
        violation = problem.violation(cumulative)[0]
        network = self._context.space.decode(genome)
        base = Trial(batch, slot, of, tuple(genome.tolist()), network.key, "infeasible", violation=tuple(violation),
                     budgets=(None,) * len(experiment.budgets), model_version=MODEL_VERSION)  # fmt: skip
        if violation.min() > 0:
            return base
        present = ~np.isnan(cumulative[experiment.target][0])
        found = self.scores(genome, images or experiment.search.images)
        own = Scores(found.confidence[:, present], found.correct[:, present])
        own_cumulative_s = {target: seconds[0, present] for target, seconds in cumulative.items()}
        counts = {
            "params": network.params,
            "macs": network.macs,
            "weight_bytes": network.weight_bytes,
            "peak_memory_bytes": network.peak_memory,
        }
        figures, curve = scoring.metrics(own, own_cumulative_s[experiment.target], counts)
        budgets = scoring.at_budgets(problem, own, own_cumulative_s, violation)
        return replace(base, status="complete", metrics=figures, budgets=budgets, curve=curve)


def load_evaluator(context: Context, images: int) -> SupernetEvaluator:
    """The evaluator that judges networks on the first `images` validation images of the run's order."""
    from nas.search.evaluators.supernet import SupernetEvaluator

    calibration = training_set(context, False).sample(
        context.experiment.search.calibration_images, context.seed("batch-norm")
    )
    validation = context.data.raw_images("val")[context.order("val")[:images]]
    return SupernetEvaluator(
        context.space, shared_weights(context), calibration, validation, context.data.preprocessing.apply
    )
