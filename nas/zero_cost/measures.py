"""What makes a score of a network out of what a pass through it gave: three formulas, numpy alone.

More is better for each. None of them is an accuracy, they have no unit, and those of one score compare with no others.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

#: Added to the diagonal of naswot's kernel, in units: of images that a network cannot tell apart it would be singular.
_RIDGE: Final = 1e-6
#: Added to the eigenvalues of jacob_cov's correlations, as in the authors' code.
_LEAST_EIGENVALUE: Final = 1e-5


def naswot(agreement: NDArray[np.floating[Any]]) -> float:
    """The logarithm of the determinant of `agreement` [images, images].

    That counts the units of all activations whose inputs are on the same side of zero for both images: the number of
    units less the Hamming distance of the images' codes (Mellor et al. 2021, arXiv 2006.04647). The further apart a
    network keeps images that it has not learned from, the larger it is.
    """
    kernel = np.asarray(agreement, np.float64)
    return float(np.linalg.slogdet(kernel + _RIDGE * np.eye(len(kernel)))[1])


def jacob_cov(jacobian: NDArray[np.floating[Any]]) -> float:
    """How little the slopes of a network's answers at different images correlate, given them [images, pixels].

    Minus the sum of log(v + k) + 1 / (v + k) over the eigenvalues v of their correlations, k = 1e-5: the first score
    of Mellor et al., as Abdelfattah et al. 2021 (arXiv 2101.08134) compute it, but for batch norm (`Passes.jacobian`).
    An image that the answers do not depend on has no direction, and counts as one that is there twice.
    """
    slopes = np.asarray(jacobian, np.float64)
    slopes = slopes - slopes.mean(axis=1, keepdims=True)
    length = np.linalg.norm(slopes, axis=1, keepdims=True)
    slopes = slopes / np.where(length > 0, length, 1.0)
    # Of correlations no eigenvalue is below zero, but for rounding.
    eigenvalues = np.maximum(np.linalg.eigvalsh(slopes @ slopes.T), 0.0) + _LEAST_EIGENVALUE
    return float(-(np.log(eigenvalues) + 1 / eigenvalues).sum())


def synflow(flows: Iterable[float], scale: float) -> float:
    """The logarithm of the sum of `flows`, each kernel's sum of |w dR/dw|, for an input `scale` times as large as ones.

    R is the sum of the answers to an image of ones where all weights are positive (Tanaka et al. 2020, arXiv
    2006.05467; over networks, with batch norm passed by, Abdelfattah et al. 2021). R grows with the input as long as
    activations are straight lines above zero, so that the scale only shifts its logarithm.
    """
    return math.log(max(math.fsum(flows), np.finfo(np.float64).tiny)) - math.log(scale)
