"""The search as a searcher sees it: genomes, budgets and objectives as arrays, without networks or devices.

Where a latency model has additive tables, a million genomes can be judged before one is evaluated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hardware_profiles import Target
from latency_models.additive import Additive
from latency_models.base import SpaceLatency
from latency_models.tail import NO_TAIL, Tail
from nas.config.budget import Budget
from nas.config.settings import Experiment, Objective
from nas.errors import InputError
from nas.run.context import Context
from nas.run.latency import factors_90, load_tables
from nas.run.tails import tails_before
from nas.run.trial import SCORE, AtBudget
from nas.search.features import Features
from nas.search.percentiles import least_images, streamed
from search_spaces.slots import Genomes, SearchSpace, sizes, switched

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class BudgetProblem:
    """Satisfies `searchers.base.Problem` and `searchers.base.Featured` for an experiment.

    `tables` hold the seconds over the space per target: an additive model, or one that predicts networks one by one.

    `safety_margin` per target is the relative error the latency model allows for: a network is taken to keep a budget
    only if it would even when it is that much slower than predicted.
    """

    space: SearchSpace
    experiment: Experiment
    tables: Mapping[Target, SpaceLatency]
    safety_margin: Mapping[Target, float]
    seed: int
    #: Of targets that nothing was measured on: 90 % of them take at most that many times as long, or as short.
    factor_90: Mapping[Target, float] = field(default_factory=dict)
    #: How far above calls in a row lies what decides a budget, by its name; not there for those that are about them.
    tails: Mapping[str, Tail] = field(default_factory=dict)
    #: What models of accuracy know of networks besides genes and latency, if the experiment asks for any of it.
    known: Features | None = None
    #: Of how many images winners may be verified on the test part has no more; None where nobody has looked.
    test_images: int | None = None

    def tail(self, budget: Budget) -> Tail:
        """How far above calls in a row lies what decides a budget."""
        return self.tails.get(budget.name, NO_TAIL)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Number of options of each gene [G]."""
        return sizes(self.space)

    @property
    def ordinal(self) -> NDArray[np.bool_]:
        """Whether the options of each gene have neighbours [G]."""
        return np.array([gene.ordinal for gene in self.space.genes])

    def canonical(self, genomes: Genomes) -> Genomes:
        """Genomes [n, G] with genes that have no effect set to 0."""
        return self.space.canonical(genomes)

    def active(self, genomes: Genomes) -> NDArray[np.bool_]:
        """Whether each gene of canonical genomes [n, G] has an effect there."""
        return self.space.active(genomes)

    def free_objectives(self, genomes: Genomes) -> tuple[Floats, Floats]:
        """Worst-case seconds on the experiment's target [n, 1] and violations [n, budgets] of canonical genomes."""
        cumulative = {target: table.cumulative_s(genomes) for target, table in self.tables.items()}
        return cumulative[self.experiment.target][:, -1:], self.violation(cumulative)

    def features(self, genomes: Genomes) -> Floats:
        """The features that the experiment asks for of canonical genomes [n, features]."""
        return np.empty((len(genomes), 0)) if self.known is None else self.known(genomes)

    def violation(self, cumulative: Mapping[Target, Floats]) -> Floats:
        """How far each network must be from each budget [n, budgets], as a share of the budget; 0 where it may fit.

        `cumulative` has the cumulative seconds at every legal exit [n, positions], NaN where it is off. What thresholds
        can bring a network to (`Budget.lower_bound`) is what counts.
        """
        columns = []
        for budget in self.experiment.budgets:
            target = self.experiment.target_of(budget)
            seconds = self.lower_bound_s(budget, cumulative[target])
            columns.append(np.maximum(seconds * (1 + self.safety_margin[target]) / budget.latency_s - 1, 0.0))
        return np.stack(columns, axis=1)

    def lower_bound_s(self, budget: Budget, cumulative_s: Floats) -> Floats:
        """The least that thresholds can bring a budget to [...], of predicted seconds to exits [..., positions]."""
        return budget.lower_bound(cumulative_s, self.tail(budget), self.leaves_early(budget))

    def leaves_early(self, budget: Budget) -> bool:
        """Whether samples may leave early at a budget; where no answers are looked at, nobody can tell which would."""
        return streamed(self.experiment, budget, self.images) and not self.experiment.search.by_score

    @property
    def images(self) -> int:
        """How many images a winner is verified on."""
        samples = self.experiment.verify.samples
        return samples if self.test_images is None else min(samples, self.test_images)

    def parts(self, genome: NDArray[np.int64], target: Target) -> tuple[Floats, Floats]:
        """Seconds of the body up to each legal exit position [positions], and of each exit itself, were it on.

        An exit's seconds hold its head, its decision and the call that goes on behind it; the final one's its call.
        Raises InputError for a target without tables.
        """
        table = self.additive(target).seconds
        every = switched(self.space, genome, range(len(table.slots)))[None]
        running, body, heads = 0.0, [], []
        for slot, values in zip(table.slots, table.values, strict=True):
            if slot.role == "body":
                running += float(values[slot.index(genome[None])[0]])
            else:
                body.append(running)
                heads.append(float(values[slot.index(every)[0]]))
        return np.array(body), np.array(heads)

    def additive(self, target: Target) -> Additive:
        """The tables of a target; raises InputError where its latency model has none."""
        found = self.tables[target]
        if isinstance(found, Additive):
            return found
        raise InputError(
            f"latency model {self.experiment.latency_model.name} has no tables over space {self.space.name} for "
            f"{target.key}, which this needs: leave search.optimiser out, or give a model whose seconds add up"
        )

    def effective_budget_s(self, budget: Budget) -> float:
        """Predicted seconds of calls in a row that a network may take if it is to keep the budget when measured."""
        return budget.latency_s / self.tail(budget).ratio / (1 + self.safety_margin[self.experiment.target_of(budget)])


def problem_of(context: Context) -> BudgetProblem:
    """The search problem of a run, with the latency model that the run began with."""
    tables, safety_margin = load_tables(context)
    return BudgetProblem(
        context.space,
        context.experiment,
        tables,
        safety_margin,
        context.seed("search"),
        factors_90(context),
        tails_before(context),
        Features(context) if context.experiment.search.features else None,
        len(context.data.splits.test),
    )


def too_few(problem: BudgetProblem) -> Iterator[str]:
    """A sentence for each budget for which images might leave early if there were enough to be sure of how many."""
    experiment = problem.experiment
    for budget in experiment.budgets if len(problem.space.exit_sites) > 1 else ():
        least = least_images(budget)
        if problem.images < least and budget.streamed(experiment.target_of(budget).batch):
            yield (
                f"{budget.name}: {problem.images} images to verify on are too few to tell that {budget.of[1:]} of 100 "
                f"leave early, so all calls pass every exit; {least} are needed (verify.samples, and test images)"
            )


def objective_columns(
    objectives: Sequence[Objective], metrics: Mapping[str, float], at_budgets: Sequence[AtBudget | None]
) -> list[float]:
    """The values a searcher minimises for one network: accuracy as an error per budget, everything else as it is.

    Which accuracy that is, plain or balanced, was decided when the network was judged. In place of the error by a score
    stands a number between 0 and 1 that falls as the score rises. Either is 1 at a budget that the network cannot keep.
    """
    columns: list[float] = []
    for objective in objectives:
        if objective in ("accuracy", "balanced_accuracy"):
            columns += [1.0 if at is None or at.accuracy is None else 1.0 - at.accuracy for at in at_budgets]
        elif objective == "score":
            # Scores have no bounds, and searchers compare finite numbers.
            worse = 0.5 - 0.5 * metrics[SCORE] / (1 + abs(metrics[SCORE]))
            columns += [1.0 if at is None else worse for at in at_budgets]
        else:
            columns.append(metrics[METRIC_OF[objective]])
    return columns


#: The metric of a trial that an objective reads.
METRIC_OF: Mapping[Objective, str] = {
    "worst_case_latency": "worst_case_latency_s",
    "expected_latency": "expected_latency_s",
    "params": "params",
    "macs": "macs",
    "peak_memory": "peak_memory_bytes",
    "weight_bytes": "weight_bytes",
}
