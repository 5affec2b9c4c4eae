"""What the kernels of a network do: counted once, kernel by kernel, for every latency model and estimate.

Traffic is compulsory: inputs, weights and outputs once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hardware_profiles import Target
from latency_models.base import Floats
from latency_models.errors import UnpricedOperator
from search_spaces.ir import Network
from search_spaces.op import Op
from search_spaces.operators import ACTIVATIONS, VIEWS
from search_spaces.passes import OP_CLASSES, Kernel, fuse, op_class

#: Kinds that run on images in blocked layout, whatever their shapes.
_BLOCKED: Final = frozenset({"conv", "avg_pool", "max_pool", "global_pool", "batch_norm", "concat", *ACTIVATIONS})
#: Images with fewer channels than that are not put into blocks.
_FEW_CHANNELS: Final = 8


@dataclass(frozen=True, eq=False)
class Counts:
    """What the kernels of a network do for one sample, an entry for each; `segment` says in which segment it runs."""

    segment: NDArray[np.intp]
    op_class: NDArray[np.intp]
    flops: Floats
    macs: Floats
    activation_bytes: Floats
    weight_bytes: Floats
    #: Arithmetic that is done over that which counts: channels are filled up to whole blocks.
    padding: Floats
    #: Tensors whose layout is changed for the kernel, and their bytes.
    reorders: Floats
    reordered_bytes: Floats
    exits: int
    #: Seconds from a table of measured kernels; empty without one.
    table_s: Floats = field(default_factory=lambda: np.zeros(0))


#: Counts of networks by key and what they depend on beside: devices that fuse alike count alike.
_COUNTED: Final[dict[tuple[str, tuple[str, ...], int], Counts]] = {}
_MOST_COUNTED: Final = 10_000


def counts(
    network: Network,
    fusions: tuple[str, ...],
    model: str,
    target: Target,
    channel_block: int = 1,
    price: Callable[[Network, Kernel], float] | None = None,
) -> Counts:
    """Fuse the network as the runtime does and count, kernel by kernel.

    Convolutions fill channels up to multiples of `channel_block`; `price` looks up the seconds of a kernel.

    Raises UnpricedOperator, naming `model` and `target`, for an operator without a class.
    """
    asked = network.key, fusions, channel_block
    found = None if price is not None else _COUNTED.get(asked)
    if found is not None:
        return found
    for op in network.ops:
        if op.kind not in VIEWS:
            try:
                op_class(network, op)
            except KeyError:
                raise UnpricedOperator(op.name, op.kind, model, target) from None
    found = _counted(network, fusions, channel_block, price)
    if price is None:
        if len(_COUNTED) >= _MOST_COUNTED:
            _COUNTED.clear()
        _COUNTED[asked] = found
    return found


def _counted(
    network: Network, fusions: tuple[str, ...], channel_block: int, price: Callable[[Network, Kernel], float] | None
) -> Counts:
    kernels = fuse(network, frozenset(fusions))
    segment_of = _segments(network)
    converted = [_converted(network, kernel) for kernel in kernels]
    return Counts(
        segment=np.array([segment_of[kernel.ops[-1]] for kernel in kernels], np.intp),
        op_class=np.array([OP_CLASSES.index(kernel.op_class) for kernel in kernels], np.intp),
        flops=np.array([kernel.flops for kernel in kernels], np.float64),
        macs=np.array([kernel.macs for kernel in kernels], np.float64),
        activation_bytes=np.array([kernel.input_bytes + kernel.output_bytes for kernel in kernels], np.float64),
        weight_bytes=np.array([kernel.weight_bytes for kernel in kernels], np.float64),
        padding=np.array([_padding(network, kernel, channel_block) for kernel in kernels], np.float64),
        reorders=np.array([len(tensors) for tensors in converted], np.float64),
        reordered_bytes=np.array([sum(op.bytes for op in tensors) for tensors in converted], np.float64),
        exits=len(network.exits),
        table_s=np.array([] if price is None else [price(network, kernel) for kernel in kernels], np.float64),
    )


def _padding(network: Network, kernel: Kernel, block: int) -> float:
    """Arithmetic with channels filled up to whole blocks, relative to that without."""
    head = network.by_name[kernel.ops[0]]
    if head.kind != "conv" or block == 1:
        return 1.0

    def filled(channels: int) -> float:
        return math.ceil(channels / block) * block / channels

    channels_in = network.input_shapes(head)[0][0]
    whole_input = head.attr("groups") > 1 or channels_in < _FEW_CHANNELS
    return filled(head.shape[0]) * (1.0 if whole_input else filled(channels_in))


def _converted(network: Network, kernel: Kernel) -> list[Op]:
    """The images that a blocked layout has to be left or entered for: all that a kernel without one reads and makes.

    ONNX Runtime's NCHWc layout holds convolutions, pooling, activations, concatenations, and sums and products of equal
    shapes; a product that scales channels, as in squeeze-and-excitation, is not among them. Each kernel is judged
    alone, so that a slot costs the same within any network; two such kernels in a row are counted too dearly.
    """
    head, last = network.by_name[kernel.ops[0]], network.by_name[kernel.ops[-1]]
    read = [network.ops[source] for source, _ in head.inputs]
    if head.kind in _BLOCKED or (head.kind in ("add", "mul") and read[0].shape == read[1].shape):
        return []
    return [op for op in (*dict.fromkeys(read), last) if len(op.shape) == 3]


def _segments(network: Network) -> dict[str, int]:
    """The segment in which each operator runs: that of the first exit which needs it."""
    owner: dict[int, int] = {}
    for number, exit_ in enumerate(network.exits):
        waiting = [exit_]
        while waiting:
            index = waiting.pop()
            if index not in owner:
                owner[index] = number
                waiting.extend(source for source, _ in network.ops[index].inputs)
    return {network.ops[index].name: number for index, number in owner.items()}
