"""All networks of a space as one compiled program: the genome enters as integers known at run time.

A slot runs its largest tensors with everything masked that the combination does not use. Masks cost no pass over
memory where a batch norm follows: its scale and offset are masked instead. An absent slot and the other entries of a
bank are branches not taken. The tables come from `union`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from numpy.typing import NDArray

from search_spaces.ir import Op
from search_spaces.operators import OPERATORS
from search_spaces.slots import IMAGE, Genomes, SearchSpace, exit_positions

from .interpreter import FORMS, Arrays, Call, Kernels, Mode, merged_activations, to_ir, to_private
from .normalisation import scale_gradient
from .union import NEUTRAL, Member, SlotPlan, Union, plan

#: f(0) = 0, so that inactive channels stay zero.
_KEEPS_ZERO: Final = frozenset({"relu", "relu6", "hard_swish", "silu", "gelu", "avg_pool", "max_pool", "global_pool"})
_MOVES: Final = frozenset({"reshape", "transpose", "concat"})
#: Operators that add up along the channels, and therefore need the inactive ones to be zero.
_MIXES: Final = frozenset({"conv", "dense", "matmul", "layer_norm"})


@dataclass(frozen=True)
class Choices:
    """What genomes mean to a supernet: per slot the combination [n, slots], per exit position whether it is legal
    [n, positions]. Exits that the genome turns off are on here: they do not change what the others see."""

    combination: NDArray[np.int32]
    legal: NDArray[np.bool_]


@dataclass(frozen=True)
class _Program:
    """A union ready to run: activations merged into batch norms, and the members whose output must be masked."""

    union: Union
    merged: Mapping[int, int]
    masked: frozenset[int]


def _depthwise(op: Op, source: Member) -> bool:
    return op.kind == "conv" and op.attr("groups") == source.op.shape[0] == op.shape[0]


def _clean(member: Member, members: Sequence[Member], clean: Sequence[bool]) -> bool:
    """Whether the inactive elements of an operator's output are zero when it runs without a mask of its own."""
    op = member.op
    sources = [clean[index] for index, _ in op.inputs]
    if member.elastic is None or op.kind in ("input", "matmul"):
        return True
    if op.kind == "batch_norm" or (op.kind == "layer_norm" and member.elastic == len(op.shape) - 1):
        return True
    if op.kind == "mul":
        return any(sources)
    if op.kind in _KEEPS_ZERO | _MOVES | {"add"}:
        return all(sources)
    return _depthwise(op, members[op.inputs[0][0]]) and not op.attr("bias") and all(sources)


def _program(union: Union) -> _Program:
    members = union.members
    masked: set[int] = {union.output}
    while True:
        clean: list[bool] = []
        for index, member in enumerate(members):
            clean.append(index in masked or _clean(member, members, clean))
        needed = {
            index
            for member in members
            if member.op.kind in _MIXES and not _depthwise(member.op, members[member.op.inputs[0][0]])
            for index, _ in member.op.inputs
            if not clean[index]
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
    return _Program(union, merged, frozenset(masked - free))


class _Run:
    """One pass of a union for one combination; masks that are equal are made once."""

    def __init__(self, program: _Program, combination: Array, mode: Mode, found: dict[str, Array]) -> None:
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
        if second.ndim == 4 and first.shape[-1] != second.shape[-1]:
            # Present only where both are equally wide, so that what is cut or filled is inactive.
            second = second[..., : first.shape[-1]]
            second = jnp.pad(second, ((0, 0), (0, 0), (0, 0), (0, first.shape[-1] - second.shape[-1])))
        adds = member.op.kind == "add"
        if not member.present.all():
            second = jnp.where(self.pick(member.present), second, 0 if adds else 1)
        return first + second if adds else first * second

    def weights(self, member: Member, params: Arrays, stats: Arrays) -> dict[str, Array]:
        members, op = self.program.union.members, member.op
        shapes = tuple(members[index].op.shape for index, _ in op.inputs)
        weights = {}
        for param, weight in OPERATORS[op.kind].weights(shapes, op.attributes).items():
            if weight.trainable or self.mode == "eval":
                weights[param] = (params if weight.trainable else stats)[f"{op.name}/{param}"]
        masks_itself = op.kind == "batch_norm" or (op.kind == "layer_norm" and member.elastic == len(op.shape) - 1)
        if masks_itself and member.elastic is not None:
            for param in ("scale", "offset"):
                weights[param] = weights[param] * self.mask(member)
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

    def call(self, index: int, member: Member, sources: tuple[Array, ...], params: Arrays, stats: Arrays) -> Call:
        op, merged, members = member.op, self.program.merged, self.program.union.members
        return Call(
            op,
            sources,
            self.weights(member, params, stats),
            self.mode,
            members[merged[index]].op.kind if index in merged else "",
            Kernels(member.kernels, self.pick(member.kernel)) if member.kernels else None,
            self.pick(member.active) if op.kind == "layer_norm" and member.elastic == len(op.shape) - 1 else None,
            self.found,
        )


class Supernet:
    """The networks of a space with shared weights.

    Raises SpaceError where the combinations of a slot cannot share weights.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        users = [gene for slot in space.slots for gene in slot.genes]
        own = frozenset(gene for gene in users if users.count(gene) == 1)
        self.plans = tuple(plan(slot, own & frozenset(slot.genes)) for slot in space.slots)
        self.positions = exit_positions(space)
        self._programs = [tuple(_program(union) for union in plan.unions) for plan in self.plans]

    @cached_property
    def _exit_genes(self) -> tuple[tuple[int, ...], ...]:
        """Per early exit, the genes that only exits read."""
        shared = {gene for slot in self.space.slots if slot.role == "body" for gene in slot.genes}
        exits = [self.plans[position].slot for position in self.positions[:-1]]
        return tuple(tuple(gene for gene in slot.genes if gene not in shared) for slot in exits)

    def choices(self, genomes: Genomes) -> Choices:
        """Tables of the genomes [n, genes], which need not be canonical."""
        genomes = np.asarray(genomes)
        every = [gene for genes in self._exit_genes for gene in genes]
        combination = np.stack([plan.on[plan.slot.index(self.space.canonical(genomes))] for plan in self.plans], axis=1)
        legal = np.ones((len(genomes), len(self.positions)), np.bool_)
        for column, (position, genes) in enumerate(zip(self.positions[:-1], self._exit_genes, strict=True)):
            # An exit is legal if it stays on when it is the only one, whatever the limit on their number.
            lonely = np.array(genomes)
            lonely[:, every] = 0
            here = self.plans[position]
            for gene, value in zip(here.slot.genes, self._on_values(here), strict=True):
                if gene in genes:
                    lonely[:, gene] = value
            index = here.slot.index(self.space.canonical(lonely))
            legal[:, column] = here.entry[index] < len(here.unions)
        return Choices(combination.astype(np.int32), legal)

    @staticmethod
    def _on_values(here: SlotPlan) -> tuple[int, ...]:
        first = int(np.flatnonzero(here.entry < len(here.unions))[0])
        return list(here.slot.combinations())[first]

    def forward(
        self,
        params: Arrays,
        stats: Arrays,
        images: Array,
        combination: Array,
        mode: Mode = "eval",
        gradient_scales: tuple[Array, Array] | None = None,
    ) -> tuple[Array, dict[str, Array]]:
        """Logits [positions, n, classes] of images [n, channels, height, width], and new statistics if calibrating.

        `combination` int32 [slots] is a row of `Choices`; positions that are not legal there hold meaningless numbers.
        `gradient_scales` [positions] twice multiply the gradients that come out of each head and those that come from
        behind it (`losses.equilibrium`).
        """
        found: dict[str, Array] = {}
        values = {IMAGE: to_private(images)}
        logits = []
        for number, here in enumerate(self.plans):
            inputs = [values[name] for name in here.slot.inputs]
            if number in self.positions:
                position = self.positions.index(number)
                if gradient_scales is not None:
                    name = here.slot.inputs[0]
                    inputs[0] = scale_gradient(inputs[0], gradient_scales[0][position])
                    values[name] = scale_gradient(values[name], gradient_scales[1][position])
                y = self._slot(number, params, stats, inputs, combination[number], mode, found)
                logits.append(to_ir(y).reshape(len(images), -1))
            else:
                values[here.slot.name] = self._slot(number, params, stats, inputs, combination[number], mode, found)
        return jnp.stack(logits), found

    def _slot(
        self,
        number: int,
        params: Arrays,
        stats: Arrays,
        inputs: list[Array],
        combination: Array,
        mode: Mode,
        found: dict[str, Array],
    ) -> Array:
        here, programs = self.plans[number], self._programs[number]
        # An exit is never skipped: where it is off, `on` has turned it on, and where illegal its logits are unused.
        can_be_absent = here.optional and here.slot.role == "body"
        if len(programs) == 1 and not can_be_absent:
            return _Run(programs[0], combination, mode, found)(params, stats, inputs)
        before = _statistics(here, stats) if mode == "calibrate" else {}

        def branch(program: _Program) -> Any:
            def run(inputs: list[Array]) -> tuple[Array, dict[str, Array]]:
                mine = dict(before)
                y = _Run(program, combination, mode, mine)(params, stats, inputs)
                return y, mine

            return run

        branches = [branch(program) for program in programs]
        if can_be_absent:
            branches.append(lambda inputs: (inputs[0], before))
        y, mine = lax.switch(jnp.asarray(here.entry)[combination], branches, inputs)
        found.update(mine)
        return y  # type: ignore[no-any-return]


def _statistics(here: SlotPlan, stats: Arrays) -> dict[str, Array]:
    """The statistics of a slot's batch norms, for branches that are not taken; neutral where there are none yet."""
    result = {}
    for union in here.unions:
        for member in union.members:
            if member.op.kind == "batch_norm":
                for param, neutral in (("mean", 0.0), ("variance", 1.0)):
                    name = f"{member.op.name}/{param}"
                    result[name] = stats.get(name, jnp.full(member.op.shape[0], neutral))
    return result
