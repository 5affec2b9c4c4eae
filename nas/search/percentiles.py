"""How many images may run on past the exit that decides a percentile, so that a verification will be sure of it?

Few, or none; and where there are too few images to be sure of any share, nobody may leave before the last exit.
"""

from __future__ import annotations

from typing import Final

from nas.config.budget import Budget
from nas.config.settings import Experiment
from nas.devices.timing.plan import single_plan
from nas.exits.percentiles import most_beyond
from nas.run.context import Context

#: That many of which none runs on exclude, with 95 %, that 1 in 100 does. 59 exclude 5 in 100; but then bounds of the
#: 95th percentile hold for all images in 83 of 100 cases only, where 2 to 4 of 100 run on: too few of these are seen.
LEAST_IMAGES: Final = 299


def may_run_on(budget: Budget, n: int, images: int) -> int:
    """How many of n validation images may do so, where `images` others will be drawn from; see `most_beyond`.

    Raises ValueError for a budget of no percentile.
    """
    if budget.percentile is None:
        raise ValueError(f"budget {budget.name!r} is about no percentile")
    plan = single_plan(budget.percentile, budget.every_s)
    return most_beyond(budget.percentile, n, images, plan.size(budget.latency_s), plan.blocks)


def verified_on(context: Context) -> int:
    """How many test images the calls of a verification are drawn from."""
    return min(context.experiment.verify.samples, len(context.data.splits.test))


def streamed(experiment: Experiment, budget: Budget, images: int) -> bool:
    """Whether samples may leave early at a budget whose winner is verified on so many images.

    Of fewer than `least_images` even one where none runs on leaves it open whether too many do.
    """
    return budget.streamed(experiment.target_of(budget).batch) and images >= least_images(budget)


def least_images(budget: Budget) -> int:
    """How many images a percentile takes whose samples leave early; 0 of a budget that is about none."""
    return 0 if budget.percentile is None else LEAST_IMAGES
