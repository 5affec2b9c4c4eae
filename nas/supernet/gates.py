"""What gates mean to a slot: how much each of its combinations counts, from a weight for every option of every gene.

A gate is a number per option of a gene. With gates that are one for the chosen options and zero for the others a slot
is the network that they choose, and its derivative by a gate says what the option would do; with a distribution per
gene it is a mixture. Weights of combinations are products over genes, so all of this follows from the tables that say
which combination has what (`union`), for spaces of any kind.

Wan et al. 2020 (FBNetV2, arXiv 2004.05565) put such gates on channels, Stamoulis et al. 2019 (Single-Path NAS, arXiv
1904.02877) on nested kernels, Guo et al. 2020 (SPOS, arXiv 1904.00420) and LightNAS (arXiv 2208.14446) on operators.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any, Final

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from nas.supernet.union import SlotPlan
from search_spaces.slots import ExitSite, SearchSpace

#: A probability that small is none.
TINY: Final = 1e-12


@dataclass(frozen=True)
class Shares:
    """Gates of a slot at work: `present` [unions + 1] is what each union counts, the last entry what its absence does.

    `deciding` is the joint weight of the genes that decide between them, `others` that of the rest, both with one axis
    per gene.
    """

    present: Array
    deciding: Array
    others: Array
    entry: NDArray[np.int32]

    def given(self, union: int) -> Array:
        """What each combination of the slot counts where `union` is taken for granted [combinations]; sums to one."""
        inside = self.entry == union
        even = jnp.asarray(inside / inside.sum(), self.deciding.dtype)
        total = self.present[union]
        # What the union would do if it were there is asked where it is not, too.
        there = total > TINY
        within = jnp.where(there, jnp.where(inside, self.deciding, 0) / jnp.where(there, total, 1), even)
        return (within * self.others).reshape(-1)


class SlotGates:
    """The gates of one slot, `site` saying what switches it if it is an exit: an exit is always on here.

    Whether an exit is on decides which answers count, not what they are.
    """

    def __init__(self, plan: SlotPlan, site: ExitSite | None = None) -> None:
        self._genes, self._sizes = plan.slot.genes, plan.slot.sizes
        self._site = site if site is not None and site.gene is not None else None
        self._unions = len(plan.unions)
        entry = plan.entry[plan.on].reshape(self._sizes)
        axes = range(entry.ndim)
        self._decides = tuple(bool((entry != entry.take([0], axis=axis)).any()) for axis in axes)
        for axis in axes:
            if not self._decides[axis]:
                entry = entry.take([0], axis=axis)
        self._entry = entry

    @property
    def deciding(self) -> tuple[int, ...]:
        """The genes that decide which union there is, if any."""
        return tuple(gene for gene, decides in zip(self._genes, self._decides, strict=True) if decides)

    def shares(self, gates: Array) -> Shares:
        """What gates [genes, options] make of the slot."""
        deciding, others = (self._joint(gates, decides) for decides in (True, False))
        present = [jnp.where(self._entry == union, deciding, 0).sum() for union in range(self._unions + 1)]
        return Shares(jnp.stack(present), deciding, others, self._entry)

    def _joint(self, gates: Array, decides: bool) -> Array:
        factors = [jnp.ones((1,) * len(self._sizes), gates.dtype)]
        for axis, (gene, size) in enumerate(zip(self._genes, self._sizes, strict=True)):
            if self._decides[axis] == decides:
                shape = [1] * len(self._sizes)
                shape[axis] = size
                factors.append(self._options(gates, gene, size).reshape(shape))
        return reduce(jnp.multiply, factors)

    def _options(self, gates: Array, gene: int, size: int) -> Array:
        options = gates[gene, :size]
        if self._site is None or gene != self._site.gene:
            return options
        on = self._site.options[0]
        return options.at[on].add(options[self._site.off]).at[self._site.off].set(0)


def gated_options(space: SearchSpace, plans: tuple[SlotPlan, ...], gates: tuple[SlotGates, ...]) -> NDArray[np.bool_]:
    """For each gene, whether a pass sees the gradient of all its options [genes]; else that of the chosen ones alone.

    Genes that decide between operators of which one runs are seen where they were taken only.
    """
    seen = np.ones(len(space.genes), np.bool_)
    for plan, slot in zip(plans, gates, strict=True):
        if len(plan.unions) > 1:
            seen[list(slot.deciding)] = False
    return seen


def hard_gates(genomes: NDArray[np.integer[Any]], options: int) -> NDArray[np.float32]:
    """Gates [n, genes, options] of genomes [n, genes]: one for what is chosen."""
    return np.asarray(np.asarray(genomes)[..., None] == np.arange(options), np.float32)
