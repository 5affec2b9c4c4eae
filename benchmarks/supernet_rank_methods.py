"""What ranks networks in `supernet_rank.py`: each method says how good it takes every network of the table to be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray
from supernet_rank_beside import darts, without_training
from supernet_rank_runs import Control

from hardware_profiles import Target
from hardware_profiles import load as load_profile
from latency_models.additive import Tables
from latency_models.additive import compile as compile_tables
from latency_models.roofline import Roofline
from nas.config.registry import load
from nas.optimisers import OPTIMISERS
from nas.searchers.surrogate import Encoding, Points, Surrogate, normal_scores
from nas.seeds import derive_seed
from nas.zero_cost.scoring import SCORES
from search_spaces.nasbench201 import OPERATORS, CellSpace
from search_spaces.slots import Genomes, sizes

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Found:
    """What a method says: scores of all networks of the table [n], NaN where it says nothing, what it derives, which
    is that of the best score unless given as a canonical genome, and the CPU seconds it took."""

    scores: Floats
    cpu_s: float
    derived: NDArray[np.int64] | None = None


@dataclass(frozen=True, eq=False)
class Unbounded:
    """The space as an optimiser sees it (`nas.optimisers.base.Problem`), multiply-adds for seconds and no budget."""

    space: CellSpace
    macs: Tables
    seed: int

    @property
    def sizes(self) -> NDArray[np.int64]:
        return sizes(self.space)

    @cached_property
    def ordinal(self) -> NDArray[np.bool_]:
        return np.zeros(len(self.space.genes), np.bool_)

    def canonical(self, genomes: Genomes) -> Genomes:
        return self.space.canonical(genomes)

    def active(self, genomes: Genomes) -> NDArray[np.bool_]:
        return self.space.active(genomes)

    def free_objectives(self, genomes: Genomes) -> tuple[Floats, Floats]:
        return self.macs.total(genomes)[:, None], np.zeros((len(genomes), 0))


def multiply_adds(space: CellSpace) -> Tables:
    """Multiply-adds of the networks of a space, as tables."""
    model = Roofline(load_profile("raspi4"), Target("rpi4b", "onnxruntime"))
    return compile_tables(space, model).tables("macs")


def macs(control: Control) -> Found:
    """More multiply-adds are better; edges that lead nowhere are counted, as the benchmark's networks compute them."""
    cost = np.array([{"nor_conv_1x1": 1.0, "nor_conv_3x3": 9.0}.get(name, 0.0) for name in OPERATORS])
    return Found(cost[control.genomes].sum(axis=1), 0.0)


def macs_in_use(control: Control) -> Found:
    """The same, and edges that lead nowhere cost nothing, as in our networks."""
    return Found(multiply_adds(control.space).total(control.space.canonical(control.genomes)), 0.0)


def with_macs(control: Control, method: str) -> Found:
    """The mean of two rankings: that of a method and that of multiply-adds in use."""
    found, count = METHODS[method](control), macs_in_use(control).scores
    known = ~np.isnan(found.scores)
    scores = np.full(len(count), np.nan)
    scores[known] = normal_scores(found.scores[known]) + normal_scores(count[known])
    return Found(scores, found.cpu_s)


def at_random(control: Control) -> Found:
    """No opinion."""
    return Found(np.zeros(len(control.genomes)), 0.0)


def untrained(control: Control, score: str) -> Found:
    """A score of untrained networks."""
    return Found(*without_training(control, score))


def with_scores(control: Control, method: str, macs: bool = False) -> Found:
    """The mean of the rankings by a method, each score of untrained networks, and multiply-adds in use if `macs`."""
    found = [METHODS[name](control) for name in (method, *SCORES, *(["macs in use"] if macs else []))]
    known = control.chosen
    scores = np.full(len(control.genomes), np.nan)
    scores[known] = np.sum([normal_scores(each.scores[known]) for each in found], axis=0)
    return Found(scores, sum(each.cpu_s for each in found))


def one_by_one(control: Control, by: str) -> Found:
    """The networks drawn, judged with the shared weights: right answers, or less cross-entropy."""
    scores = np.full(len(control.genomes), np.nan)
    scores[control.chosen] = control.judged["accuracy"] if by == "accuracy" else -control.judged["loss"]
    return Found(scores, control.clock.spent_s("training", "judging"))


def predicted(control: Control, method: str) -> Found:
    """What the surrogate expects of every network after what a method says of those drawn."""
    found = METHODS[method](control)
    known = found.scores[control.chosen]
    control.clock.start()
    space, genomes = control.space, control.space.canonical(control.genomes)
    feature = np.log1p(multiply_adds(space).total(genomes))[:, None]
    code = Encoding(sizes(space), np.zeros(len(space.genes), np.bool_))
    points = Points(code(genomes), ((feature - feature.mean()) / feature.std()).astype(np.float32))
    model, target = Surrogate(code, len(space.genes), 1), normal_scores(-known)
    model.learn(points[control.chosen], target)
    model.condition(points[control.chosen], target[:, None])
    scores = -model.mean(points)[:, 0]
    part = f"predictor, {method}"
    control.clock.book(part)
    return Found(scores, found.cpu_s + control.clock.spent_s(part))


def optimised(control: Control, name: str) -> Found:
    """What an optimiser learns on the images kept for architecture with weights that stay, where no budget binds."""
    from nas.optimisers.base import ByGradients, Loss, total
    from nas.optimisers.cost import of_tables
    from nas.optimisers.gated import GatedLoss, GatedNetworks
    from nas.optimisers.sampled import SampledLoss, SampledNetworks

    weights = control.weights
    control.clock.start()
    tables = multiply_adds(control.space)
    problem = Unbounded(control.space, tables, derive_seed(control.seed, name))
    genomes = control.space.canonical(control.genomes)
    optimiser = load(OPTIMISERS[name])()
    search = optimiser.begin(problem, of_tables(tables), 2 * float(tables.total(genomes).max()))
    data = control.training_set("arch", False)
    networks = SampledNetworks(control.space, weights, data, 128, derive_seed(control.seed, name, "images"))
    loss: Loss = SampledLoss(networks, lambda genome: np.ones(1, np.bool_))
    if isinstance(optimiser, ByGradients):
        loss = GatedLoss(GatedNetworks(networks), problem)
    for step in range(search.steps):
        genome = search.sample(step)
        search.update(genome, step, loss(genome, step))
    result = search.result()
    control.clock.book(name)
    return Found(
        total(problem, result.preference, genomes), control.clock.spent_s("training", name), result.proposals[0]
    )


METHODS: dict[str, Callable[[Control], Found]] = {
    "macs": macs,
    "macs in use": macs_in_use,
    "random": at_random,
    **{name: partial(untrained, score=name) for name in SCORES},
    "supernet": partial(one_by_one, by="accuracy"),
    "supernet, by loss": partial(one_by_one, by="loss"),
    "supernet+predictor": partial(predicted, method="supernet"),
    "supernet+predictor, by loss": partial(predicted, method="supernet, by loss"),
    "supernet+macs": partial(with_macs, method="supernet, by loss"),
    "supernet+predictor+macs": partial(with_macs, method="supernet+predictor, by loss"),
    "supernet+zero-cost": partial(with_scores, method="supernet, by loss"),
    "supernet+macs+zero-cost": partial(with_scores, method="supernet, by loss", macs=True),
    "supernet+macs+zero-cost+predictor": partial(predicted, method="supernet+macs+zero-cost"),
    **{name: partial(optimised, name=name) for name in OPTIMISERS},
    "darts": lambda control: Found(*darts(control)),
}
