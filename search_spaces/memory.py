"""Peak activation memory of a network: which tensors live at the same time when operators run in order."""

from __future__ import annotations

from collections.abc import Sequence

from search_spaces.op import Op
from search_spaces.operators import ACTIVATIONS, VIEWS


def peak_memory(ops: Sequence[Op], exits: Sequence[int]) -> int:
    """Largest sum of live activation bytes while running operators in order, for one sample; `exits` are answers.

    A tensor lives from its operator to its last reader; answers live to the end. Batch norm and activations overwrite
    their input where nobody else reads it, as every runtime in use here does; inputs are the caller's.
    """
    viewed = list(range(len(ops)))
    for index, op in enumerate(ops):
        if op.kind in VIEWS and op.inputs:
            viewed[index] = viewed[op.inputs[0][0]]
    readers = [0] * len(ops)
    for op in ops:
        for source, _ in op.inputs:
            readers[viewed[source]] += op.kind not in VIEWS
    for index in exits:
        readers[viewed[index]] += 1
    buffer = list(range(len(ops)))
    for index, op in enumerate(ops):
        if op.inputs:
            source = viewed[op.inputs[0][0]]
            overwrites = op.kind in ACTIVATIONS | {"batch_norm"} and readers[source] == 1
            if op.kind in VIEWS or (overwrites and ops[source].kind != "input"):
                buffer[index] = buffer[source]
    last = list(range(len(ops)))
    for index, op in enumerate(ops):
        for source, _ in op.inputs:
            last[buffer[source]] = max(last[buffer[source]], index)
        last[buffer[index]] = max(last[buffer[index]], index)
    for index in exits:
        last[buffer[index]] = len(ops)
    live: dict[int, int] = {}
    peak = 0
    for index, op in enumerate(ops):
        live.setdefault(buffer[index], op.bytes)
        peak = max(peak, sum(live.values()))
        live = {owner: size for owner, size in live.items() if last[owner] > index}
    return peak
