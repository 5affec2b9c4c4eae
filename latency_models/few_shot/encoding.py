"""Networks as matrices: what the latency of a network is a sum of, and how alike two networks are.

Two makers of the same thing. An integer encoding [n, positions] (NAS-Bench-201's six edges, FBNet's layers, depths and
kernel sizes of a supernet) becomes one column per position and value. A feature matrix [n, columns] of non-negative
floats (roofline seconds of an IR network, say) is taken as it is. Columns belong to groups: the same value at positions
that share an alphabet is one group, an operator; a feature is a group of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from latency_models.base import Floats

Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Encoding:
    """The columns that a pool of networks has; built by `encode`.

    `kind` is "ops" or "features". For ops, `position` and `value` [columns] say what each column stands for, and
    `group` [columns] its operator. For features, `scale` [columns] is the mean of each over the pool.
    """

    kind: str
    width: int
    position: Integers
    value: Integers
    group: Integers
    scale: Floats

    @property
    def groups(self) -> int:
        """Number of operators, or of features."""
        return int(self.group.max(initial=-1)) + 1

    def columns(self, networks: NDArray[np.generic]) -> Floats:
        """One column per position and value, 0 or 1, or the scaled features [n, columns].

        A value that its position never had in the pool counts as the average of those it had: nothing costs nothing.
        Raises ValueError for networks that are not of the encoding's kind and width.
        """
        networks = self._checked(networks)
        if self.kind == "features":
            return np.asarray(networks[:, self.position].astype(np.float64) / self.scale)
        found = (networks[:, self.position] == self.value).astype(np.float64)
        place = self.place
        unseen = (found @ place == 0).astype(np.float64)
        return np.asarray(found + unseen @ (place / np.maximum(place.sum(axis=0), 1.0)).T)

    def counts(self, columns: Floats) -> Floats:
        """How often each operator occurs, or the scaled features, from `columns` [n, groups]."""
        return columns @ self.membership

    @property
    def membership(self) -> Floats:
        """1 where a column belongs to a group [columns, groups]."""
        return np.eye(self.groups)[self.group]

    @property
    def place(self) -> Floats:
        """1 where a column belongs to a position [columns, positions in use]; features have none."""
        if self.kind == "features":
            return np.zeros((len(self.position), 0))
        _, index = np.unique(self.position, return_inverse=True)
        return np.eye(int(index.max(initial=-1)) + 1)[index]

    def _checked(self, networks: NDArray[np.generic]) -> NDArray[np.generic]:
        found = np.asarray(networks)
        integers = np.issubdtype(found.dtype, np.integer)
        if found.ndim != 2 or found.shape[1] != self.width or integers != (self.kind == "ops"):
            raise ValueError(
                f"networks have shape {found.shape} and type {found.dtype}; the prior was learned on {self.width} "
                f"columns of {'integers' if self.kind == 'ops' else 'floats'}; encode them in the same way"
            )
        return found


def encode(networks: NDArray[np.generic]) -> Encoding:
    """The columns of a pool: integers [n, positions] or non-negative floats [n, columns]; raises ValueError."""
    found = np.asarray(networks)
    if found.ndim != 2 or not len(found):
        raise ValueError(f"networks have shape {found.shape}; give a matrix with a row for each network")
    if np.issubdtype(found.dtype, np.integer):
        return _encode_ops(found.astype(np.int64))
    if not np.issubdtype(found.dtype, np.floating):
        raise ValueError(f"networks are {found.dtype}; give integers (an encoding) or floats (features)")
    features = found.astype(np.float64)
    if not np.all(np.isfinite(features)) or np.any(features < 0):
        raise ValueError("features of networks must be finite and not negative")
    scale = features.mean(axis=0)
    used = np.flatnonzero(scale > 0)
    empty = np.zeros(len(used), np.int64)
    return Encoding("features", found.shape[1], used, empty, np.arange(len(used)), scale[used])


def renumbered(networks: NDArray[np.generic], names: Sequence[str], wanted: Sequence[str]) -> NDArray[np.generic]:
    """Integers [n, positions] that number the operators `names`, numbered as in `wanted`.

    The two have to be the same names, in any order. Where either is empty nothing is known, and the integers stay.
    Raises ValueError for other names, names that occur twice, and integers that have no name.
    """
    if not names or not wanted or tuple(names) == tuple(wanted):
        return networks
    found = np.asarray(networks)
    if not np.issubdtype(found.dtype, np.integer):
        raise ValueError("operators have names, but the networks are no integers; leave the names out")
    if found.size and not 0 <= found.min() <= found.max() < len(names):
        raise ValueError(
            f"networks have operators from {found.min()} to {found.max()}, but there are {len(names)} names: "
            f"{', '.join(names)}"
        )
    if len(set(names)) < len(names) or sorted(names) != sorted(wanted):
        raise ValueError(
            f"the operators are {', '.join(names)}; the prior was learned on {', '.join(wanted)}. "
            "Only the order may differ; learn a prior on a table with the same operators"
        )
    return np.array([wanted.index(name) for name in names], np.int64)[found]


def _encode_ops(ops: Integers) -> Encoding:
    position, value, group = [], [], []
    groups: dict[tuple[tuple[int, ...], int], int] = {}
    for index in range(ops.shape[1]):
        alphabet = tuple(np.unique(ops[:, index]).tolist())
        for letter in alphabet:
            position.append(index)
            value.append(letter)
            group.append(groups.setdefault((alphabet, letter), len(groups)))
    return Encoding(
        "ops",
        ops.shape[1],
        np.array(position, np.int64),
        np.array(value, np.int64),
        np.array(group, np.int64),
        np.ones(len(position)),
    )
