"""What an optimiser is, and what it needs to know: arrays, a loss of one sampled network, and what networks cost.

It isn't bent into ask and tell: it sees one sampled network at a time, thousands of them, and leaves a distribution
over the choices of every gene beside its proposals; that distribution is a prior for a searcher. All arrays over
choices are [genes, options], wide enough for the gene with most options; `legal` says which entries there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol, TypeGuard, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from nas.searchers import base as searched
from nas.searchers.base import Genomes

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: Images that one sampled network is evaluated on, as far as there are so many.
BATCH: Final = 128


class Problem(searched.Problem, Protocol):
    """What a searcher sees, and which genes have an effect."""

    def active(self, genomes: Genomes) -> Bools:
        """Whether each gene of canonical genomes [n, genes] has an effect there [n, genes]."""
        ...


@dataclass(frozen=True, eq=False)
class Feedback:
    """What one sampled network says: its loss on a batch and, if there are any, the gradients of choices.

    Every option has a gate, one where it is chosen and zero elsewhere; `gradient` [genes, options] is the derivative of
    the loss by each gate, and `seen` [genes, options] says which of them are known: the others are 0.
    """

    loss: float
    gradient: Floats | None = None
    seen: Bools | None = None

    def __post_init__(self) -> None:
        if (self.gradient is None) != (self.seen is None):
            raise ValueError("a gradient and what is known of it belong together")


class Loss(Protocol):
    """The loss of the network that a genome [genes] selects, on a batch of data kept for architecture alone."""

    def __call__(self, genome: Ints, step: int) -> Feedback: ...


class Cost(Protocol):
    """Seconds of networks; `cost.Additive` is the kind that is a sum of tables."""

    def seconds(self, genomes: Genomes) -> Floats:
        """Seconds of canonical genomes [n, genes] -> [n]."""
        ...


@runtime_checkable
class Smooth(Cost, Protocol):
    """A cost whose mean over networks is known, every gene drawn on its own."""

    def expected(self, probabilities: Floats) -> float:
        """Mean seconds for probabilities [genes, options]."""
        ...

    def marginal(self, probabilities: Floats) -> Floats:
        """The derivative of `expected` by each probability [genes, options]."""
        ...


@dataclass(frozen=True, eq=False)
class SearchResult:
    """What an optimiser leaves.

    `proposals` [n, genes] are canonical genomes within the limit and `seconds` [n] their cost; the first is the answer.
    `probabilities` [genes, options] is the distribution over choices, 0 where there is no option; `preference` says
    how much each choice lowers the loss, in units of the usual difference between choices, latency left out. `before`
    [genes] is the most probable network before the limit was enforced, and `before_s` its seconds. `report` has figures
    for people: the price of a second, entropy.
    """

    proposals: Ints
    seconds: Floats
    probabilities: Floats
    preference: Floats
    before: Ints
    before_s: float
    report: Mapping[str, float]


class Steps(Protocol):
    """A search under way; a function of its arguments, `problem.seed` and what it heard."""

    @property
    def steps(self) -> int:
        """How many networks it asks for."""
        ...

    def sample(self, step: int) -> Ints:
        """The canonical network [genes] to evaluate at a step, from 0."""
        ...

    def update(self, genome: Ints, step: int, feedback: Feedback) -> None:
        """Learn from the feedback on a genome."""
        ...

    def state(self) -> dict[str, Floats]:
        """All that has been learned, for `restore` into a search begun with the same arguments."""
        ...

    def restore(self, state: Mapping[str, Floats]) -> None:
        """Go on from a `state`."""
        ...

    def result(self) -> SearchResult:
        """The networks derived from what has been learned; raises NothingFits."""
        ...


class ArchitectureOptimiser(Protocol):
    """Minimises a loss over the choices of a problem's genes under a limit on the cost."""

    def begin(self, problem: Problem, cost: Cost, limit_s: float) -> Steps:
        """A search for one limit; raises NothingFits where it is known at once that no network keeps it."""
        ...


@runtime_checkable
class ByGradients(ArchitectureOptimiser, Protocol):
    """An optimiser whose losses come with gradients.

    It searches in turns with the training of the weights during the last `share` of that, from 0 to 1; 0 is after it.
    Its searches are then asked for samples beyond their last step, too: networks that the weights are trained for.
    """

    @property
    def share(self) -> float: ...


def in_turns(optimiser: object) -> TypeGuard[ByGradients]:
    """Whether an optimiser searches in turns with the training of the weights."""
    return isinstance(optimiser, ByGradients) and optimiser.share > 0


def legal(problem: Problem) -> Bools:
    """Which entries [genes, options] are options."""
    sizes = np.asarray(problem.sizes, np.int64)
    return np.asarray(np.arange(int(sizes.max())) < sizes[:, None])


def total(problem: Problem, preference: Floats, genomes: Genomes) -> Floats:
    """The preference of canonical genomes [n]: the sum over genes that have an effect there."""
    chosen = preference[np.arange(genomes.shape[1]), genomes]
    return np.asarray(np.where(problem.active(genomes), chosen, 0.0).sum(axis=1))
