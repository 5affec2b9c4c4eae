"""How few images may run on past the exit that decides a percentile, so that a verification will be sure of it?"""

from __future__ import annotations

from nas.config.budget import Budget
from nas.devices.timing.plan import single_plan
from nas.exits.percentiles import most_beyond


def may_run_on(budget: Budget, n: int, images: int) -> int:
    """How many of n validation images may do so, where `images` others will be drawn from; see `most_beyond`.

    Raises ValueError for a budget of no percentile.
    """
    if budget.percentile is None:
        raise ValueError(f"budget {budget.name!r} is about no percentile")
    plan = single_plan(budget.percentile, budget.every_s)
    return most_beyond(budget.percentile, n, images, plan.size(budget.latency_s), plan.blocks)
