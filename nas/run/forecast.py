"""What is predicted for devices that nothing was measured on: how sure it is, before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from hardware_profiles import HOST, DeviceProfile, Target, load
from hardware_profiles.host import is_here
from hardware_profiles.registry import locate
from latency_models.base import LatencyModel
from nas.config.settings import Experiment
from nas.config.units import format_seconds
from nas.devices import profile_store
from nas.devices.family import with_family_prior
from nas.run.latency import origin
from nas.run.verdict import likely
from search_spaces.slots import SearchSpace, random_genomes

#: Of so many random networks the middle one is told of.
NETWORKS: Final = 64


def forecasts(experiment: Experiment, space: SearchSpace) -> Iterator[str]:
    """A line per budget whose device nothing was measured on: the middle one of random networks, in the worst case."""
    networks = [space.decode(genome) for genome in random_genomes(space, NETWORKS, np.random.default_rng(0))]
    for budget in experiment.budgets:
        target = experiment.target_of(budget)
        profile = None if target.device == HOST else load(target.device)
        if profile is None or _is_measured(experiment, target, profile):
            continue
        spec = experiment.latency_model
        bare: LatencyModel = spec.load()(profile, target, **spec.arguments)
        model = with_family_prior(bare, profile, space)
        if not model.error.devices:
            continue
        believed = model.predict(networks).believed()
        one = int(np.argsort(believed.mean_s)[len(networks) // 2])
        middle, low, high = (format_seconds(float(believed.quantile_s(q)[one])) for q in (0.5, 0.05, 0.95))
        chance = likely(float(believed.probability_within(budget.latency_s)[one]))
        yield (
            f"{budget.name}: nothing was measured on {target.device}, which is predicted by {origin(model.error)}; the "
            f"middle one of {NETWORKS} random networks: {middle}; 90 %: {low} to {high}; {chance} within the budget"
        )


def _is_measured(experiment: Experiment, target: Target, profile: DeviceProfile) -> bool:
    """Whether a run measures the target, takes readings of it, or finds those of `nas profile`."""
    if is_here(profile) or experiment.calibration.measurements is not None:
        return True
    path = locate(target.device)
    return path is not None and next(profile_store.stored(path, target), None) is not None
