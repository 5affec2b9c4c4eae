"""A space of one's own with an operator choice: each block is a convolution, or a pooling with a projection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from search_spaces.ir import Builder
from search_spaces.mobile import conv_bn, linear_exit
from search_spaces.op import Ref
from search_spaces.operators import Shape
from search_spaces.staged import Stage, StagedSpace


def _block(b: Builder, name: str, x: Ref, width: int, stride: int, activation: str, options: Mapping[str, Any]) -> Ref:
    """One of two operators; their names differ, so that they share no weight."""
    name = f"{name}.{options['operator']}"
    if options["operator"] == "conv":
        return conv_bn(b, f"{name}.conv", x, width, 3, activation, stride)
    x = b("avg_pool", f"{name}.pool", x, kernel=3, stride=stride, padding=1)
    return conv_bn(b, f"{name}.project", x, width, 1)


def pick(input_shape: Shape, classes: int, width: int = 8) -> StagedSpace:
    """Two stages, whose blocks choose an operator."""
    options = {"operator": ("conv", "pool")}
    return StagedSpace(
        name="pick",
        input_shape=tuple(input_shape),
        classes=classes,
        stages=(Stage((width,), (1, 2), 1, options), Stage((2 * width,), (1, 2), 2, options)),
        stem=lambda b, x: conv_bn(b, "stem.conv", x, width, 3, "relu"),
        block=_block,
        exit_head=linear_exit,
        final_head=lambda b, x, classes: linear_exit(b, "final", x, classes),
        operator_choice=("operator",),
        max_exits=1,
    )
