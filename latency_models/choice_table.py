"""Seconds of layer-wise operator choices: a table of layers by operators, and a bias for everything that is fixed.

`lightnas_xavier` is such a table for the LightNAS space on a Jetson AGX Xavier (batch 8, 224x224): an additive fit to
the latency predictor that comes with github.com/stepbuystep/LightNAS (Apache-2.0), 0.013 ms from it on networks that
the fit has not seen. It distils a predictor and is no measurement. A skip is 0 there; the bias holds all 21 of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import IO

import numpy as np

from latency_models.arrays import read_arrays, understood
from latency_models.base import Floats
from search_spaces.slots import Genomes


@dataclass(frozen=True, eq=False)
class ChoiceTable:
    """A network's seconds are `bias_s` plus one entry of `table_s` [layers, operators] per layer.

    `operators` names the columns. Raises ValueError for entries that are not finite or negative, or shapes that don't
    fit.
    """

    table_s: Floats
    bias_s: float
    operators: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.table_s.ndim != 2 or self.table_s.shape[1] != len(self.operators):
            raise ValueError(
                f"a table of layers by {len(self.operators)} operators is needed, got shape {self.table_s.shape}"
            )
        values = np.append(self.table_s, self.bias_s)
        if not np.isfinite(values).all() or (values < 0).any():
            raise ValueError("seconds of a choice table must be finite and not negative")

    def latency_s(self, genomes: Genomes) -> Floats:
        """Seconds of genomes [n, layers], one operator index per layer [n]."""
        layers = np.arange(len(self.table_s))
        return np.asarray(self.bias_s + self.table_s[layers, np.asarray(genomes)].sum(axis=1))


def load_choice_table(file: str | IO[bytes]) -> ChoiceTable:
    """The table of an npz file with `table_ms` [layers, operators], `bias_ms` and `operators`.

    Raises ValueError where one of the three is missing or doesn't fit.
    """
    with understood(f"{file} is no choice table"):
        data = read_arrays(file)
        missing = {"table_ms", "bias_ms", "operators"} - data.keys()
        if missing:
            raise ValueError(f"a choice table needs the array {sorted(missing)[0]!r}; the file has {[*data]}")
        table_ms, bias_ms = np.asarray(data["table_ms"], np.float64), float(data["bias_ms"])
        operators = tuple(str(name) for name in data["operators"])
    return ChoiceTable(table_ms / 1e3, bias_ms / 1e3, operators)


def lightnas_xavier() -> ChoiceTable:
    """LightNAS's space on a Jetson AGX Xavier; the columns are `search_spaces.lightnas.OPERATORS`."""
    with (resources.files("latency_models") / "data" / "lightnas_xavier.npz").open("rb") as file:
        return load_choice_table(file)
