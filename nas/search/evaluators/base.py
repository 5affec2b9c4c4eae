"""What an evaluator is: it judges networks of a run on validation images, or ranks them by a score without any."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from nas.exits.scores import Scores


@runtime_checkable
class Evaluator(Protocol):
    """Judges networks; made with the `context` of a run, in whatever process, and a function of the run alone.

    `needs_weights` says whether shared weights are trained before it is asked.
    """

    needs_weights: bool

    def scores(self, genome: NDArray[np.int64], images: int, present: NDArray[np.bool_]) -> Scores:
        """How a network [genes] scores and how right it is [images, exits], on the first images of the run's order.

        `present` says at which positions of `slots.exit_positions` the genome's exits are.
        """


@runtime_checkable
class ScoresEveryExit(Protocol):
    """An evaluator that knows of exits that a network does not have, so that they can be placed by enumeration."""

    def every_exit(self, genome: NDArray[np.int64], images: int) -> Scores:
        """As `scores`, [images, positions], with NaN where the genome can have no exit."""


@runtime_checkable
class KnowsEveryNetwork(Protocol):
    """An evaluator to which accuracies are given, not estimated on images: those of all networks, with one exit each.

    So the best network within a budget is known, and how much worse the one is that a search found: its regret.
    """

    genomes: NDArray[np.int64]

    def accuracy(self, genomes: NDArray[np.int64]) -> NDArray[np.float64]:
        """The accuracies of canonical genomes [n, genes] as fractions [n]; `genomes` are all that there are."""


@runtime_checkable
class Ranking(Protocol):
    """An evaluator without images, in place of `Evaluator`: a score ranks networks, and nothing makes it an accuracy.

    Made as an `Evaluator` is, for experiments whose objective is `score`. It cannot tell how many samples leave at
    which exit, so that such experiments have no budget of the mean over the data.
    """

    needs_weights: bool

    def score(self, genomes: NDArray[np.int64]) -> NDArray[np.float64]:
        """The scores of canonical genomes [n, genes], finite, more is better, in whatever unit [n]."""
