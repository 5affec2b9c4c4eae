"""A latency model without tables over a space: each network is decoded and predicted, and remembered by its genome.

It stands where `additive.Additive` would and is some thousand times slower, so a search screens few networks with it.
"""

from __future__ import annotations

import numpy as np

from hardware_profiles import Target
from latency_models.base import Floats, LatencyModel
from search_spaces.ir import Network
from search_spaces.slots import Genomes, SearchSpace, exit_positions

#: So many genomes are remembered before all are forgotten: a row is a few hundred bytes.
_KEPT = 200_000


class Untabled:
    """What a model predicts of the networks of a space; methods take canonical genomes [n, genes]."""

    def __init__(self, space: SearchSpace, model: LatencyModel) -> None:
        self._space, self._model = space, model
        self._exits = [space.slots[position].name for position in exit_positions(space)]
        self._known: dict[bytes, Floats] = {}

    @property
    def target(self) -> Target:
        """What the seconds hold for."""
        return self._model.target

    def cumulative_s(self, genomes: Genomes) -> Floats:
        """Seconds up to each exit position, the final one last [n, positions]; NaN where that exit is off."""
        rows = np.ascontiguousarray(genomes, np.int64)
        keys = [row.tobytes() for row in rows]
        if len(self._known) > _KEPT:
            self._known.clear()
        new = {key: row for key, row in zip(keys, rows, strict=True) if key not in self._known}
        if new:
            networks = [self._space.decode(row) for row in new.values()]
            predicted = self._model.predict(networks).cumulative_s()
            for key, network, cumulative in zip(new, networks, predicted, strict=True):
                self._known[key] = self._at_positions(network, cumulative)
        found = [self._known[key] for key in keys]
        return np.array(found, np.float64).reshape(len(rows), len(self._exits))

    def latency_s(self, genomes: Genomes) -> Floats:
        """Worst-case seconds [n]."""
        return self.cumulative_s(genomes)[:, -1]

    def _at_positions(self, network: Network, cumulative_s: Floats) -> Floats:
        """Seconds up to a network's own exits, at the positions of the space [positions]."""
        row = np.full(len(self._exits), np.nan)
        for number, index in enumerate(network.exits):
            name = network.ops[index].name
            row[next(place for place, slot in enumerate(self._exits) if name.startswith(f"{slot}."))] = cumulative_s[
                number
            ]
        return row
