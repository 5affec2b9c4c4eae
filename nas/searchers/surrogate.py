"""A Gaussian process over genomes: what an unseen one is worth, and how sure that is.

The kernel is a sum of an additive part (each gene contributes on its own), an interacting part that falls off with the
weighted Hamming distance, and a linear part in free features such as the latency; a weight per gene is learned
(automatic relevance). Hyperparameters maximise the posterior under broad priors (Rasmussen & Williams 2006, chapters 2
and 5). BANANAS (White et al. 2021, arXiv 1910.11858) takes its uncertainty from an ensemble of networks instead.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, solve_triangular
from scipy.optimize import minimize
from scipy.special import ndtri

from nas.searchers.base import Genomes

Floats = NDArray[np.float64]

#: Most genomes that hyperparameters are learned from; more cost time and change them little.
FIT_ROWS = 100
STEPS = 12
_JITTER = 1e-6
_LEAST = 1e-10
_CACHED = 1 << 16
#: Means and standard deviations of the logarithms of: gene weights times the number of genes; the additive, the
#: interacting and the linear variance; the noise variance; the inverse length of features.
_PRIOR = {"weight": (0.8, 1.0), "variance": (0.0, 1.5), "noise": (-3.0, 1.5), "length": (-1.0, 1.0)}


def normal_scores(values: Floats) -> Floats:
    """Replace values [n] by the normal quantiles of their ranks: no scale matters, and outliers are tame."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    # Equal values share the mean of their ranks.
    ranks = np.cumsum(counts) - (counts - 1) / 2
    scores: Floats = ndtri((ranks[place] - 0.5) / len(values))
    return scores


class Encoding:
    """Binary codes of genomes in which squared distance counts differing genes, or steps between ordinal options."""

    def __init__(self, sizes: Genomes, ordinal: NDArray[np.bool_]) -> None:
        self._sizes, self._ordinal = np.asarray(sizes), np.asarray(ordinal)
        widths = np.where(self._ordinal, self._sizes - 1, self._sizes)
        self.gene = np.repeat(np.arange(len(widths)), widths)
        #: Share of a gene's largest distance that one differing column makes.
        self.share = 1.0 / np.where(self._ordinal, np.maximum(self._sizes - 1, 1), 2)[self.gene]
        self._option = np.concatenate([np.arange(width) for width in widths]) if len(widths) else self.gene

    def __call__(self, genomes: Genomes) -> NDArray[np.float32]:
        """The code of genomes [n, G] as [n, columns]: one-hot, or a thermometer for ordinal genes."""
        values = np.asarray(genomes)[:, self.gene]
        code = np.where(self._ordinal[self.gene], values > self._option, values == self._option)
        return code.astype(np.float32)


@dataclass(frozen=True)
class Points:
    """Genomes as codes [n, columns] and their features [n, F], standardised."""

    code: NDArray[np.float32]
    features: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.code)

    def __getitem__(self, rows: Any) -> Points:
        return Points(self.code[rows], self.features[rows])


@dataclass
class Surrogate:
    """A Gaussian process for several targets at once over the same points; targets are standardised by the caller.

    `learn` sets the hyperparameters, `condition` takes in the data, `predict` answers.
    """

    encoding: Encoding
    genes: int
    features: int
    theta: Floats = field(init=False)

    def __post_init__(self) -> None:
        weight = np.full(self.genes, _PRIOR["weight"][0] - np.log(max(self.genes, 1)))
        self._mean = np.concatenate(
            (
                weight,
                np.full(3, _PRIOR["variance"][0]),
                [_PRIOR["noise"][0]],
                np.full(self.features, _PRIOR["length"][0]),
            )
        )
        self._sd = np.concatenate(
            (np.full(self.genes, _PRIOR["weight"][1]), np.full(3, _PRIOR["variance"][1]), [_PRIOR["noise"][1]],
             np.full(self.features, _PRIOR["length"][1]))
        )  # fmt: skip
        self.theta = self._mean.copy()

    def learn(self, points: Points, target: Floats) -> None:
        """Move the hyperparameters towards the maximum of their posterior, given target [n]."""
        if len(points) > FIT_ROWS:
            # The better half is where the search goes on; the rest keeps the scale.
            order = np.argsort(target, kind="stable")
            best, rest = order[: FIT_ROWS // 2], order[FIT_ROWS // 2 :]
            rows = np.concatenate((best, rest[:: -(-len(rest) // (FIT_ROWS - len(best)))]))
            points, target = points[rows], target[rows]
        gene_distances = self._gene_distances(points)
        feature_distances = (points.features.T[:, :, None] - points.features.T[:, None, :]).astype(np.float64) ** 2
        outer = points.features.astype(np.float64) @ points.features.T.astype(np.float64)
        found = minimize(
            self._loss, self.theta, args=(gene_distances, feature_distances, outer, target), jac=True,
            method="L-BFGS-B", bounds=list(zip(self._mean - 4 * self._sd, self._mean + 4 * self._sd, strict=True)),
            options={"maxiter": STEPS},
        )  # fmt: skip
        self.theta = found.x

    def condition(self, points: Points, targets: Floats) -> None:
        """Take in targets [n, t] at the points."""
        kernel = self.kernel(points, points).astype(np.float64)
        kernel[np.diag_indices(len(points))] += np.exp(self.theta[self.genes + 3]) + _JITTER
        self._points = points
        self._factor = np.linalg.cholesky(kernel)
        self._solved = cho_solve((self._factor, True), targets)

    def mean(self, points: Points) -> Floats:
        """The expected targets at the points [n, t]."""
        solved = self._solved.astype(np.float32)
        # Small enough that a chunk's kernel stays in a core's cache from the product to the exponential.
        rows = max(1, _CACHED // len(self._points))
        chunks = [points[start : start + rows] for start in range(0, len(points), rows)]
        means = [self.kernel(chunk, self._points) @ solved for chunk in chunks]
        return np.concatenate(means).astype(np.float64) if means else np.empty((0, solved.shape[1]))

    def spread(self, points: Points, measurements: int = 0) -> Spread:
        """The joint uncertainty of the points, with room for so many calls of `Spread.measure`."""
        whitened = solve_triangular(
            self._factor, self.kernel(self._points, points).astype(np.float64), lower=True, check_finite=False
        )
        _, additive, interacting, linear, _, _ = self._parts(self.theta)
        own = additive + interacting + linear * (points.features.astype(np.float64) ** 2).sum(axis=1)
        noise = float(np.exp(self.theta[self.genes + 3])) + _JITTER
        room = np.concatenate((whitened, np.empty((measurements, len(points)))))
        return Spread(self, points, room, len(whitened), np.maximum(own - (whitened**2).sum(axis=0), _LEAST), noise)

    def _parts(self, theta: Floats) -> tuple[Floats, float, float, float, float, Floats]:
        g = self.genes
        additive, interacting, linear, noise = (float(value) for value in np.exp(theta[g : g + 4]))
        return np.exp(theta[:g]), additive, interacting, linear, noise, np.exp(theta[g + 4 :])

    def kernel(self, a: Points, b: Points) -> NDArray[np.float32]:
        """The prior covariance between two sets of points, without noise [a, b]."""
        weights, additive, interacting, linear, _, inverse = self._parts(self.theta)
        scale = (weights[self.encoding.gene] * self.encoding.share).astype(np.float32)
        distance = (a.code @ scale)[:, None] + (b.code @ scale)[None] - 2 * ((a.code * scale) @ b.code.T)
        np.maximum(distance, 0, out=distance)
        exponent = distance
        if self.features:
            left, right = a.features * inverse.astype(np.float32), b.features * inverse.astype(np.float32)
            square = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1)[None] - 2 * (left @ right.T)
            exponent = distance + np.maximum(square, 0) / 2
        kernel = np.exp(-exponent, dtype=np.float32)
        kernel *= np.float32(interacting)
        kernel += np.float32(additive) * (1 - distance / np.float32(weights.sum() or 1))
        if self.features:
            kernel += np.float32(linear) * (a.features @ b.features.T)
        return kernel

    def _gene_distances(self, points: Points) -> Floats:
        """How far each pair is apart in each gene, from 0 to 1 [G, n, n]."""
        result = np.zeros((self.genes, len(points), len(points)))
        code = points.code.astype(np.float64)
        for column, (gene, share) in enumerate(zip(self.encoding.gene, self.encoding.share, strict=True)):
            result[gene] += share * (code[:, None, column] != code[None, :, column])
        return result

    def _loss(
        self, theta: Floats, gene_distances: Floats, feature_distances: Floats, outer: Floats, target: Floats
    ) -> tuple[float, Floats]:
        """Negative log posterior of the hyperparameters, and its gradient."""
        weights, additive, interacting, linear, noise, inverse = self._parts(theta)
        n, g = len(target), self.genes
        total = float(weights.sum()) or 1.0
        distance = np.tensordot(weights, gene_distances, axes=1) if g else np.zeros((n, n))
        interaction = interacting * np.exp(-distance - np.tensordot(inverse**2, feature_distances, axes=1) / 2)
        kernel = interaction + additive * (1 - distance / total) + linear * outer
        kernel[np.diag_indices(n)] += noise + _JITTER
        away = (theta - self._mean) / self._sd
        try:
            factor = np.linalg.cholesky(kernel)
        except np.linalg.LinAlgError:
            return 1e10, np.zeros_like(theta)
        solved = cho_solve((factor, True), target)
        loss = 0.5 * target @ solved + np.log(np.diag(factor)).sum() + 0.5 * away @ away
        slope = 0.5 * (cho_solve((factor, True), np.eye(n)) - np.outer(solved, solved))
        inside = slope * interaction
        # One pass over the largest array for both sums.
        sums = gene_distances.reshape(g, -1) @ np.column_stack((inside.ravel(), slope.ravel()))
        gradient = np.empty_like(theta)
        gradient[:g] = weights * (-sums[:, 0] - additive * (sums[:, 1] / total - (slope * distance).sum() / total**2))
        gradient[g] = additive * (slope * (1 - distance / total)).sum()
        gradient[g + 1] = inside.sum()
        gradient[g + 2] = linear * (slope * outer).sum()
        gradient[g + 3] = noise * np.trace(slope)
        gradient[g + 4 :] = -(inverse**2) * np.tensordot(feature_distances, inside, axes=2)
        return float(loss), gradient + away / self._sd


@dataclass
class Spread:
    """Uncertainty of points that shrinks as some of them are taken to be measured, whatever their value."""

    model: Surrogate
    points: Points
    whitened: Floats
    known: int
    variance: Floats
    noise: float

    @property
    def sd(self) -> Floats:
        """Standard deviation at each point [n]."""
        return np.sqrt(self.variance)

    def measure(self, index: int) -> None:
        """Condition on a measurement at one of the points."""
        whitened = self.whitened[: self.known]
        covariance = self.model.kernel(self.points[[index]], self.points)[0] - whitened[:, index] @ whitened
        row = covariance / np.sqrt(self.variance[index] + self.noise)
        self.whitened[self.known] = row
        self.known += 1
        self.variance = np.maximum(self.variance - row**2, _LEAST)
