"""About how much computing and memory does a run take? Estimates, and no more: nothing is compiled or trained for them.

Training is counted in floating-point operations of the largest network, forward and backward, but for networks that
every step trains: those run at their own size. What is measured takes as long as its plan says.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, Final

import numpy as np

from nas.config.budget import Budget
from nas.config.settings import Experiment
from nas.devices.networks import BLOCKS, BLOCK_S
from nas.devices.timing.plan import single_plan
from nas.optimisers.base import BATCH, ByGradients
from nas.optimisers.differentiable import ByLossRegression
from nas.outlook.rehearsal import Rehearsed, largest_of
from nas.supernet.sampling import Sandwich
from nas.tasks.image_classification.source import Source, View
from nas.tolerances import KEPT_BLOCKS
from search_spaces.ir import Network
from search_spaces.slots import SearchSpace, sizes

#: A step of training costs about three forward passes.
_STEP: Final = 3
#: Times that the plan of a reading is carried out: to warm up, and beside probes and repetitions.
_READING: Final = 2.0
#: Seconds per winner that are no readings: rest between rounds, and single calls.
_BESIDES_S: Final = 10.0
#: What compiling takes per operator of the largest network, for each program: those of the shared weights train and
#: judge, that of each winner trains.
_COMPILING_S: Final = 0.1
_SHARED_PROGRAMS: Final = 1.5
#: What Python, JAX and ONNX Runtime take before they compute, in bytes.
_PROGRAMS: Final = 0.9e9
#: Copies of the weights (with momentum, gradients and a checkpoint), and of a batch's activations in training.
_WEIGHT_COPIES: Final = 4
_ACTIVATION_COPIES: Final = 2.5
_FLOAT_BYTES: Final = 4
#: What the training of the shared weights is called.
SHARED_WEIGHTS: Final = "shared weights"


@dataclass(frozen=True)
class Training:
    """Something that trains or judges: its floating-point operations, and seconds that it may take at most, if any."""

    what: str
    flops: float
    most_s: float | None = None

    def seconds(self, flops_per_s: float) -> float:
        """How long it takes at a rate."""
        needed = self.flops / flops_per_s
        return needed if self.most_s is None else min(needed, self.most_s)


@dataclass(frozen=True)
class Effort:
    """What a run takes: trainings, seconds of compiling and measuring, bytes of memory, and what is in none of them."""

    trainings: tuple[Training, ...]
    compiling_s: float
    measuring_s: float
    memory_bytes: float
    left_out: tuple[str, ...] = ()

    def seconds(self, flops_per_s: float) -> float:
        """Seconds of it all at a rate of training."""
        return self.compiling_s + self.measuring_s + sum(training.seconds(flops_per_s) for training in self.trainings)


def step_flops(experiment: Experiment, space: SearchSpace) -> float:
    """Operations of one step of training the shared weights."""
    sampler = Sandwich(space, experiment.supernet.random_subnets)
    drawn = len(sampler.draw(np.random.default_rng(0), 0))
    flops = sum(space.decode(genome).flops for genome in sampler.fixed) + drawn * largest_of(space).flops
    return float(experiment.supernet.batch_size * _STEP * flops)


def effort_of(found: Rehearsed) -> Effort:
    """The effort of an experiment."""
    experiment, data, largest = found.context.experiment, found.materials.data, found.largest
    budgets, images = len(experiment.budgets), len(data.splits.train)
    trainings = []
    if experiment.search.needs_weights and experiment.supernet.reuse is None:
        steps = experiment.supernet.epochs * (images // experiment.supernet.batch_size)
        flops = steps * step_flops(experiment, found.context.space)
        trainings.append(Training(SHARED_WEIGHTS, flops, experiment.supernet.max_time_s))
    optimised, left_out = _optimising(experiment, found.context.space, images, largest)
    if optimised:
        trainings.append(Training("optimiser", optimised))
    judged, beside = _judging(experiment, images, len(data.splits.val), largest)
    left_out = (*left_out, *beside)
    trainings.append(Training("search", judged))
    winners = experiment.winners
    each = winners.epochs * (images // winners.batch_size) * winners.batch_size * _STEP * largest.flops
    most_s = None if winners.max_time_s is None else budgets * winners.max_time_s
    trainings.append(Training("winners", float(budgets * each), most_s))
    shared = experiment.search.needs_weights or experiment.search.by_score or experiment.search.scored
    programs = budgets + (_SHARED_PROGRAMS if shared else 0)
    compiling_s = _COMPILING_S * len(largest.ops) * programs
    return Effort(tuple(trainings), compiling_s, _measuring_s(found), _memory_bytes(found), left_out)


def _optimising(
    experiment: Experiment, space: SearchSpace, arch: int, largest: Network
) -> tuple[float, tuple[str, ...]]:
    """Operations of the searches of an optimiser of ours, one for each budget, and what is not counted."""
    spec = experiment.search.optimiser
    if spec is None:
        return 0.0, ()
    optimiser = spec.load()(**spec.arguments)
    if not isinstance(optimiser, ByLossRegression):
        return 0.0, (f"the search of the optimiser {spec.name}",)
    passes = _STEP if isinstance(optimiser, ByGradients) else 1
    networks = len(experiment.budgets) * optimiser.networks(sizes(space))
    return float(networks * min(BATCH, arch) * passes * largest.flops), ()


def _judging(experiment: Experiment, train: int, val: int, largest: Network) -> tuple[float, tuple[str, ...]]:
    """Operations of judging networks, and what of the search is not counted."""
    search = experiment.search
    left_out: tuple[str, ...] = ()
    if search.scored:
        left_out += (f"the {' and '.join(search.scored)} of networks that are not judged",)
    spec, kind = search.evaluator, search.evaluator.load()
    ours = spec.reference.startswith("nas.")
    if getattr(kind, "needs_weights", False) and ours:
        looked_at = min(search.images, val) + min(search.calibration_images, train)
        again = len(experiment.budgets) * experiment.winners.candidates * val
        return float((search.evaluations * looked_at + again) * largest.flops), left_out
    if search.by_score and ours:
        images: Any = spec.arguments["images"]
        repeats: Any = spec.arguments["repeats"]
        return float(search.evaluations * repeats * images * _STEP * largest.flops), left_out
    epochs: Any = spec.arguments.get("epochs")
    if ours:
        return float(search.evaluations * (epochs or 0) * train * _STEP * largest.flops), left_out
    return 0.0, (*left_out, f"the evaluator {spec.name}")


def _measuring_s(found: Rehearsed) -> float:
    experiment, exits = found.context.experiment, len(found.largest.exits)
    verify, seconds = experiment.verify, 0.0
    for target, belief in found.beliefs.items():
        if not belief.here:
            continue
        budgets = [budget for budget in experiment.budgets if experiment.target_of(budget) == target]
        if not belief.calibrated:
            seconds += _READING * experiment.calibration.networks * exits * BLOCKS * BLOCK_S
        read = len(budgets) * (experiment.winners.attempts + 1)
        seconds += _READING * read * exits * verify.blocks * verify.block_time_s
        # Rest between rounds, and single calls; more of these where they decide.
        seconds += _BESIDES_S * len(budgets) + sum(
            _single_s(budget, exits > 1 and budget.streamed(target.batch)) for budget in budgets
        )
    return seconds


def _single_s(budget: Budget, streamed: bool) -> float:
    """About the seconds of single calls that a percentile decides by, to calibrate, verify, and settle thresholds."""
    if budget.percentile is None:
        return 0.0
    plan = single_plan(budget.percentile, budget.every_s)
    blocks = 2 * plan.blocks + (KEPT_BLOCKS if streamed else 0)
    return blocks * plan.size(0.0) * (budget.every_s or budget.latency_s)


def _memory_bytes(found: Rehearsed) -> float:
    experiment, raw, largest = found.context.experiment, found.materials.data.raw, found.largest
    held = sum(_held_bytes(part) for part in (raw.train_x, raw.test_x))
    activations = sum(prod(op.shape) for op in largest.ops) * _FLOAT_BYTES
    batch = max(experiment.supernet.batch_size, experiment.winners.batch_size)
    judged = min(experiment.search.images, len(found.materials.data.splits.val))
    prepared = judged * prod(found.context.space.input_shape) * _FLOAT_BYTES
    training = _ACTIVATION_COPIES * batch * activations + _WEIGHT_COPIES * largest.weight_bytes
    return _PROGRAMS + held + training + prepared


def _held_bytes(images: Source) -> float:
    """What images take in memory; nothing where they are read from disk as they are needed."""
    if isinstance(images, View | np.memmap) or isinstance(images.base, np.memmap):
        return 0.0
    return float(images.nbytes)
