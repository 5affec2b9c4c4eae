"""A small space with choice slots: each block selects one of several operators, each with weights of its own.

It proves the second kind of weight sharing beside elastic slicing, and is small enough to be enumerated in tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from search_spaces.ir import Builder
from search_spaces.mobile import conv_bn, linear_exit
from search_spaces.op import Ref
from search_spaces.operators import Shape
from search_spaces.staged import Stage, StagedSpace

OPERATORS: Final = ("conv3", "depthwise5", "pool", "skip")


def _block(b: Builder, name: str, x: Ref, width: int, stride: int, activation: str, options: Mapping[str, Any]) -> Ref:
    """One of four operators, brought to `width` channels; the names differ, so that no two share a weight."""
    operator, name = options["operator"], f"{name}.{options['operator']}"
    if operator == "conv3":
        return conv_bn(b, f"{name}.conv", x, width, 3, activation, stride)
    if operator == "depthwise5":
        channels = b.shape(x)[0]
        x = conv_bn(b, f"{name}.depthwise", x, channels, 5, activation, stride, groups=channels)
        return conv_bn(b, f"{name}.project", x, width, 1)
    if operator == "pool":
        x = b("avg_pool", f"{name}.pool", x, kernel=3, stride=stride, padding=1)
        return conv_bn(b, f"{name}.project", x, width, 1)
    if stride == 1 and b.shape(x)[0] == width:
        return b("reshape", f"{name}.identity", x, shape=b.shape(x))
    return conv_bn(b, f"{name}.project", x, width, 1, stride=stride)


def toy(input_shape: Shape, classes: int, width: int = 8, max_exits: int = 1) -> StagedSpace:
    """Two stages of two blocks, four operators each, elastic depth, for small images (channels, height, width)."""
    options = {"operator": OPERATORS}
    return StagedSpace(
        name="toy",
        input_shape=tuple(input_shape),
        classes=classes,
        stages=(Stage((width,), (1, 2), 1, options), Stage((2 * width,), (1, 2), 2, options)),
        stem=lambda b, x: conv_bn(b, "stem.conv", x, width, 3, "relu"),
        block=_block,
        exit_head=linear_exit,
        final_head=lambda b, x, classes: linear_exit(b, "final", x, classes),
        operator_choice=("operator",),
        max_exits=max_exits,
    )
