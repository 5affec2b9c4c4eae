"""How is computed what is done element by element, and pooling? Neighbours in the last axis at a time, as a vector."""

from __future__ import annotations

import math
from typing import Any

from nas.deploy.schedules.fused import Block
from nas.deploy.schedules.loops import number, pieces, sequence, serial, unravel, vector
from nas.deploy.schedules.processor import Processor

#: Vectors of sums at a time, so that additions need not wait for each other.
_SUMS = 8
#: Fewer results than these are not worth waking other threads for.
_WORTH_THREADS = 1 << 15


def elementwise(block: Block, processor: Processor) -> Any:
    """A statement that stores the block's value everywhere."""
    from tvm import tirx

    *lead, size = block.shape or (1,)
    rows = math.prod(lead)

    def row(index: Any) -> Any:
        place = unravel(index, lead)

        def store(first: Any, lanes: int) -> Any:
            def one(lane: Any) -> Any:
                where = [*place, first + lane] if block.shape else []
                return tirx.BufferStore(block.target, block.at(where, {}), where)

            return vector(lanes, one) if lanes > 1 else one(0)

        return _covered(size, processor.lanes, store)

    return serial(rows, row, threads=processor.threads if rows * size >= _WORTH_THREADS else 1)


def _covered(size: int, lanes: int, store: Any) -> Any:
    """A loop over whole vectors of the last axis, and what is left."""
    whole, rest = divmod(size, lanes)
    statements = []
    if whole:
        statements.append(serial(whole, lambda index: store(index * lanes, lanes)))
    if rest:
        statements.append(store(number(whole * lanes), rest))
    return sequence(statements)


def reduction(anchor: Block, results: Block, processor: Processor) -> Any:
    """A statement for a reduction that leaves the last axis alone, and what becomes of its results."""
    from tvm import tirx

    *lead, size = anchor.shape
    rows, width = math.prod(lead), min(_SUMS * processor.lanes, size)

    def row(index: Any) -> Any:
        place = unravel(index, lead)

        def sums(first: Any, count: int) -> Any:
            held = [
                (start, lanes, tirx.decl_buffer((lanes,), anchor.target.dtype, scope="local"))
                for start, lanes in pieces(count, processor.lanes)
            ]

            def every(make: Any) -> list[Any]:
                return [_vector(lanes, make, start, buffer) for start, lanes, buffer in held]

            def begin(start: int, buffer: Any, lane: Any) -> Any:
                return tirx.BufferStore(buffer, anchor.start, [lane])

            def step(variables: dict[Any, Any]) -> Any:
                def add(start: int, buffer: Any, lane: Any) -> Any:
                    value = anchor.at(
                        [*place, first + start + lane],
                        variables,
                        lambda load: buffer[lane] if load.source.same_as(anchor.target) else None,
                    )
                    return tirx.BufferStore(buffer, value, [lane])

                return sequence(every(add))

            def end(start: int, buffer: Any, lane: Any) -> Any:
                where = [*place, first + start + lane]
                value = results.at(where, {}, lambda load: buffer[lane] if load.source.same_as(anchor.target) else None)
                return tirx.BufferStore(results.target, value, where)

            return sequence(
                [*(tirx.AllocBuffer(buffer) for _, _, buffer in held), *every(begin), _over(anchor, step), *every(end)]
            )

        return _covered(size, width, sums)

    return serial(rows, row)


def _vector(lanes: int, make: Any, start: int, buffer: Any) -> Any:
    return vector(lanes, lambda lane: make(start, buffer, lane))


def _over(anchor: Block, step: Any) -> Any:
    """Loops over everything that is reduced."""
    variables: dict[Any, Any] = {}

    def nest(left: Any) -> Any:
        if not left:
            return step(dict(variables))
        (variable, size), *others = left

        def body(index: Any) -> Any:
            variables[variable] = index
            return nest(others)

        return serial(size, body)

    return nest(list(anchor.reduced))


def leaves_last_axis_alone(anchor: Block) -> bool:
    """Whether neighbours in the last axis are made from neighbours, or from the same values."""
    import tvm_ffi
    from tvm import ir

    if not anchor.shape:
        return False
    last, fine = anchor.axes[-1], []

    def uses(value: Any) -> bool:
        found: list[Any] = []
        tvm_ffi.structural_walk(value, (ir.Var, lambda variable: found.append(variable.same_as(last))))
        return any(found)

    def load(node: Any) -> None:
        *others, own = node.indices or [number(0)]
        fine.append(not any(uses(index) for index in others) and (own is last or own.same_as(last) or not uses(own)))

    tvm_ffi.structural_walk(anchor.value, (ir.TensorLoad, load))
    return all(fine)
