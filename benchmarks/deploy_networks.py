"""Which networks are deployed? MobileNetV2 and V3-small as published, and two of the space `mobile`; random weights.

Latency does not depend on what the weights are. Batch norm is in the networks, and folded on export.
MobileNetV2: https://arxiv.org/abs/1801.04381, V3: https://arxiv.org/abs/1905.02244
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from search_spaces.ir import Builder, Network
from search_spaces.mobile import mobile
from search_spaces.op import Ref
from search_spaces.slots import random_genomes

#: Expansion, channels, repeats, stride.
_V2 = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
#: Kernel, expanded channels, channels, squeeze and excitation, activation, stride.
_V3_SMALL = (
    (3, 16, 16, True, "relu", 2),
    (3, 72, 24, False, "relu", 2),
    (3, 88, 24, False, "relu", 1),
    (5, 96, 40, True, "hard_swish", 2),
    (5, 240, 40, True, "hard_swish", 1),
    (5, 240, 40, True, "hard_swish", 1),
    (5, 120, 48, True, "hard_swish", 1),
    (5, 144, 48, True, "hard_swish", 1),
    (5, 288, 96, True, "hard_swish", 2),
    (5, 576, 96, True, "hard_swish", 1),
    (5, 576, 96, True, "hard_swish", 1),
)


def networks() -> dict[str, Network]:
    """Every network by name."""
    space = mobile((3, 32, 32), 10)
    genomes = random_genomes(space, 2, np.random.default_rng(16))
    return {
        "mobilenet_v2_224": mobilenet_v2(224, 1000),
        "mobilenet_v2_32": mobilenet_v2(32, 10, stem_stride=1),
        "mobilenet_v3_small_224": mobilenet_v3_small(224, 1000),
        **{f"mobile_{number}": space.decode(tuple(genome)) for number, genome in enumerate(genomes)},
    }


def mobilenet_v2(size: int, classes: int, stem_stride: int = 2) -> Network:
    """MobileNetV2-1.0 for images [3, size, size]."""
    b = Builder()
    x = _conv(b, "stem", b.input("image", (3, size, size)), 32, 3, stem_stride, "relu6")
    for stage, (expansion, channels, repeats, stride) in enumerate(_V2):
        for number in range(repeats):
            hidden = b.shape(x)[0] * expansion
            step = stride if number == 0 else 1
            x = _inverted(b, f"s{stage}.{number}", x, 3, hidden, channels, False, "relu6", step)
    x = _conv(b, "last", x, 1280, 1, 1, "relu6")
    return b.network(b("dense", "classes", _pooled(b, "pool", x), units=classes))


def mobilenet_v3_small(size: int, classes: int) -> Network:
    """MobileNetV3-small-1.0 for images [3, size, size]."""
    b = Builder()
    x = _conv(b, "stem", b.input("image", (3, size, size)), 16, 3, 2, "hard_swish")
    for number, row in enumerate(_V3_SMALL):
        x = _inverted(b, f"b{number}", x, *row)
    x = _conv(b, "last", x, 576, 1, 1, "hard_swish")
    hidden = b("hard_swish", "hidden.act", b("dense", "hidden", _pooled(b, "pool", x), units=1024))
    return b.network(b("dense", "classes", hidden, units=classes))


def random_weights(network: Network, seed: int = 0) -> Mapping[str, NDArray[np.float32]]:
    """Kernels scaled to their inputs; batch norm near the identity, so that nothing overflows."""
    rng = np.random.default_rng(seed)
    result = {}
    for key, weight in network.weight_shapes.items():
        if weight.role == "kernel":
            inputs = np.prod(weight.shape[1:]) if len(weight.shape) == 4 else weight.shape[0]
            value = rng.normal(0, np.sqrt(2 / inputs), weight.shape)
        elif weight.role in ("scale", "variance"):
            value = rng.uniform(0.7, 1.4, weight.shape)
        else:
            value = rng.normal(0, 0.1, weight.shape)
        result[key] = value.astype(np.float32)
    return result


def _conv(b: Builder, name: str, x: Ref, filters: int, kernel: int, stride: int, act: str, groups: int = 1) -> Ref:
    x = b("conv", f"{name}.conv", x, filters=filters, kernel=kernel, stride=stride, groups=groups)
    x = b("batch_norm", f"{name}.norm", x)
    return b(act, f"{name}.act", x) if act else x


def _inverted(
    b: Builder, name: str, x: Ref, kernel: int, hidden: int, channels: int, squeeze: bool, act: str, stride: int
) -> Ref:
    """An inverted bottleneck, with squeeze and excitation between depthwise convolution and projection."""
    y = _conv(b, f"{name}.expand", x, hidden, 1, 1, act) if hidden != b.shape(x)[0] else x
    y = _conv(b, f"{name}.depthwise", y, hidden, kernel, stride, act, groups=hidden)
    if squeeze:
        fewer = max(8, (hidden // 4 + 4) // 8 * 8)
        gate = b("conv", f"{name}.reduce", b("global_pool", f"{name}.pool", y), filters=fewer, kernel=1, bias=True)
        gate = b("conv", f"{name}.gate", b("relu", f"{name}.reduced", gate), filters=hidden, kernel=1, bias=True)
        y = b("mul", f"{name}.scaled", y, b("hard_sigmoid", f"{name}.gated", gate))
    y = _conv(b, f"{name}.project", y, channels, 1, 1, "")
    return b("add", f"{name}.sum", y, x) if b.shape(x) == b.shape(y) else y


def _pooled(b: Builder, name: str, x: Ref) -> Ref:
    x = b("global_pool", name, x)
    return b("reshape", f"{name}.flat", x, shape=(b.shape(x)[0],))
