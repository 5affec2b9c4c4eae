"""Can an experiment be carried out, as far as that can be known before anything is measured or trained?

`nas run` asks before it writes its first file, and `nas check` asks the same. What can go wrong later is what only
measuring and training can tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np

from hardware_profiles import Target
from hardware_profiles.host import detect
from latency_models.base import LatencyModel, LooksUp, SpaceLatency
from nas.config.settings import Experiment
from nas.devices.base import DeviceLost
from nas.devices.board.device import Board
from nas.devices.finding import runs_here
from nas.devices.networks import reference_genomes
from nas.devices.profile_store import counting, to_fit
from nas.errors import InputError
from nas.exits.scores import scores
from nas.optimisers.exits_cost import ExpectedExits
from nas.process.boundary import Boundary
from nas.process.events import Voice
from nas.process.files import understood
from nas.run.calibration import borrowed_readings, stored_calibration, uncalibrated
from nas.run.components import making, profile_before
from nas.run.context import Context
from nas.run.folder import RunFolder
from nas.run.latency import origin, over_space, refit, safety_margin_of
from nas.run.layout import RunFiles
from nas.run.opening import Materials, materials
from nas.run.supernet import weights_in
from nas.search.problem import BudgetProblem
from nas.supernet.union import plan
from search_spaces.ir import Network
from search_spaces.operators import ShapeError
from search_spaces.slots import SearchSpace, SpaceError, sizes

#: Every choice of every slot is priced and compared beforehand, at about half a millisecond each.
MOST_CHOICES: Final = 10_000
#: Arrays of its weights' size that a training holds: the weights, their momentum and their gradients.
_COPIES_TRAINED: Final = 3
_FLOAT_BYTES: Final = 4
#: Networks that a model is fitted to beforehand at most, and samples that a policy judges.
_MOST_FITTED: Final = 32
_JUDGED: Final = 4


@dataclass(frozen=True)
class Belief:
    """What is believed of a target's latencies beforehand: the model, and what it rests on in words.

    `here` says whether the target can be measured here, `calibrated` whether it needs no readings any more. `tables`
    are its seconds over the space, None where they are still to be asked for.
    """

    model: LatencyModel
    basis: str
    here: bool
    calibrated: bool
    tables: SpaceLatency | None = None


@dataclass(frozen=True)
class Rehearsed:
    """An experiment whose every part was made: the largest network, and what is believed of each target."""

    context: Context
    materials: Materials
    largest: Network
    beliefs: Mapping[Target, Belief]
    problem: BudgetProblem


def rehearsed(experiment: Experiment) -> Rehearsed:
    """Make every part of an experiment; raises InputError (and the rooms' own) for what could not be carried out."""
    found = materials(experiment)
    space = found.space
    largest = _largest(experiment, space)
    profiles = {target.device: profile_before(target) for target in experiment.targets}
    # Of a run that is not there yet.
    context = Context(experiment, RunFolder.shared(Path()), found.data, space, profiles, Voice())
    _require_scores(context, len(largest.exits))
    _reach(context)
    beliefs = {target: _belief(context, target) for target in experiment.targets}
    problem = _problem(context, beliefs)
    _make_searcher(experiment, problem)
    _require_optimisable(experiment, problem)
    _require_reusable(context)
    return Rehearsed(context, found, largest, beliefs, problem)


def _reach(context: Context) -> None:
    """Ask every board whether it answers and has the runtime; raises InputError where no device of any target does."""
    for target in context.experiment.targets:
        device = context.device(target)
        if isinstance(device, Board):
            try:
                with device.open({}):
                    pass
            except DeviceLost as error:
                context.lost[error.device] = error.reason
    if context.lost and all(context.why_lost(target) is not None for target in context.experiment.targets):
        name, reason = next(iter(context.lost.items()))
        raise InputError(f"{name} {reason}; nothing could be measured: see to it, and give the same command again")


def opened(experiment: Experiment, begun: bool) -> Materials:
    """The data and space of a run that begins, after its rehearsal, or goes on; raises as `rehearsed`."""
    return materials(experiment, begun=True) if begun else rehearsed(experiment).materials


def largest_of(space: SearchSpace) -> Network:
    """The network of the last option of every gene, which is the largest of most spaces."""
    return space.decode(space.canonical(sizes(space)[None] - 1)[0])


def _largest(experiment: Experiment, space: SearchSpace) -> Network:
    """The largest network of the space; refuses a space that cannot be priced, shared, or held in memory."""
    choices = sum(int(np.prod([float(size) for size in slot.sizes])) for slot in space.slots)
    if choices > MOST_CHOICES:
        raise InputError(
            f"space: {space.name} has {choices:,} choices in its slots, each of which is priced, and {MOST_CHOICES:,} "
            "are the most; give fewer options, widths or depths"
        )
    with making("space", space.name, SpaceError, ShapeError):
        space.decode(space.canonical(np.zeros((1, len(space.genes)), np.int64))[0])
        largest = largest_of(space)
    _require_memory(experiment, space, largest)
    if experiment.search.needs_weights or experiment.search.scored:
        with making("space", space.name, SpaceError, ShapeError):
            sites = iter(space.exit_sites)
            for slot in space.slots:
                plan(slot, None if slot.role == "body" else next(sites))
    return largest


def _require_memory(experiment: Experiment, space: SearchSpace, largest: Network) -> None:
    """Refuse weights and calls that this machine's memory cannot hold, whatever else there is."""
    memory = detect(measure=False).memory_bytes.value
    weights = _COPIES_TRAINED * largest.weight_bytes
    if experiment.search.needs_weights and weights > memory:
        raise InputError(
            f"space: training the largest network needs {_gib(weights)} for its {largest.params:,} weights, and this "
            f"machine has {_gib(memory)}: give smaller widths, or fewer blocks"
        )
    image = _FLOAT_BYTES * int(np.prod(space.input_shape))
    batches = [("winners.batch_size", experiment.winners.batch_size, image)]
    if experiment.search.needs_weights:
        batches.append(("supernet.batch_size", experiment.supernet.batch_size, largest.peak_memory))
    measures = experiment.calibration.networks > 0 and experiment.calibration.measurements is None
    for target in experiment.targets:
        # The largest network is among those that are measured first, where the device is here.
        every = measures and runs_here(target, profile_before(target))
        batches.append(("target.batch", target.batch, largest.peak_memory if every else image))
    for key, batch, bytes_each in batches:
        if batch * bytes_each > memory:
            raise InputError(
                f"{key} is {batch}: one batch needs {_gib(batch * bytes_each)} at least, and this machine has "
                f"{_gib(memory)}; give a smaller one"
            )


def _gib(size: float) -> str:
    return f"{size / 2**30:,.1f} GiB"


def _belief(context: Context, target: Target) -> Belief:
    """The latency model of a target as it would be before anything is measured, tried as a run would use it."""
    experiment, space = context.experiment, context.space
    here = context.device(target) is not None
    with making("latency_model", experiment.latency_model.name, ValueError):
        bare = uncalibrated(context, target)
        if isinstance(bare, LooksUp):
            bare.by_genome(space)
        tables = bare.additive(space)
        _require_stored(experiment, bare)
    if experiment.search.optimiser is not None and tables is None:
        raise InputError(
            f"search.optimiser: latency model {experiment.latency_model.name} has no tables over space {space.name} "
            f"for {target.key}, and a differentiable search needs them; leave the optimiser out, or give a model whose "
            "seconds add up"
        )
    borrowed = borrowed_readings(experiment, space, target)
    if borrowed is not None:
        with Boundary(f"calibration.measurements: latency_model {experiment.latency_model.name} cannot be fitted to "
                      f"the readings of {target.key}", ValueError):  # fmt: skip
            fitted = refit(context, bare, to_fit(counting(borrowed)))
        return Belief(fitted, f"{len(borrowed)} readings of another run", here, True)
    stored = stored_calibration(experiment, space, target, here)
    if stored is not None:
        return Belief(stored.model, stored.statement, here, True)
    if here and experiment.calibration.networks > 0:
        _require_fit(context, bare)
    return Belief(bare, origin(bare.error), here, False, tables)


def _require_stored(experiment: Experiment, model: LatencyModel) -> None:
    """Write and read a model as the run will."""
    kind: Any = experiment.latency_model.load()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.npz"
        with path.open("wb") as file:
            model.save(file)
        kind.load(path)


def _require_fit(context: Context, bare: LatencyModel) -> None:
    """Fit the model to as many networks as will be measured, by seconds that are made up."""
    space, wanted = context.space, min(context.experiment.calibration.networks, _MOST_FITTED)
    networks = [space.decode(genome) for genome in reference_genomes(space, wanted, context.seed("rehearsal"))]
    # As a run has them: seconds up to each exit, NaN where a network has none.
    seconds = np.full((len(networks), max(len(network.exits) for network in networks)), np.nan)
    for row, network in zip(seconds, networks, strict=True):
        row[: len(network.exits)] = 1e-9 * (network.macs + 1e4) * np.linspace(0.5, 1, len(network.exits))
    with Boundary(
        f"latency_model: {context.experiment.latency_model.name} cannot be fitted to {len(networks)} networks, as many "
        "as calibration.networks allows", ValueError
    ):  # fmt: skip
        bare.fit(networks, seconds)


def _require_scores(context: Context, exits: int) -> None:
    """Let the exit policy judge logits of as many exits and classes as the largest network has."""
    shape = (_JUDGED, exits, context.space.classes)
    logits = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    name = context.experiment.exit_policy.name
    with Boundary(f"exit_policy: {name} cannot judge {exits} exits of {context.space.classes} classes", InputError):
        policy = context.experiment.policy
        found = scores(policy, logits, np.zeros(_JUDGED, np.int32))
        state = policy.start()
        for exit_ in range(exits):
            state, score = policy.step(state, {"logits": logits[:1, exit_]})
            if not np.isfinite([score, *found.confidence[:, exit_]]).all():
                raise InputError(f"the score of exit {exit_} is not finite; see `nas check` on it")


def _problem(context: Context, beliefs: Mapping[Target, Belief]) -> BudgetProblem:
    tables: dict[Target, SpaceLatency] = {}
    margins = {}
    for target, belief in beliefs.items():
        tables[target] = over_space(belief.model, context.space) if belief.tables is None else belief.tables
        margins[target] = safety_margin_of(belief.model.error)
    test_images = len(context.data.splits.test)
    return BudgetProblem(
        context.space, context.experiment, tables, margins, context.seed("search"), test_images=test_images
    )


def _make_searcher(experiment: Experiment, problem: BudgetProblem) -> None:
    spec = experiment.search.searcher
    with making("search.searcher", spec.name):
        spec.load()(problem, **spec.arguments)


def _require_optimisable(experiment: Experiment, problem: BudgetProblem) -> None:
    """Refuse a space without decisions, and a budget of the mean over exits that the optimiser cannot be given."""
    if experiment.search.optimiser is None:
        return
    if not problem.space.genes:
        raise InputError(
            f"search.optimiser: space {problem.space.name} has one network and nothing to decide; leave the optimiser "
            "out, or give several widths, depths or options"
        )
    for budget in experiment.budgets:
        early = len(problem.space.exit_sites) - 1
        if not budget.needs_thresholds or not early:
            continue
        try:
            ExpectedExits(
                problem.additive(experiment.target_of(budget)).seconds, problem.space.exit_sites, [0.5] * early
            )
        except ValueError as error:
            raise InputError(
                f"search.optimiser: budget {budget.name} is a mean over the data, and space {problem.space.name} is "
                f"not suited for that: {error}; give a budget of the worst case, or leave the optimiser out"
            ) from error


def _require_reusable(context: Context) -> None:
    """Load the shared weights of another run as this one will."""
    if context.experiment.supernet.reuse is None or not context.experiment.search.needs_weights:
        return
    source = RunFiles(Path(context.experiment.supernet.reuse))
    with understood(f"supernet.reuse: {source.supernet}", "leave the key out"):
        weights_in(source.supernet, context.space)
