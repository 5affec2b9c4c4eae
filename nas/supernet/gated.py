"""One slot at its largest size with gates: what is inactive is computed as well, and multiplied by its gate.

Where a gate multiplies decides whether there is a gradient. In front of a batch norm a factor is divided out again, so
channels are multiplied where an operator adds them up, and nowhere else: behind the last normalisation and activation,
and once on every path, since a product of two equal gates has twice the derivative of one where it is one, and none
where it is zero. What lies between, residual sums among it, is what the channels would be. A kernel's gate multiplies
the weights of the taps, whose shape a norm does not undo.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from nas.nn.interpreter import Arrays, Call, Mode, to_private
from nas.supernet.masks import MaskedPass, Program, mixes, normalises_features
from nas.supernet.union import Member


class GatedPass(MaskedPass):
    """One pass of a union for `of_combination` [combinations], what each combination of its slot counts."""

    def __init__(self, program: Program, of_combination: Array, mode: Mode, found: dict[str, Array]) -> None:
        unmasked = Program(program.union, program.merged, frozenset())
        super().__init__(unmasked, jnp.zeros((), jnp.int32), mode, found)
        self.of_combination = of_combination
        self.multiplied: dict[int, Array] = {}

    def total(self, table: NDArray[Any]) -> Array:
        """What the combinations count for which `table` [combinations] holds, or each of its rows."""
        return jnp.asarray(table, self.of_combination.dtype) @ self.of_combination

    def mask(self, member: Member) -> Array:
        """Float [size of the elastic axis]: what the combinations count that have each channel."""
        assert member.elastic is not None
        size, table = member.op.shape[member.elastic], member.active
        key = (size, table.tobytes())
        if key not in self.masks:
            levels = np.unique(table)[:, None]
            of_level = self.total(table == levels)
            self.masks[key] = of_level @ jnp.asarray(np.arange(size) < levels, of_level.dtype)
        return self.masks[key]

    def present(self, member: Member, second: Array) -> Array:
        """The second operand as far as the addition or multiplication is there."""
        if member.present.all():
            return second
        there = self.total(member.present)
        return second * there if member.op.kind == "add" else (1 - there) + there * second

    def weights(self, member: Member, params: Arrays, stats: Arrays) -> dict[str, Array]:
        """The weights by parameter; each tap of a kernel times what the sizes count that reach it."""
        weights = self.unmasked_weights(member, params, stats)
        if member.kernels:
            largest = member.op.attr("kernel")
            distance = np.abs(np.arange(largest) - (largest - 1) / 2)
            inside = distance <= np.array(member.kernels)[:, None] / 2 - 0.5
            of_kernel = self.total(member.kernel == np.arange(len(member.kernels))[:, None])
            taps = jnp.asarray(inside[:, :, None] & inside[:, None, :], of_kernel.dtype)
            weights["kernel"] = weights["kernel"] * jnp.tensordot(of_kernel, taps, 1)
        return weights

    def call(self, index: int, member: Member, sources: tuple[Array, ...], params: Arrays, stats: Arrays) -> Call:
        """The operator with all its channels and taps, and its inputs multiplied by their gates if it adds them up."""
        if mixes(member, self.program.union.members):
            indices = [source for source, _ in member.op.inputs]
            # What two tensors are multiplied and added up along has one gate.
            once = 1 if self._shares_gate(member) else len(sources)
            sources = (*self.gated(indices[:once], sources[:once]), *sources[once:])
        return Call(
            member.op,
            sources,
            self.weights(member, params, stats),
            self.mode,
            self.activation(index),
            counted=self.mask(member) if member.elastic is not None and normalises_features(member) else None,
            found=self.found,
        )

    def _shares_gate(self, member: Member) -> bool:
        """Whether a matrix product adds up along an axis that is elastic in both of its operands."""
        if member.op.kind != "matmul":
            return False
        first, second = (self.program.union.members[source] for source, _ in member.op.inputs)
        along_first, along_second = len(first.op.shape) - 1, len(second.op.shape) - 2
        return first.elastic == along_first and second.elastic == along_second

    def gated(self, indices: Sequence[int], tensors: Sequence[Array]) -> tuple[Array, ...]:
        """Tensors of members with every channel times its gate."""
        for index, x in zip(indices, tensors, strict=True):
            member = self.program.union.members[index]
            if index not in self.multiplied and member.elastic is not None:
                shape = [1] * (x.ndim - 1)
                shape[member.elastic] = -1
                self.multiplied[index] = x * to_private(self.mask(member).reshape(1, *shape))
        return tuple(self.multiplied.get(index, x) for index, x in zip(indices, tensors, strict=True))
