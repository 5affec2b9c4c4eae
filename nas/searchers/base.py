"""What a searcher is and all that it knows: arrays of integers, and a problem that can screen them for free.

A genome is a row of integers, one per gene. Every objective is minimised. A violation is 0 where a budget is kept; a
genome counts as feasible if it keeps at least one of its budgets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Genomes = NDArray[np.integer[Any]]
Values = NDArray[np.floating[Any]]


class Problem(Protocol):
    """What is searched: sizes [G] is the number of options of each gene, ordinal [G] whether they have neighbours."""

    @property
    def sizes(self) -> Genomes: ...

    @property
    def ordinal(self) -> NDArray[np.bool_]: ...

    @property
    def seed(self) -> int: ...

    def canonical(self, genomes: Genomes) -> Genomes:
        """Map genomes [n, G] that mean the same network to one representative [n, G]."""
        ...

    def free_objectives(self, genomes: Genomes) -> tuple[Values, Values]:
        """The free objectives [n, m] and the violation [n, budgets] of canonical genomes."""
        ...


@runtime_checkable
class Listed(Protocol):
    """A problem that can name all of its genomes, such as a table of measured networks."""

    @property
    def listed(self) -> Genomes:
        """Every canonical genome [N, G], once."""
        ...


@runtime_checkable
class Featured(Protocol):
    """A problem that knows more of a genome than its free objectives, at a small part of the cost of judging it."""

    def features(self, genomes: Genomes) -> Values:
        """Finite numbers that tell canonical genomes [n, G] apart, as many of each [n, F]; F may be 0."""
        ...


class Searcher(Protocol):
    """A search whose state is a function of the seed and the batches told, so that replaying a log resumes it.

    It is built from (problem). `nas check my_module:MySearcher` runs the laws in `nas.testing.searcher`.
    """

    @property
    def wants_prior(self) -> bool:
        """Whether it takes a prior if there is one, and is then a `TakesPrior`; a class attribute will do."""
        ...

    def ask(self, n: int) -> Genomes:
        """At most n canonical genomes, none asked or told before; fewer or none once the space is exhausted."""
        ...

    def tell(self, genomes: Genomes, values: Values, violation: Values) -> None:
        """Hear objectives [n, m] and violation [n, budgets] of genomes; a value that is not finite: it failed."""
        ...


@runtime_checkable
class TakesPrior(Searcher, Protocol):
    """A searcher that can begin from what an optimiser learned before it."""

    def take_prior(self, probabilities: Sequence[Sequence[float]], proposals: int) -> None:
        """Take the probabilities of the options of each gene [G][options]; called once, before anything is asked.

        `proposals` networks that are much alike will be judged and told first; a model needs to see others as well.
        """
        ...


def least_violation(violation: Values) -> NDArray[np.float64]:
    """How far each genome is from keeping its nearest budget [n], of violation [n, budgets]; 0 is feasible.

    Without budgets everything is feasible; a violation that is nan counts as infinite.
    """
    if violation.shape[1] == 0:
        return np.zeros(len(violation))
    nearest: NDArray[np.float64] = np.where(np.isnan(violation), np.inf, violation).min(axis=1)
    return np.maximum(nearest, 0.0)
