"""Scores of many networks of any space: each network once, the mean over several draws of weights and images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hardware_profiles.blas import blas_threads
from nas.errors import InputError
from nas.process.interrupt import stop_if_asked
from nas.process.machine import breathe
from nas.seeds import derive_seed
from nas.zero_cost import measures
from nas.zero_cost.passes import FLOW_INPUT, Passes, Start
from search_spaces.slots import Genomes, SearchSpace

Floats = NDArray[np.float64]

#: Scores by name: of one network, by its combination of every slot.
SCORES: Final[Mapping[str, Callable[[Passes, Start, NDArray[np.int32]], float]]] = {
    "naswot": lambda passes, start, network: measures.naswot(passes.agreement(start, network)),
    "synflow": lambda passes, start, network: measures.synflow(passes.flow(start, network).values(), FLOW_INPUT),
    "jacob_cov": lambda passes, start, network: measures.jacob_cov(passes.jacobian(start, network)),
}


class ZeroCost:
    """Scores of the networks of a space at the exits that come last; what was scored before costs nothing.

    `images` [repeats][n, channels, height, width] are network inputs, the same number in each repeat; `seed` draws the
    weights of each. Raises SpaceError for a space that cannot share weights, InputError for fewer than two images.
    """

    def __init__(
        self, space: SearchSpace, scores: Sequence[str], images: Sequence[NDArray[np.float32]], seed: int
    ) -> None:
        if not images or min(map(len, images)) < 2:
            raise InputError(f"{min(map(len, images), default=0)} images: scores compare images, so give at least 2")
        self.names = tuple(scores)
        self._passes = Passes(space)
        self._starts = [
            self._passes.start(derive_seed(seed, "weights", repeat), batch) for repeat, batch in enumerate(images)
        ]
        self._known: dict[bytes, Floats] = {}

    @blas_threads(1)
    def __call__(self, genomes: Genomes) -> Floats:
        """The scores of genomes [n, genes], which need not be canonical [n, scores]."""
        combinations = self._passes.supernet.choices(self._passes.space.canonical(genomes)).combination
        return np.array([self._scores(combination) for combination in combinations]).reshape(-1, len(self.names))

    def _scores(self, combination: NDArray[np.int32]) -> Floats:
        key = combination.tobytes()
        if key not in self._known:
            stop_if_asked()
            breathe()
            drawn = [[SCORES[name](self._passes, start, combination) for name in self.names] for start in self._starts]
            self._known[key] = np.mean(drawn, axis=0)
        return self._known[key]
