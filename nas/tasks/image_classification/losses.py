"""The loss of a network with several exits: labels, a teacher, and how the exits share the gradient."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array


def smoothed(labels: Array, classes: int, smoothing: float) -> Array:
    """Target probabilities [n, classes] of int labels [n] with label smoothing (Szegedy et al. 2016)."""
    return jax.nn.one_hot(labels, classes) * (1 - smoothing) + smoothing / classes


def exits_loss(
    logits: Array, legal: Array, targets: Array, teacher: Array, is_teacher: Array, distillation: float, exits: float
) -> Array:
    """Scalar loss of logits [positions, n, classes], the last position being the final exit.

    Every exit learns `distillation` parts of the teacher's probabilities and the rest of `targets`, both [n, classes].
    Where `is_teacher` (a scalar, 0 or 1), the final exit learns from `targets` alone and is itself the early exits'
    teacher: in-place distillation (BigNAS, arXiv 2003.11142). The final exit counts 1, the mean of the `legal` early
    ones `exits`.
    """
    own = jax.lax.stop_gradient(jax.nn.softmax(logits[-1]))
    soft = jnp.where(is_teacher > 0, own, teacher)
    mixed = distillation * soft + (1 - distillation) * targets
    last = jnp.where(is_teacher > 0, targets, mixed)
    log_probabilities = jax.nn.log_softmax(logits)
    final = -(last * log_probabilities[-1]).sum(-1).mean()
    early = -(mixed * log_probabilities[:-1]).sum(-1).mean(-1)
    count = jnp.maximum(legal[:-1].sum(), 1)
    return final + exits * jnp.where(legal[:-1], early, 0).sum() / count


def equilibrium(legal: Array) -> tuple[Array, Array]:
    """Factors [positions] of the gradients out of each head and from behind it: gradient equilibrium.

    With k exits from here on, the head's gradient counts 1 / k and that of the rest (k - 1) / k, so that the variance
    of the sum does not grow with the number of exits behind (Li et al. 2019, arXiv 1908.06294).
    """
    ahead = jnp.cumsum(legal[::-1])[::-1]
    head = legal / jnp.maximum(ahead, 1)
    return head, 1 - head
