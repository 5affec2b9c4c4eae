"""The part of the sources' latency that does not add up, as a share of the part that does.

A Gaussian process per source in closed form (Rasmussen and Williams, 2006, chapters 2 and 5) over pairs of columns and
alike networks: operators that fuse, branches that a runtime drops. Each source decides by marginal likelihood how much
of its error is structure and how much is noise; where all is noise nothing is predicted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from latency_models.base import Floats
from latency_models.few_shot.additive import thin
from latency_models.few_shot.encoding import Encoding

#: An eigendecomposition takes the cube of this.
MOST_ROWS: Final = 1000
#: Variances of pairs of columns and of alike networks, to choose from.
_MIXTURES: Final = ((1.0, 0.0), (0.3, 1.0))
#: Variances of the noise over that of the structure, to choose from; with the last there is next to no structure.
_NOISES: Final = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0)
#: Shares are believed between these: a network may take next to nothing, but a slow reading is often a broken one.
_SHARES: Final = (-1.0, 1.0)
#: How fast networks become unlike as more positions differ.
_ALIKE: Final = 4.0
_CHUNK: Final = 20_000


@dataclass(frozen=True, eq=False)
class Irregular:
    """`columns` [rows, columns] of networks of the pool, and `weights` [kernels, sources, rows] of those rows."""

    encoding: Encoding
    columns: Floats
    weights: Floats

    def __call__(self, columns: Floats) -> Floats:
        """Shares of the additive part that come on top of it, between -1 and 1 [n, sources]."""
        found = np.empty((len(columns), self.weights.shape[1]))
        if not self.weights.any():
            found[:] = 0.0
            return found
        for start in range(0, len(columns), _CHUNK):
            kernels = _kernels(self.encoding, columns[start : start + _CHUNK], self.columns)
            found[start : start + _CHUNK] = sum(k @ w.T for k, w in zip(kernels, self.weights, strict=True))
        return np.clip(found, *_SHARES)


def irregular(encoding: Encoding, columns: Floats, shares: Floats) -> Irregular:
    """Fit to columns [pool, columns] and measured shares [pool, sources], NaN where not measured."""
    rows = thin(np.flatnonzero(np.isfinite(shares).any(axis=1)), MOST_ROWS)
    columns, shares = columns[rows], np.clip(shares[rows], *_SHARES)
    weights = np.zeros((len(_MIXTURES[0]), shares.shape[1], len(rows)))
    patterns: dict[bytes, list[int]] = {}
    for source in range(shares.shape[1]):
        patterns.setdefault(np.isfinite(shares[:, source]).tobytes(), []).append(source)
    for same in patterns.values():
        sources = np.array(same, np.intp)
        there = np.flatnonzero(np.isfinite(shares[:, sources[0]]))
        if not len(there):
            continue
        kernels = _kernels(encoding, columns[there], columns[there])
        best = np.full(len(sources), np.inf)
        for mixture in _MIXTURES:
            values, vectors = np.linalg.eigh(sum(v * k for v, k in zip(mixture, kernels, strict=True)))
            rotated = vectors.T @ shares[np.ix_(there, sources)]
            for noise in _NOISES:
                spectrum = np.maximum(values, 0) + noise
                fit = np.maximum((rotated**2 / spectrum[:, None]).mean(axis=0), 1e-12)
                misfit = np.log(fit) + np.log(spectrum).mean()
                for i in np.flatnonzero(misfit < best):
                    best[i] = misfit[i]
                    dual = vectors @ (rotated[:, i] / spectrum)
                    weights[:, sources[i], there] = np.outer(mixture, dual)
    return Irregular(encoding, columns, weights)


def _kernels(encoding: Encoding, left: Floats, right: Floats) -> tuple[Floats, Floats]:
    """Kernels over pairs of columns and over alike networks [n, m], each about 1 in size."""
    if encoding.kind == "ops":
        match = left @ right.T / encoding.width
        return match**2, np.exp(_ALIKE * (match - 1.0))
    size = max(float((right**2).sum(axis=1).mean()), 1e-9)
    product = left @ right.T
    square = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1) - 2 * product
    return (product / size) ** 2, np.exp(-np.maximum(square, 0) / size)
