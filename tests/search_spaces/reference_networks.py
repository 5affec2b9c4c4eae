"""Published networks written in the IR, so that its counts can be held against published figures."""

from __future__ import annotations

from collections.abc import Callable

from search_spaces.ir import Builder, Network
from search_spaces.mobile import conv_bn, squeeze_excite
from search_spaces.op import Ref

IMAGE = (3, 224, 224)
CLASSES = 1000


def _classify(b: Builder, x: Ref) -> Ref:
    x = b("global_pool", "pool", x)
    return b("reshape", "flat", x, shape=(b.shape(x)[0],))


def mobilenet_v2() -> Network:
    """MobileNetV2 1.0 at 224: Sandler et al. 2018 (arXiv 1801.04381), Table 2, as torchvision and TF-slim build it."""
    b = Builder()
    x = conv_bn(b, "stem", b.input("image", IMAGE), 32, 3, "relu6", stride=2)
    number = 0
    for expansion, width, repeats, first_stride in (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ):
        for repeat in range(repeats):
            name, entering = f"block{number}", x
            hidden = b.shape(x)[0] * expansion
            if expansion != 1:
                x = conv_bn(b, f"{name}.expand", x, hidden, 1, "relu6")
            x = conv_bn(b, f"{name}.depthwise", x, hidden, 3, "relu6", 1 if repeat else first_stride, groups=hidden)
            x = conv_bn(b, f"{name}.project", x, width, 1)
            if b.shape(x) == b.shape(entering):
                x = b("add", f"{name}.residual", x, entering)
            number += 1
    x = conv_bn(b, "head", x, 1280, 1, "relu6")
    return b.network(b("dense", "classifier", _classify(b, x), units=CLASSES))


def mobilenet_v3_small() -> Network:
    """MobileNetV3-Small 1.0 at 224: Howard et al. 2019 (arXiv 1905.02244), Table 2, in torchvision's variant.

    The table also ticks squeeze-excite at the last convolution; neither torchvision nor TF-slim has it, and without it
    the paper's own multiply-adds come out.
    """
    b = Builder()
    x = conv_bn(b, "stem", b.input("image", IMAGE), 16, 3, "hard_swish", stride=2)
    for number, (kernel, hidden, width, gated, activation, stride, squeezed) in enumerate(
        (
            (3, 16, 16, True, "relu", 2, 8),
            (3, 72, 24, False, "relu", 2, 0),
            (3, 88, 24, False, "relu", 1, 0),
            (5, 96, 40, True, "hard_swish", 2, 24),
            (5, 240, 40, True, "hard_swish", 1, 64),
            (5, 240, 40, True, "hard_swish", 1, 64),
            (5, 120, 48, True, "hard_swish", 1, 32),
            (5, 144, 48, True, "hard_swish", 1, 40),
            (5, 288, 96, True, "hard_swish", 2, 72),
            (5, 576, 96, True, "hard_swish", 1, 144),
            (5, 576, 96, True, "hard_swish", 1, 144),
        )
    ):
        name, entering = f"block{number}", x
        if hidden != b.shape(x)[0]:
            x = conv_bn(b, f"{name}.expand", x, hidden, 1, activation)
        x = conv_bn(b, f"{name}.depthwise", x, hidden, kernel, activation, stride, groups=hidden)
        if gated:
            x = squeeze_excite(b, f"{name}.se", x, squeezed)
        x = conv_bn(b, f"{name}.project", x, width, 1)
        if b.shape(x) == b.shape(entering):
            x = b("add", f"{name}.residual", x, entering)
    x = _classify(b, conv_bn(b, "head", x, 576, 1, "hard_swish"))
    x = b("hard_swish", "hidden_activation", b("dense", "hidden", x, units=1024))
    return b.network(b("dense", "classifier", x, units=CLASSES))


def _resnet50(stride_in_first: bool) -> Network:
    b = Builder()
    x = conv_bn(b, "stem", b.input("image", IMAGE), 64, 7, "relu", stride=2)
    x = b("max_pool", "stem.pool", x, kernel=3, stride=2, padding=1)
    for stage, (width, repeats) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3))):
        for repeat in range(repeats):
            name, entering = f"stage{stage}.block{repeat}", x
            stride = 2 if stage and not repeat else 1
            first, second = (stride, 1) if stride_in_first else (1, stride)
            x = conv_bn(b, f"{name}.reduce", x, width, 1, "relu", first)
            x = conv_bn(b, f"{name}.conv", x, width, 3, "relu", second)
            x = conv_bn(b, f"{name}.expand", x, 4 * width, 1)
            if not repeat:
                entering = conv_bn(b, f"{name}.shortcut", entering, 4 * width, 1, stride=stride)
            x = b("add", f"{name}.residual", x, entering)
            x = b("relu", f"{name}.relu", x)
    return b.network(b("dense", "classifier", _classify(b, x), units=CLASSES))


def resnet50_v1() -> Network:
    """ResNet-50 as published: He et al. 2016 (arXiv 1512.03385), Table 1; a block strides in its first 1x1."""
    return _resnet50(stride_in_first=True)


def resnet50_v1_5() -> Network:
    """ResNet-50 as torchvision has it: a block strides in its 3x3 convolution."""
    return _resnet50(stride_in_first=False)


REFERENCE_NETWORKS: dict[str, Callable[[], Network]] = {
    "mobilenet_v2_1.0_224": mobilenet_v2,
    "mobilenet_v3_small_1.0_224": mobilenet_v3_small,
    "resnet50_v1_224": resnet50_v1,
    "resnet50_v1.5_224": resnet50_v1_5,
}
