"""What does a fused function compute? One reduction or none, and what is done to each of its results.

TVM fuses operators into one function of several blocks. Inlined into each other, at most three are left: the anchor, a
reduction; what becomes of each of its results; and, where that is an operand of something larger (the gates of squeeze
and excitation), that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from nas.deploy.schedules.operators import KERNEL, Anchor

#: What is computed in vectors: others, truth values above all, are stored in another size than they are computed in.
_TYPES = frozenset({"float32", "int32", "int64"})
#: Largest number of times that one expression is repeated where others that use it are inlined.
_MOST_COPIES = 64


@dataclass(frozen=True)
class Block:
    """`target[axes] = value`; of a reduction, repeated over `reduced`, with `start` in the target before."""

    target: Any
    axes: Sequence[Any]
    value: Any
    reduced: Sequence[tuple[Any, int]] = ()
    start: Any = None
    anchor: Anchor | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The target's."""
        return tuple(int(size) for size in self.target.shape)

    def at(self, place: Sequence[Any], others: dict[Any, Any], read: Callable[[Any], Any] | None = None) -> Any:
        """The value at a place, with other variables replaced too, and loads as `read` says, if it says something."""
        import tvm_ffi
        from tvm import ir

        variables = {**dict(zip(self.axes, place, strict=True)), **others}

        def load(node: Any) -> Any:
            instead = read(node) if read is not None else None
            return node if instead is None else instead

        callbacks = [(ir.TensorLoad, load), (ir.Var, lambda variable: variables.get(variable, variable))]
        return tvm_ffi.structural_map(self.value, callbacks)


@dataclass(frozen=True)
class Fused:
    """`anchor`, if there is one, then `results` of it, then `larger`, if that is not all.

    `temporaries` are buffers in between, which nobody else knows.
    """

    anchor: Block | None
    results: Block | None
    larger: Block | None
    temporaries: Sequence[Any] = ()


def fused(function: Any) -> Fused | None:
    """Take a function apart; None for one that is made in another way."""
    import tvm
    from tvm.s_tir import Schedule

    schedule = Schedule(tvm.IRModule({"main": function}))
    try:
        names = [schedule.get(block).name_hint for block in schedule.get_child_blocks(schedule.get_sblock("root"))]
        found = {name: _block(schedule.get(schedule.get_sblock(name))) for name in names}
    except (ValueError, RuntimeError):
        return None
    blocks = {name: block for name, block in found.items() if block is not None}
    if not names or len(blocks) < len(names):
        return None
    anchors = [name for name in names if blocks[name].reduced]
    written = [blocks[name].target for name in names]
    if len(anchors) > 1 or len(set(written)) != len(written):
        return None
    last = names[-1]
    kept = _results(names, blocks, anchors[0]) if anchors else None
    copies = 1
    for name in names:
        if name in (last, kept, *anchors):
            continue
        block = schedule.get_sblock(name)
        copies *= max(1, len(schedule.get_consumers(block)))
        if copies > _MOST_COPIES:
            return None
        try:
            schedule.compute_inline(block)
        except (ValueError, RuntimeError):
            return None
    left = {name: _block(schedule.get(schedule.get_sblock(name))) for name in names if name in (last, kept, *anchors)}
    if None in left.values():
        return None
    return _arranged(left, anchors[0] if anchors else None, kept, last, list(function.params))


def _results(names: Sequence[str], blocks: dict[str, Any], anchor: str) -> str:
    """The last block that is as large as the anchor and made from it."""
    made = {blocks[anchor].target}
    kept = anchor
    for name in names[names.index(anchor) + 1 :]:
        block = blocks[name]
        if block.shape == blocks[anchor].shape and made & set(loaded(block.value)):
            made.add(block.target)
            kept = name
    return kept


def _arranged(
    left: dict[str, Any], anchor: str | None, kept: str | None, last: str, parameters: Sequence[Any]
) -> Fused | None:
    if anchor is None:
        return Fused(None, None, left[last])
    results = left[kept] if kept is not None and kept != anchor else None
    larger = left[last] if last not in (anchor, kept) else None
    if results is None:
        block = left[anchor]
        results = Block(block.target, block.axes, block.target[tuple(block.axes)])
    sums = left[anchor].target
    if not _in_place(results, sums):
        return None
    if larger is None:
        return Fused(left[anchor], results, None)
    if not results.target.same_as(sums) and any(buffer.same_as(sums) for buffer in loaded(larger.value)):
        return None
    return Fused(left[anchor], results, larger, () if results.target in parameters else (results.target,))


def _in_place(results: Block, sums: Any) -> bool:
    """Whether each result is made of the sum in its own place."""
    import tvm_ffi
    from tvm import ir

    fine: list[bool] = []

    def load(node: Any) -> None:
        if node.source.same_as(sums):
            pairs = zip(node.indices, results.axes, results.shape, strict=True)
            fine.append(all(index.same_as(axis) or size == 1 for index, axis, size in pairs))

    tvm_ffi.structural_walk(results.value, (ir.TensorLoad, load))
    return all(fine)


def loaded(value: Any) -> list[Any]:
    """The buffers that an expression reads, once for each time."""
    import tvm_ffi
    from tvm import ir

    found: list[Any] = []
    tvm_ffi.structural_walk(value, (ir.TensorLoad, lambda node: found.append(node.source)))
    return found


def _block(block: Any) -> Block | None:
    """A block that stores one value at the place of its spatial axes, in order; None for any other."""
    from tvm import tirx

    store = block.body
    if not isinstance(store, tirx.BufferStore) or len(block.alloc_buffers) or len(block.match_buffers):
        return None
    spatial = [axis.var for axis in block.iter_vars if int(axis.iter_type) == tirx.IterVar.DataPar]
    reduced = [
        (axis.var, axis.dom.extent) for axis in block.iter_vars if int(axis.iter_type) == tirx.IterVar.CommReduce
    ]
    if len(spatial) + len(reduced) != len(block.iter_vars):
        return None
    sizes = [*store.buffer.shape, *(extent for _, extent in reduced)]
    if not all(isinstance(size, tirx.IntImm) for size in sizes):
        return None
    # Axes of one are written as a zero.
    places = list(store.indices)
    axes = []
    for place, size in zip(places, store.buffer.shape, strict=True):
        if place in spatial:
            axes.append(place)
        elif int(size) == 1 and isinstance(place, tirx.IntImm):
            axes.append(tirx.Var("one", "int64"))
        else:
            return None
    if len(set(axes)) != len(axes) or not set(spatial) <= set(axes):
        return None
    text = block.annotations.get(KERNEL)
    start = block.init.value if block.init is not None else None
    if bool(reduced) != isinstance(start, tirx.FloatImm):
        return None
    if not {str(buffer.dtype) for buffer in (store.buffer, *loaded(store.value))} <= _TYPES:
        return None
    return Block(
        store.buffer,
        axes,
        store.value,
        [(variable, int(extent)) for variable, extent in reduced],
        start,
        None if text is None else Anchor.read(str(text)),
    )
