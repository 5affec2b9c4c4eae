"""The loss of single networks with shared weights, and its gradient by the gate of every option.

One forward and one backward pass of one network on one batch, of images kept for architecture. All options of a gene
are seen at once where they share tensors: what would more channels, another kernel, one block more have done? Of
operators with weights of their own the chosen ones are. Genes of blocks that are absent have random options, so that
the block that could be there is one of those that there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from nas.nn.programs import Program
from nas.optimisers.base import Bools, Feedback, Floats, Ints, Problem
from nas.optimisers.sampled import SampledNetworks
from nas.supernet.elastic import Gates
from nas.supernet.gates import gated_options, hard_gates
from search_spaces.slots import ExitSite, sizes

#: How softly samples leave at an exit, in standard deviations of their confidence.
_SOFTNESS: Final = 0.25
#: So many widths beyond the samples nobody, or everybody, leaves; halving that range so often finds a threshold.
_TAIL: Final = 16.0
_HALVINGS: Final = 24


class GatedNetworks:
    """Losses and gradients of the same networks, on the same batches, as those of `sampled`."""

    def __init__(self, sampled: SampledNetworks) -> None:
        self._sampled = sampled
        self.space, self.supernet = space, supernet = sampled.space, sampled.supernet
        self.options = int(sizes(space).max())
        self.whole = gated_options(space, supernet.plans, supernet.gates)
        self._last = Program(jax.value_and_grad(self._last_loss))
        self._cascade = Program(jax.value_and_grad(self._cascade_loss))

    def __call__(self, genome: Ints, step: int, exit_rates: Sequence[float] | None = None) -> tuple[float, Floats]:
        """The loss of a genome [genes] on the step's batch and its gradient [genes, options].

        With `exit_rates` [positions - 1] it is that of the cascade in which these shares of the arriving samples leave
        at each early exit, else that of the last exit.
        """
        images, labels = self._sampled.batches(step)
        choices = self.supernet.choices(genome[None])
        gates = hard_gates(genome[None], self.options)[0]
        given = (gates, self._sampled.params, images, labels, choices.combination[0])
        if exit_rates is None:
            loss, gradient = self._last(*given)
        else:
            loss, gradient = self._cascade(*given, choices.legal[0], np.asarray(exit_rates, np.float32))
        return float(loss), np.asarray(gradient, np.float64)

    def _losses(
        self, gates: Array, params: Mapping[str, Array], images: Array, labels: Array, combination: Array
    ) -> tuple[Array, Array]:
        """Cross-entropy, as far as it counts, and confidence (the largest log-probability) of each answer
        [positions, n]."""
        logits, _ = self.supernet.forward(params, {}, images, combination, "train", gates=Gates(gates))
        logs = jax.nn.log_softmax(logits)
        picked = jnp.take_along_axis(logs, labels[None, :, None], axis=-1)[..., 0]
        counted = self._sampled.counted
        if counted is not None:
            picked = picked * jnp.asarray(counted, picked.dtype)[labels]
        return -picked, logs.max(axis=-1)

    def _last_loss(self, gates: Array, *rest: Any) -> Array:
        return self._losses(gates, *rest)[0][-1].mean()

    def _cascade_loss(self, gates: Array, *rest: Any) -> Array:
        *given, legal, exit_rates = rest
        losses, confidence = self._losses(gates, *given)
        present = exits_present(self.space.exit_sites, gates, legal)
        softness = _SOFTNESS * jax.lax.stop_gradient(confidence[:-1]).std(axis=1) + 1e-6
        thresholds = thresholds_of(exit_rates, confidence, present, softness)
        return soft_cascade(losses, confidence, present, thresholds, softness)


def exits_present(sites: Sequence[ExitSite], gates: Array, legal: Array) -> Array:
    """What each exit counts [positions], for gates [genes, options] and where exits can be [positions]."""
    counts = [
        jnp.ones(()) if site.gene is None else gates[site.gene, jnp.asarray(site.options)].sum() for site in sites
    ]
    return jnp.stack(counts) * legal


def thresholds_of(exit_rates: Array, confidence: Array, present: Array, softness: Array) -> Array:
    """The thresholds [positions - 1] at which these shares of whoever arrives at an exit leave `soft_cascade` there.

    Whoever is sure has left before, so they are not those of all samples. They are constants to a gradient.
    """
    confidence, present = jax.lax.stop_gradient((confidence, present))
    arriving, found = jnp.ones_like(confidence[0]), []
    for position, rate in enumerate(exit_rates):
        threshold = _threshold(rate, confidence[position], arriving, softness[position])
        leaving = jax.nn.sigmoid((confidence[position] - threshold) / softness[position])
        arriving = arriving * (1 - present[position] * leaving)
        found.append(threshold)
    return jnp.stack(found)


def _threshold(rate: Array, confidence: Array, arriving: Array, softness: Array) -> Array:
    """Where a share `rate` of the samples that are `arriving` [n] leaves, by halving the range where it can be."""

    def halved(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        middle = (ends[0] + ends[1]) / 2
        many = (arriving * jax.nn.sigmoid((confidence - middle) / softness)).sum() > rate * arriving.sum()
        return jnp.where(many, middle, ends[0]), jnp.where(many, ends[1], middle)

    ends = (confidence.min() - _TAIL * softness, confidence.max() + _TAIL * softness)
    least, most = jax.lax.fori_loop(0, _HALVINGS, halved, ends)
    middle: Array = (least + most) / 2
    return middle


def soft_cascade(losses: Array, confidence: Array, present: Array, thresholds: Array, softness: Array) -> Array:
    """The mean loss of a cascade in which samples leave softly, more likely the further they are above a threshold.

    `losses` and `confidence` [positions, n]; `present` [positions] is what each exit counts, `thresholds` and
    `softness` [positions - 1] are in the unit of the confidence. Whoever leaves nowhere is answered by the last exit.
    """
    arriving, total = jnp.ones_like(losses[0]), jnp.zeros_like(losses[0])
    for position in range(len(losses) - 1):
        score = (confidence[position] - thresholds[position]) / softness[position]
        leaving = arriving * present[position] * jax.nn.sigmoid(score)
        total, arriving = total + leaving * losses[position], arriving - leaving
    return (total + arriving * losses[-1]).mean()


@dataclass(frozen=True, eq=False)
class GatedLoss:
    """Satisfies `optimisers.base.Loss` with gradients; `exit_rates` as `GatedNetworks` takes them."""

    networks: GatedNetworks
    problem: Problem
    exit_rates: tuple[float, ...] | None = None

    def __call__(self, genome: Ints, step: int) -> Feedback:
        """Evaluate the genome on the step's batch."""
        there = self.filled(genome, step)
        loss, gradient = self.networks(there, step, self.exit_rates)
        seen: Bools = self.networks.whole[:, None] | (there[:, None] == np.arange(gradient.shape[1]))
        return Feedback(loss, np.where(seen, gradient, 0.0), seen)

    def filled(self, genome: Ints, step: int) -> Ints:
        """The same network with random options for elastic genes that have no effect in it, where that is possible."""
        space = self.networks.space
        rng = np.random.default_rng((self.problem.seed, step, 1))
        free = ~self.problem.active(genome[None])[0] & self.networks.whole
        free[[site.gene for site in space.exit_sites if site.gene is not None]] = False
        drawn: Ints = np.where(free, rng.integers(0, sizes(space)), genome)
        return drawn if np.array_equal(self.problem.canonical(drawn[None])[0], genome) else genome
