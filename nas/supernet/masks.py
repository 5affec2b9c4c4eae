"""One slot at its largest size, with everything masked that a combination known at run time does not use.

Masks cost no pass over memory where a batch norm follows: its scale and offset are masked instead. Elsewhere an
operator's output is masked if its inactive elements would not be zero and an operator behind it adds them up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import jax.numpy as jnp
from jax import Array, lax
from numpy.typing import NDArray

from nas.nn.interpreter import FORMS, Arrays, Call, Mode, merged_activations, to_private
from nas.nn.layers import Kernels
from nas.supernet.union import NEUTRAL, Member, Union
from search_spaces.op import Op
from search_spaces.operators import OPERATORS

#: f(0) = 0, so that inactive channels stay zero.
_KEEPS_ZERO: Final = frozenset({"relu", "relu6", "hard_swish", "silu", "gelu", "avg_pool", "max_pool", "global_pool"})
_MOVES: Final = frozenset({"reshape", "transpose", "concat"})
#: Operators that add up along the channels, and therefore need the inactive ones to be zero.
_MIXES: Final = frozenset({"conv", "dense", "matmul"})


@dataclass(frozen=True)
class Program:
    """A union ready to run: activations merged into batch norms, and the members whose output must be masked."""

    union: Union
    merged: Mapping[int, int]
    masked: frozenset[int]


def _depthwise(op: Op, source: Member) -> bool:
    return op.kind == "conv" and op.attr("groups") == source.op.shape[0] == op.shape[0]


def mixes(member: Member, members: Sequence[Member]) -> bool:
    """Whether an operator adds up its input's channels."""
    return member.op.kind in _MIXES and not _depthwise(member.op, members[member.op.inputs[0][0]])


def normalises_features(member: Member) -> bool:
    """A layer norm along the elastic axis."""
    return member.op.kind == "layer_norm" and member.elastic == len(member.op.shape) - 1


def _clean(member: Member, members: Sequence[Member], clean: Sequence[bool]) -> bool:
    """Whether the inactive elements of an operator's output are zero when it runs without a mask of its own."""
    op = member.op
    sources = [clean[index] for index, _ in op.inputs]
    if member.elastic is None or op.kind in ("input", "matmul"):
        return True
    if op.kind == "batch_norm" or normalises_features(member):
        return True
    if op.kind == "mul":
        return any(sources)
    if op.kind in _KEEPS_ZERO | _MOVES | {"add"}:
        return all(sources)
    return _depthwise(op, members[op.inputs[0][0]]) and not op.attr("bias") and all(sources)


def program(union: Union) -> Program:
    """What of a union has to be masked."""
    members = union.members
    masked: set[int] = {union.output}
    while True:
        clean: list[bool] = []
        for index, member in enumerate(members):
            clean.append(index in masked or _clean(member, members, clean))
        needed = {
            index for member in members if mixes(member, members) for index, _ in member.op.inputs if not clean[index]
        }
        if not needed:
            break
        masked |= needed
    free = {index for index in masked if _clean(members[index], members, clean)}
    read: list[list[int]] = [[] for _ in members]
    for index, member in enumerate(members):
        for source, _ in member.op.inputs:
            read[source].append(index)
    merged = merged_activations([member.op for member in members], read, frozenset({union.output}))
    return Program(union, merged, frozenset(masked - free))


class MaskedPass:
    """One pass of a union for one combination; masks that are equal are made once."""

    def __init__(self, program: Program, combination: Array, mode: Mode, found: dict[str, Array]) -> None:
        self.program, self.combination, self.mode, self.found = program, combination, mode, found
        self.masks: dict[tuple[int, bytes], Array] = {}

    def pick(self, table: NDArray[Any]) -> Array:
        return jnp.asarray(table)[self.combination]

    def mask(self, member: Member) -> Array:
        """Bool [size of the elastic axis]."""
        assert member.elastic is not None
        size, table = member.op.shape[member.elastic], member.active
        key = (size, table.tobytes())
        if key not in self.masks:
            self.masks[key] = jnp.arange(size) < self.pick(table)
        return self.masks[key]

    def cleaned(self, member: Member, x: Array) -> Array:
        """x with zeros where the combination has no channels."""
        if member.elastic is None:
            return x
        shape = [1] * (x.ndim - 1)
        shape[member.elastic] = -1
        return jnp.where(to_private(self.mask(member).reshape(1, *shape)), x, 0)

    def neutral(self, member: Member, first: Array, second: Array) -> Array:
        """An addition or multiplication that hands on its first operand where it is absent."""
        for axis, (have, want) in enumerate(zip(second.shape, first.shape, strict=True)):
            # Present only where both are equally wide, so that what is cut or filled is inactive.
            if have not in (1, want):
                second = lax.slice_in_dim(second, 0, min(have, want), axis=axis)
                edges = [(0, want - min(have, want) if i == axis else 0) for i in range(second.ndim)]
                second = jnp.pad(second, edges)
        second = self.present(member, second)
        return first + second if member.op.kind == "add" else first * second

    def present(self, member: Member, second: Array) -> Array:
        """The second operand where the addition or multiplication is there, and what changes nothing elsewhere."""
        if member.present.all():
            return second
        return jnp.where(self.pick(member.present), second, 0 if member.op.kind == "add" else 1)

    def weights(self, member: Member, params: Arrays, stats: Arrays) -> dict[str, Array]:
        """The weights by parameter; norms leave inactive channels zero."""
        weights = self.unmasked_weights(member, params, stats)
        if member.elastic is not None and (member.op.kind == "batch_norm" or normalises_features(member)):
            for param in ("scale", "offset"):
                weights[param] = weights[param] * self.mask(member)
        return weights

    def unmasked_weights(self, member: Member, params: Arrays, stats: Arrays) -> dict[str, Array]:
        """The weights by parameter as they are."""
        members, op = self.program.union.members, member.op
        shapes = tuple(members[index].op.shape for index, _ in op.inputs)
        weights = {}
        for param, weight in OPERATORS[op.kind].weights(shapes, op.attributes).items():
            if weight.trainable or self.mode == "eval":
                weights[param] = (params if weight.trainable else stats)[f"{op.name}/{param}"]
        return weights

    def __call__(self, params: Arrays, stats: Arrays, inputs: Sequence[Array]) -> Array:
        members, merged = self.program.union.members, self.program.merged
        behind, given = set(merged.values()), iter(inputs)
        tensors: list[Array] = []
        for index, member in enumerate(members):
            op = member.op
            sources = tuple(tensors[source] for source, _ in op.inputs)
            if op.kind == "input":
                y = next(given)
            elif index in behind:
                y = sources[0]
            elif op.kind in NEUTRAL:
                y = self.neutral(member, *sources)
            else:
                y = FORMS[op.kind](self.call(index, member, sources, params, stats))
            tensors.append(self.cleaned(member, y) if index in self.program.masked else y)
        return tensors[self.program.union.output]

    def activation(self, index: int) -> str:
        """The kind of the activation that is merged behind an operator, if any."""
        merged = self.program.merged
        return self.program.union.members[merged[index]].op.kind if index in merged else ""

    def call(self, index: int, member: Member, sources: tuple[Array, ...], params: Arrays, stats: Arrays) -> Call:
        """The operator with what is active."""
        op, members = member.op, self.program.union.members
        elastic = member.elastic is not None
        return Call(
            op,
            sources,
            self.weights(member, params, stats),
            self.mode,
            self.activation(index),
            Kernels(member.kernels, self.pick(member.kernel)) if member.kernels else None,
            self.pick(member.active) if elastic and _depthwise(op, members[op.inputs[0][0]]) else None,
            self.mask(member) if elastic and normalises_features(member) else None,
            self.found,
        )
