"""How sure is what is predicted for devices that nothing was measured on, and that no run will measure?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from latency_models.tail import NO_TAIL, UNKNOWN_TAIL
from nas.config.units import format_seconds
from nas.outlook.rehearsal import Rehearsed
from nas.run.verdict import likely
from search_spaces.slots import random_genomes

#: Of so many random networks the middle one is told of.
NETWORKS: Final = 64


def forecasts(found: Rehearsed) -> Iterator[str]:
    """A line per budget whose device nothing was measured on: the middle one of random networks, in the worst case."""
    experiment, space = found.context.experiment, found.context.space
    genomes = random_genomes(space, NETWORKS, np.random.default_rng(0))
    for budget in experiment.budgets:
        target = experiment.target_of(budget)
        belief = found.beliefs[target]
        if belief.here or belief.calibrated or not belief.model.error.devices:
            continue
        # Tables have the order of all, and only one network has to be made.
        one = int(np.argsort(found.problem.tables[target].latency_s(genomes))[NETWORKS // 2])
        tail = NO_TAIL if budget.percentile is None else UNKNOWN_TAIL
        believed = tail.of(belief.model.predict([space.decode(genomes[one])]).believed())
        middle, low, high = (format_seconds(float(believed.quantile_s(q)[0])) for q in (0.5, 0.05, 0.95))
        chance = likely(float(believed.probability_within(budget.latency_s)[0]))
        yield (
            f"{budget.name}: nothing was measured on {target.device}, which is predicted by {belief.basis}; the middle "
            f"one of {NETWORKS} random networks: {middle}; 90 %: {low} to {high}; {chance} within the budget"
        )
