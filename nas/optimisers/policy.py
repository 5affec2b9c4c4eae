"""One distribution per gene: softmax of logits, single networks drawn with Gumbel noise, and how hot to draw them.

Adding Gumbel noise to logits and taking the largest draws from their softmax exactly (Gumbel 1954; Maddison et al.
2014, arXiv 1411.0030), so a step costs one network.
"""

from __future__ import annotations

import math

import numpy as np

from nas.optimisers.base import Bools, Floats, Ints


def probabilities(logits: Floats) -> Floats:
    """The softmax of each gene's logits [genes, options]; -inf is an option that there isn't."""
    scaled = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(scaled / scaled.sum(axis=1, keepdims=True))


def draw(logits: Floats, rng: np.random.Generator) -> Ints:
    """One genome [genes] from the softmax of each gene's logits."""
    return np.asarray((logits + rng.gumbel(size=logits.shape)).argmax(axis=1))


def fair(sizes: Ints, step: int, seed: int) -> Ints:
    """The genome [genes] of a warm-up step: each gene runs through its options in a new random order again and again.

    After any number of steps no option of a gene has been taken more than once oftener than another (FairNAS, Chu et
    al. 2021, arXiv 1907.01845).
    """
    genome = np.empty(len(sizes), np.int64)
    for gene, size in enumerate(sizes.tolist()):
        turn, place = divmod(step, size)
        genome[gene] = np.random.default_rng((seed, turn, gene)).permutation(size)[place]
    return genome


def temperature(progress: float, first: float, last: float) -> float:
    """Geometric from `first` at progress 0 to `last` at 1."""
    return float(first * (last / first) ** progress)


def standardised(values: Floats, legal: Bools) -> tuple[Floats, float]:
    """Values [genes, options] less the mean of each gene, in units of their spread, and that spread.

    The spread says how much options usually differ: the root mean square over all that are `legal`; 1 if they don't
    differ. Where there is no option the result is 0.
    """
    mean = (values * legal).sum(axis=1, keepdims=True) / legal.sum(axis=1, keepdims=True)
    centred = (values - mean) * legal
    spread = math.sqrt(float((centred**2).sum()) / int(legal.sum())) or 1.0
    return centred / spread, spread


def entropy(probability: Floats, legal: Bools) -> Floats:
    """The entropy of each gene [genes] as a share of the largest possible: 1 undecided, 0 decided."""
    logs = np.log(np.where(probability > 0, probability, 1.0))
    return np.asarray(-(probability * logs).sum(axis=1) / np.log(np.maximum(legal.sum(axis=1), 2)))
