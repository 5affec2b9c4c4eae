"""One slot at its largest size with gates: what is inactive is computed as well, and multiplied by its gate.

Where a gate multiplies decides whether there is a gradient. In front of a batch norm a factor is divided out again, so
channels are multiplied where an operator adds them up, and nowhere else: behind the last normalisation and activation,
and once on every path, since a product of two equal gates has twice the derivative of one where it is one, and none
where it is zero. What lies between, residual sums among it, is what the channels would be. A kernel's gate multiplies
the weights of the taps, whose shape a norm does not undo. For the same reason what decides whether an operator is there
has no part in how large it is: that is asked as if it were there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from nas.nn.interpreter import Arrays, Call, Mode, to_private
from nas.supernet.gates import TINY
from nas.supernet.masks import MaskedPass, Program, normalises_features
from nas.supernet.union import NEUTRAL, Member


class GatedPass(MaskedPass):
    """One pass of a union for `of_combination` [combinations], what each combination of its slot counts."""

    def __init__(self, program: Program, of_combination: Array, mode: Mode, found: dict[str, Array]) -> None:
        unmasked = Program(program.union, program.merged, frozenset())
        super().__init__(unmasked, jnp.zeros((), jnp.int32), mode, found)
        self.of_combination = of_combination
        self.multiplied: dict[int, Array] = {}
        self.given: dict[bytes, tuple[Array, NDArray[np.intp]]] = {}

    def total(self, member: Member, table: NDArray[Any]) -> Array:
        """What the combinations count for which `table` [combinations] holds, or each of its rows.

        They are those that a member is in; where it is in none of those that count, the ones next to these.
        """
        members = self.program.union.members
        while member.op.kind in NEUTRAL:
            member = members[member.op.inputs[0][0]]
        key = member.present.tobytes()
        if key not in self.given:
            self.given[key] = self._given(member.present)
        counts, like = self.given[key]
        return jnp.asarray(table[..., like], counts.dtype) @ counts

    def _given(self, present: NDArray[np.bool_]) -> tuple[Array, NDArray[np.intp]]:
        """What the combinations count if `present`, and the one that stands in for each."""
        union = self.program.union
        everywhere = np.any([member.present for member in union.members], axis=0)
        if (present == everywhere).all():
            return self.of_combination, np.arange(len(present))
        inside = jnp.where(present, self.of_combination, 0)
        there = inside.sum() > TINY
        counts = jnp.where(there, inside / jnp.where(there, inside.sum(), 1), self.of_combination)
        return counts, _next_to(present.reshape(union.sizes)).reshape(-1)

    def mask(self, member: Member) -> Array:
        """Float [size of the elastic axis]: what the combinations count that have each channel."""
        assert member.elastic is not None
        size, table = member.op.shape[member.elastic], member.active
        key = (size, table.tobytes() + member.present.tobytes())
        if key not in self.masks:
            levels = np.unique(table)[:, None]
            of_level = self.total(member, table == levels)
            self.masks[key] = of_level @ jnp.asarray(np.arange(size) < levels, of_level.dtype)
        return self.masks[key]

    def present(self, member: Member, second: Array) -> Array:
        """The second operand as far as the addition or multiplication is there."""
        if member.present.all():
            return second
        there = self.total(member, member.present)
        return second * there if member.op.kind == "add" else (1 - there) + there * second

    def weights(self, member: Member, params: Arrays, stats: Arrays) -> dict[str, Array]:
        """The weights by parameter; each tap of a kernel times what the sizes count that reach it."""
        weights = self.unmasked_weights(member, params, stats)
        if member.kernels:
            largest = member.op.attr("kernel")
            distance = np.abs(np.arange(largest) - (largest - 1) / 2)
            inside = distance <= np.array(member.kernels)[:, None] / 2 - 0.5
            of_kernel = self.total(member, member.kernel == np.arange(len(member.kernels))[:, None])
            taps = jnp.asarray(inside[:, :, None] & inside[:, None, :], of_kernel.dtype)
            weights["kernel"] = weights["kernel"] * jnp.tensordot(of_kernel, taps, 1)
        return weights

    def call(self, index: int, member: Member, sources: tuple[Array, ...], params: Arrays, stats: Arrays) -> Call:
        """The operator with all its channels and taps, and its inputs multiplied by their gates if it adds them up."""
        indices = [source for source, _ in member.op.inputs]
        for place in added_up(member, self.program.union.members):
            sources = (*sources[:place], self.gated(indices[place], sources[place]), *sources[place + 1 :])
        return Call(
            member.op,
            sources,
            self.weights(member, params, stats),
            self.mode,
            self.activation(index),
            counted=self.mask(member) if member.elastic is not None and normalises_features(member) else None,
            found=self.found,
        )

    def gated(self, index: int, x: Array) -> Array:
        """The tensor of a member with every channel times its gate."""
        member = self.program.union.members[index]
        if index not in self.multiplied:
            assert member.elastic is not None
            shape = [1] * (x.ndim - 1)
            shape[member.elastic] = -1
            self.multiplied[index] = x * to_private(self.mask(member).reshape(1, *shape))
        return self.multiplied[index]


def added_up(member: Member, members: Sequence[Member]) -> tuple[int, ...]:
    """The operands of which an operator adds up elastic channels, so that its output has none of them.

    What is added up of two tensors at once is named once. An axis that the output keeps has its gate further on.
    """
    sources = [members[source] for source, _ in member.op.inputs]
    ranks = [len(source.op.shape) for source in sources]
    axes: Sequence[int] = ()
    if member.op.kind == "conv":
        # Groups that come and go with their channels hand them on.
        axes = (0,) if member.op.attr("groups") == 1 or member.elastic is None else ()
    elif member.op.kind == "dense":
        axes = (ranks[0] - 1,)
    elif member.op.kind == "matmul":
        axes = (ranks[0] - 1, ranks[1] - 2)
    found = [place for place, axis in enumerate(axes) if sources[place].elastic == axis]
    return tuple(found[:1])


def _next_to(present: NDArray[np.bool_]) -> NDArray[np.intp]:
    """For each combination [options of each gene] the index of one with `present` that differs in few genes."""
    like = np.where(present, np.arange(present.size).reshape(present.shape), -1)
    while (like < 0).any():
        before = like
        for axis in range(like.ndim):
            first = np.expand_dims((before >= 0).argmax(axis=axis), axis)
            like = np.where(like < 0, np.take_along_axis(before, first, axis), like)
    return like
