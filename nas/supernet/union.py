"""What a slot can be, as one graph: the operators of all its combinations, and tables of what each combination uses.

Elastic weight sharing (Cai et al. 2020, arXiv 1908.09791) keeps one set of tensors of the largest size; from these,
combinations take the first channels and the centre of kernels. This file derives, by comparing the networks of all
combinations operator by operator, which operators there are, how large each can become, and per combination whether it
is present, how many channels count and how large its kernel is. Numpy only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from search_spaces.ir import Network
from search_spaces.op import Op
from search_spaces.operators import Shape
from search_spaces.slots import ExitSite, Slot, SpaceError

#: An absent operator of these kinds hands on its first operand.
NEUTRAL: Final = frozenset({"add", "mul"})

#: Attributes that may differ between combinations; the largest is kept, the tensors are cut.
_ELASTIC: Final[Mapping[str, frozenset[str]]] = {
    "input": frozenset({"shape"}),
    "conv": frozenset({"filters", "kernel", "padding", "groups"}),
    "dense": frozenset({"units"}),
    "reshape": frozenset({"shape"}),
}

Table = NDArray[np.int32]


@dataclass(frozen=True)
class Member:
    """One operator of a union.

    `op` has the largest shape and attributes; its inputs are indices into the union. Tables have one entry per
    combination of the slot: `present`, the `active` sizes of the axis `elastic` (None where no axis varies), and
    `kernel`, an index into `kernels` (empty where the kernel does not vary).
    """

    op: Op
    present: NDArray[np.bool_]
    elastic: int | None
    active: Table
    kernels: tuple[int, ...]
    kernel: Table


@dataclass(frozen=True)
class Union:
    """The operators of some combinations of a slot in order of execution, and the index of the output.

    `sizes` are the numbers of options of the slot's genes, whose product the combinations are.
    """

    members: tuple[Member, ...]
    output: int
    sizes: tuple[int, ...]


@dataclass(frozen=True)
class SlotPlan:
    """A slot as unions that exclude each other: `entry[combination]` is the index of one, or len(unions) if absent.

    `on[combination]` is the combination itself, or for an exit that is switched off, the same with it on.
    """

    slot: Slot
    unions: tuple[Union, ...]
    entry: Table
    on: Table

    @property
    def optional(self) -> bool:
        """Whether the slot can be absent."""
        return bool((self.entry == len(self.unions)).any())

    @property
    def shape(self) -> Shape:
        """The largest shape of its output."""
        union = self.unions[0]
        return union.members[union.output].op.shape


def plan(slot: Slot, site: ExitSite | None = None) -> SlotPlan:
    """Compare all combinations of a slot; `site` says what switches it if it is an exit.

    Raises SpaceError where the combinations cannot share weights: an operator changes its kind, stride or wiring.
    """
    combinations = list(slot.combinations())
    networks = [slot.network(values) for values in combinations]
    choices = sorted({_chosen(slot, values) for values, network in zip(combinations, networks, strict=True) if network})
    if not choices:
        raise SpaceError(f"slot {slot.name!r} is absent in all of its combinations; leave it out")
    unions, entry = [], np.full(len(combinations), len(choices), np.int32)
    for number, choice in enumerate(choices):
        there = {
            i: network
            for i, (values, network) in enumerate(zip(combinations, networks, strict=True))
            if network is not None and _chosen(slot, values) == choice
        }
        entry[list(there)] = number
        unions.append(_Merge(slot, there, len(combinations)).union())
    on = np.arange(len(combinations), dtype=np.int32)
    if site is not None and site.gene is not None:
        axis = slot.genes.index(site.gene)
        for i, values in enumerate(combinations):
            if networks[i] is None:
                same = combinations.index((*values[:axis], site.options[0], *values[axis + 1 :]))
                on[i] = i if networks[same] is None else same
    return SlotPlan(slot, tuple(unions), entry, on)


def _chosen(slot: Slot, values: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(values[position] for position in slot.operator_choice)


class _Merge:
    """Merges the networks of some combinations (by their index) of one slot by operator name."""

    def __init__(self, slot: Slot, networks: Mapping[int, Network], combinations: int) -> None:
        self.slot, self.networks, self.combinations = slot, networks, combinations
        self.sources: dict[str, list[dict[str, None]]] = {}
        self.kinds: dict[str, str] = {}
        for network in networks.values():
            for op in network.ops:
                names = [network.ops[index].name for index, _ in op.inputs]
                seen = self.sources.setdefault(op.name, [{} for _ in names])
                if self.kinds.setdefault(op.name, op.kind) != op.kind or len(seen) != len(names):
                    self.refuse(op.name, f"is a {self.kinds[op.name]} in one combination and a {op.kind} in another")
                for candidates, name in zip(seen, names, strict=True):
                    candidates[name] = None
        self.inputs = {
            name: [self.deepest(name, candidates) for candidates in seen] for name, seen in self.sources.items()
        }
        answers = {network.ops[network.exits[0]].name: None for network in networks.values()}
        self.output = self.deepest("the output", answers)

    def refuse(self, name: str, why: str) -> None:
        raise SpaceError(
            f"slot {self.slot.name!r}: {name} {why}; such combinations cannot share weights, make the "
            "gene an operator choice"
        )

    def through(self, name: str) -> Iterable[str]:
        """`name` and what it hands on when it and what it hands on are absent."""
        yield name
        while self.kinds[name] in NEUTRAL:
            # All candidates of a first operand lie on one chain, which `deepest` checks for the operator itself.
            name = max(self.sources[name][0], key=lambda candidate: len(list(self.through(candidate))))
            yield name

    def deepest(self, reader: str, candidates: Iterable[str]) -> str:
        """The candidate that hands on all others when absent operators pass their first operand."""
        names = list(candidates)
        for name in names:
            if set(names) <= set(self.through(name)):
                return name
        self.refuse(reader, f"reads {' or '.join(names)}, depending on the combination")
        raise AssertionError

    def ordered(self) -> list[str]:
        """Names of all operators, each after its inputs."""
        order: dict[str, None] = {}

        def visit(name: str) -> None:
            if name not in order:
                for source in self.inputs[name]:
                    visit(source)
                order[name] = None

        for name in self.inputs:
            visit(name)
        return list(order)

    def union(self) -> Union:
        names = self.ordered()
        place = {name: index for index, name in enumerate(names)}
        members: list[Member] = []
        for name in names:
            members.append(self.member(name, tuple(members[place[source]] for source in self.inputs[name]), place))
        return Union(tuple(members), place[self.output], self.slot.sizes)

    def member(self, name: str, sources: tuple[Member, ...], place: Mapping[str, int]) -> Member:
        ops = {i: network.by_name[name] for i, network in self.networks.items() if name in network.by_name}
        present = np.zeros(self.combinations, np.bool_)
        present[list(ops)] = True
        kind = self.kinds[name]
        shapes = [op.shape for op in ops.values()]
        shape = sources[0].op.shape if kind in NEUTRAL else self.largest_shape(name, shapes)
        refs = tuple((place[source.op.name], 0) for source in sources)
        op = replace(
            next(iter(ops.values())), inputs=refs, shape=shape, attrs=self.merged_attributes(name, list(ops.values()))
        )
        kernels, kernel = self.kernel_table(ops)
        if kind in NEUTRAL:
            # Its output is its first operand's size, be it present or not.
            return Member(op, present, sources[0].elastic, sources[0].active, kernels, kernel)
        varying = [axis for axis in range(len(shape)) if len({s[axis] for s in shapes}) > 1]
        if len(varying) > 1:
            self.refuse(name, f"varies along {len(varying)} axes, {sorted(set(shapes))}")
        elastic = varying[0] if varying else None
        active = np.full(self.combinations, 0 if elastic is None else shape[elastic], np.int32)
        if elastic is not None:
            if not self.is_prefix(op, elastic, sources):
                self.refuse(name, f"({kind}) would not keep the first elements of axis {elastic} together")
            for i, there in ops.items():
                active[i] = there.shape[elastic]
        return Member(op, present, elastic, active, kernels, kernel)

    def largest_shape(self, name: str, shapes: list[Shape]) -> Shape:
        if len({len(shape) for shape in shapes}) > 1:
            self.refuse(name, f"has shapes of different rank, {sorted(set(shapes))}")
        return tuple(max(sizes) for sizes in zip(*shapes, strict=True))

    def merged_attributes(self, name: str, ops: list[Op]) -> tuple[tuple[str, Any], ...]:
        merged = []
        elastic = _ELASTIC.get(ops[0].kind, frozenset())
        for key, first in ops[0].attrs:
            values = {op.attr(key) for op in ops}
            if len(values) > 1 and key not in elastic:
                self.refuse(name, f"has {key} {' or '.join(map(str, sorted(values, key=str)))}")
            if len(values) == 1:
                merged.append((key, first))
            elif key == "shape":
                merged.append((key, self.largest_shape(name, list(values))))
            else:
                merged.append((key, max(values)))
        return tuple(merged)

    def kernel_table(self, ops: Mapping[int, Op]) -> tuple[tuple[int, ...], Table]:
        table = np.zeros(self.combinations, np.int32)
        if next(iter(ops.values())).kind != "conv":
            return (), table
        sizes = tuple(sorted({op.attr("kernel") for op in ops.values()}))
        if len(sizes) == 1:
            return (), table
        for i, op in ops.items():
            padding = op.attr("padding")
            if op.attr("kernel") % 2 != sizes[0] % 2 or padding not in (None, op.attr("kernel") // 2):
                self.refuse(op.name, f"has kernels {sizes} that are not centred alike")
            table[i] = sizes.index(op.attr("kernel"))
        return sizes, table

    def is_prefix(self, op: Op, axis: int, sources: tuple[Member, ...]) -> bool:
        """Whether the active elements of the output are those that the active inputs give, and come first."""
        if op.kind == "concat":
            return all(source.elastic is None for source in sources[:-1]) or axis != op.attr("axis")
        if op.kind == "reshape":
            before, after = sources[0].op.shape, op.shape
            return axis == 0 == sources[0].elastic and (len(after) == 1 or before[1:] == after[1:])
        if op.kind == "softmax":
            return bool(axis != op.attr("axis") % len(op.shape))
        if op.kind in ("conv", "batch_norm"):
            return axis == 0
        return axis in (0, len(op.shape) - 1)
