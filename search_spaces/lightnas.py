"""The LightNAS space: 21 layers of a MobileNetV2-like plan, each one of seven operators with weights of its own.

Luo et al. 2022, "You Only Search Once" (arXiv 2208.14446), after the plan of the authors' repository
(github.com/stepbuystep/LightNAS): six inverted residuals (kernel 3, 5, 7 by expansion 3, 6) or a skip. The stem and
the first block are fixed; the published resolution is 224x224.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from search_spaces.ir import Builder
from search_spaces.mobile import conv_bn, inverted_residual, linear_exit
from search_spaces.op import Ref
from search_spaces.operators import Shape
from search_spaces.slots import MOST_CHANNELS, SpaceError
from search_spaces.staged import Stage, StagedSpace


@dataclass(frozen=True)
class Row:
    """One stage of a plan: so many layers of so many `channels`, the first of which has the `stride`."""

    channels: int
    layers: int
    stride: int = 1

    def __post_init__(self) -> None:
        numbers = (self.channels, self.layers, self.stride)
        if any(type(number) is not int or number < 1 for number in numbers) or self.stride > 2:
            raise SpaceError(
                f"a row of a plan has whole numbers of channels and layers of at least 1, and stride 1 or 2, got {self}"
            )


#: The operators of every layer in the order of the genes, as the published tables have them.
OPERATORS: Final = ("k3e3", "k3e6", "k5e3", "k5e6", "k7e3", "k7e6", "skip")
_STEM_FILTERS: Final = 16
#: The published plan: 21 layers in all.
PLAN: Final = (
    Row(24, 2, 2), Row(48, 3, 2), Row(72, 4, 2), Row(128, 3), Row(160, 4, 2), Row(176, 4), Row(384, 1),
)  # fmt: skip
#: Channels of the last convolution and of the layer behind it.
HEAD: Final = (1984, 1280)
_ACTIVATION: Final = "relu6"


def _stem(b: Builder, x: Ref) -> Ref:
    """A strided convolution and the fixed first block: an inverted residual that doesn't expand."""
    x = conv_bn(b, "stem.conv", x, _STEM_FILTERS, 3, _ACTIVATION, stride=2)
    y = conv_bn(b, "stem.depthwise", x, _STEM_FILTERS, 3, _ACTIVATION, groups=_STEM_FILTERS)
    return b("add", "stem.residual", conv_bn(b, "stem.project", y, _STEM_FILTERS, 1), x)


def _layer(b: Builder, name: str, x: Ref, width: int, stride: int, activation: str, options: Mapping[str, Any]) -> Ref:
    """One of OPERATORS; the names differ, so that no two share a weight."""
    operator, name = options["operator"], f"{name}.{options['operator']}"
    if operator != "skip":
        shape = {"kernel": int(operator[1]), "expansion": int(operator[3]), "se": False}
        return inverted_residual(b, name, x, width, stride, activation, shape)
    if stride == 1 and b.shape(x)[0] == width:
        return b("reshape", f"{name}.identity", x, shape=b.shape(x))
    return conv_bn(b, f"{name}.project", x, width, 1, activation, stride)


def _final(head: tuple[int, int], b: Builder, x: Ref, classes: int) -> Ref:
    features, hidden = head
    x = conv_bn(b, "final.conv", x, features, 1, _ACTIVATION)
    x = b("global_pool", "final.pool", x)
    x = b("reshape", "final.flat", x, shape=(features,))
    x = b("dense", "final.hidden", x, units=hidden, bias=False)
    x = b(_ACTIVATION, "final.hidden_activation", x)
    return b("dense", "final.dense", x, units=classes)


def lightnas(
    input_shape: Shape,
    classes: int,
    max_exits: int = 0,
    plan: tuple[Row, ...] | None = None,
    head: tuple[int, ...] = HEAD,
) -> StagedSpace:
    """The LightNAS space for images of `input_shape` (channels, height, width): 7^21 networks.

    The published space has no early exits; with `max_exits` there may be that many, after any layer but the last. Where
    `plan` is not given it is the published one; `head` are the channels of the last convolution and of the dense layer
    behind it. Raises SpaceError for images that are smaller than the plan's halvings need, and for a plan without rows
    or another head.
    """
    rows = PLAN if plan is None else tuple(plan)
    if not rows:
        raise SpaceError("space lightnas needs a plan of at least one row, or none for the published one")
    if len(head) != 2 or any(type(n) is not int or not 1 <= n <= MOST_CHANNELS for n in head):
        raise SpaceError(f"space lightnas needs a head of two numbers of channels, got {list(head)!r:.60}")
    halvings = 1 + sum(row.stride == 2 for row in rows)
    if len(input_shape) != 3 or min(input_shape[1:]) < 2**halvings:
        raise SpaceError(
            f"space lightnas halves images {halvings} times, so it needs (channels, height, width) with height and "
            f"width of at least {2**halvings}, got {tuple(input_shape)}"
        )
    own = "".join(f"-{row.channels}x{row.layers}{'s' * (row.stride - 1)}" for row in rows)
    published = rows == PLAN and tuple(head) == HEAD
    options = {"operator": OPERATORS}
    return StagedSpace(
        name="lightnas" if published else f"lightnas{own}-head{head[0]}x{head[1]}",
        input_shape=tuple(input_shape),
        classes=classes,
        stages=tuple(Stage((row.channels,), (row.layers,), row.stride, options, _ACTIVATION) for row in rows),
        stem=_stem,
        block=_layer,
        exit_head=linear_exit,
        final_head=partial(_final, (head[0], head[1])),
        operator_choice=("operator",),
        max_exits=max_exits,
    )
