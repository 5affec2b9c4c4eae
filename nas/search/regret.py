"""How much worse the best network is that a search found than the best that there is, where every network is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from nas.run.context import Context
from nas.run.trial import Trial
from nas.search.evaluators.base import Evaluator, KnowsEveryNetwork, Ranking
from nas.search.problem import BudgetProblem


@dataclass(frozen=True)
class Regret:
    """The best of all `networks` within a budget, and how far the best of the `judged` ones is from it.

    Accuracies are fractions; None where the search found nothing within the budget.
    """

    networks: int
    judged: int
    best: float
    found: float | None
    genome: tuple[int, ...]

    def describe(self) -> str:
        """One sentence for people; regret in points."""
        known = f"of {self.networks:,} networks within it the best has {self.best:.2%}"
        if self.found is None:
            return f"{known}; none of {self.judged} that were judged is within it"
        points = 100 * (self.best - self.found)
        return f"{known}, the best of {self.judged} that were judged {self.found:.2%}: regret {points:.2f} points"


def regrets(
    context: Context, problem: BudgetProblem, evaluator: Evaluator | Ranking, trials: Sequence[Trial]
) -> dict[str, dict[str, Any]]:
    """The regret of each budget by name, said and as a record; {} where accuracies are not known but estimated.

    A budget that no network of the space keeps has none.
    """
    if not isinstance(evaluator, KnowsEveryNetwork):
        return {}
    genomes = evaluator.genomes
    accuracy, found = evaluator.accuracy(genomes), {}
    for number, budget in enumerate(context.experiment.budgets):
        table = problem.tables[context.experiment.target_of(budget)]
        within = np.flatnonzero(problem.lower_bound_s(budget, table.cumulative_s(genomes)) <= budget.latency_s)
        if not len(within):
            continue
        best = within[int(accuracy[within].argmax())]
        ours = [trial.worth(number) for trial in trials if trial.budgets[number] is not None]
        regret = Regret(
            len(within), len(trials), float(accuracy[best]), max(ours, default=None), tuple(genomes[best].tolist())
        )
        context.voice.note(f"budget {budget.name}: {regret.describe()}")
        found[budget.name] = asdict(regret)
    return found
