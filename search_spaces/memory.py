"""Peak activation memory of a network: which tensors live at the same time when operators run in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search_spaces.operators import ACTIVATIONS, VIEWS

if TYPE_CHECKING:
    from search_spaces.ir import Network


def peak_memory(network: Network) -> int:
    """Largest sum of live activation bytes while running the operators in order, for one sample.

    A tensor lives from its operator to its last reader; answers live to the end. Batch norm and activations overwrite
    their input where nobody else reads it, as every runtime in use here does; inputs are the caller's.
    """
    viewed = list(range(len(network.ops)))
    for index, op in enumerate(network.ops):
        if op.kind in VIEWS and op.inputs:
            viewed[index] = viewed[op.inputs[0][0]]
    readers = [0] * len(network.ops)
    for op in network.ops:
        for source, _ in op.inputs:
            readers[viewed[source]] += op.kind not in VIEWS
    for index in network.exits:
        readers[viewed[index]] += 1
    buffer = list(range(len(network.ops)))
    for index, op in enumerate(network.ops):
        if op.inputs:
            source = viewed[op.inputs[0][0]]
            overwrites = op.kind in ACTIVATIONS | {"batch_norm"} and readers[source] == 1
            if op.kind in VIEWS or (overwrites and network.ops[source].kind != "input"):
                buffer[index] = buffer[source]
    last = list(range(len(network.ops)))
    for index, op in enumerate(network.ops):
        for source, _ in op.inputs:
            last[buffer[source]] = max(last[buffer[source]], index)
        last[buffer[index]] = max(last[buffer[index]], index)
    for index in network.exits:
        last[buffer[index]] = len(network.ops)
    live: dict[int, int] = {}
    peak = 0
    for index, op in enumerate(network.ops):
        live.setdefault(buffer[index], op.bytes)
        peak = max(peak, sum(live.values()))
        live = {owner: size for owner, size in live.items() if last[owner] > index}
    return peak
