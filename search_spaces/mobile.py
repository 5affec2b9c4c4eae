"""MobileNetV3-like spaces: inverted residuals with elastic depth, width, kernel, expansion and squeeze-excite.

Block after Howard et al. 2019, "Searching for MobileNetV3" (arXiv 1905.02244), elastic dimensions after Cai et al.
2020, "Once-for-All" (arXiv 1908.09791); the small tables are sized so that a supernet trains on two CPU cores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from search_spaces.ir import Builder
from search_spaces.op import Ref
from search_spaces.operators import Shape
from search_spaces.slots import SpaceError
from search_spaces.staged import Stage, StagedSpace

#: A kernel is smaller, and an expansion no larger: beyond any network for a device.
MOST_KERNEL, MOST_EXPANSION = 100, 100


def round_channels(channels: float, divisor: int = 8) -> int:
    """The nearest multiple of `divisor`, at least `divisor`, and never more than 10 % below the request."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def conv_bn(
    b: Builder, name: str, x: Ref, filters: int, kernel: int, activation: str = "", stride: int = 1, groups: int = 1
) -> Ref:
    """Convolution, batch norm and, where named, an activation."""
    x = b("conv", name, x, filters=filters, kernel=kernel, stride=stride, groups=groups, padding=kernel // 2)
    x = b("batch_norm", f"{name}.bn", x)
    return b(activation, f"{name}.{activation}", x) if activation else x


def squeeze_excite(b: Builder, name: str, x: Ref, hidden: int) -> Ref:
    """Scale channels by a gate computed from their means (Hu et al. 2018, with MobileNetV3's hard sigmoid)."""
    gate = b("global_pool", f"{name}.pool", x)
    gate = b("conv", f"{name}.reduce", gate, filters=hidden, kernel=1, padding=0, bias=True)
    gate = b("relu", f"{name}.relu", gate)
    gate = b("conv", f"{name}.expand", gate, filters=b.shape(x)[0], kernel=1, padding=0, bias=True)
    gate = b("hard_sigmoid", f"{name}.gate", gate)
    return b("mul", f"{name}.scale", x, gate)


def inverted_residual(
    b: Builder, name: str, x: Ref, width: int, stride: int, activation: str, options: Mapping[str, Any]
) -> Ref:
    """Expand, depthwise, optional squeeze-excite, project; a residual where the shape stays the same.

    `options` are `kernel`, `expansion` (of the input's channels) and `se` (a truth value).
    """
    channels = b.shape(x)[0]
    hidden = round_channels(channels * options["expansion"])
    y = conv_bn(b, f"{name}.expand", x, hidden, 1, activation)
    y = conv_bn(b, f"{name}.depthwise", y, hidden, options["kernel"], activation, stride, groups=hidden)
    if options["se"]:
        y = squeeze_excite(b, f"{name}.se", y, round_channels(hidden / 4))
    y = conv_bn(b, f"{name}.project", y, width, 1)
    return b("add", f"{name}.residual", y, x) if b.shape(y) == b.shape(x) else y


def linear_exit(b: Builder, name: str, x: Ref, classes: int) -> Ref:
    """An early exit: global average pooling and one dense layer."""
    x = b("global_pool", f"{name}.pool", x)
    x = b("reshape", f"{name}.flat", x, shape=(b.shape(x)[0],))
    return b("dense", f"{name}.dense", x, units=classes)


def _stem(filters: int, stride: int, activation: str, b: Builder, x: Ref) -> Ref:
    return conv_bn(b, "stem.conv", x, filters, 3, activation, stride)


def _final(features: int, hidden: int, activation: str, b: Builder, x: Ref, classes: int) -> Ref:
    x = conv_bn(b, "final.conv", x, features, 1, activation)
    x = b("global_pool", "final.pool", x)
    x = b("reshape", "final.flat", x, shape=(features,))
    if hidden:
        x = b("dense", "final.hidden", x, units=hidden)
        x = b(activation, "final.hidden_activation", x)
    return b("dense", "final.dense", x, units=classes)


@dataclass(frozen=True)
class MobileTable:
    """A complete table: stem, stages and head of a mobile space for one input size (height, width)."""

    size: tuple[int, int]
    stem_filters: int
    stem_stride: int
    stages: tuple[Stage, ...]
    head_features: int
    head_hidden: int = 0
    activation: str = "relu"


def _options(
    kernels: tuple[int, ...] = (3, 5), expansions: tuple[int, ...] = (2, 3, 4), se: tuple[bool, ...] = (False, True)
) -> Mapping[str, tuple[Any, ...]]:
    return {"kernel": kernels, "expansion": expansions, "se": se}


TABLES: Final[Mapping[str, MobileTable]] = {
    "8x8": MobileTable(
        (8, 8), 8, 1,
        (
            Stage((8, 12, 16), (1, 2), 1, _options()),
            Stage((16, 24, 32), (1, 2, 3), 2, _options()),
            Stage((24, 32, 48), (1, 2), 2, _options()),
        ),
        64,
    ),
    "28x28": MobileTable(
        (28, 28), 16, 2,
        (
            Stage((16, 24, 32), (1, 2, 3), 1, _options()),
            Stage((32, 48, 64), (1, 2, 3), 2, _options()),
            Stage((64, 80, 96), (1, 2, 3), 2, _options(expansions=(2, 4, 6))),
        ),
        128,
    ),
    "32x32": MobileTable(
        (32, 32), 16, 1,
        (
            Stage((16, 24), (1, 2), 1, _options()),
            Stage((24, 32, 40), (1, 2, 3), 2, _options(expansions=(2, 4, 6))),
            Stage((48, 64, 80), (1, 2, 3), 2, _options(expansions=(2, 4, 6))),
            Stage((96, 112, 128), (1, 2, 3), 2, _options(expansions=(2, 4, 6))),
        ),
        256,
    ),
    "224x224": MobileTable(
        (224, 224), 16, 2,
        (
            Stage((16, 24), (1, 2), 1, _options((3, 5), (1, 2), (False,))),
            Stage((24, 32), (2, 3, 4), 2, _options((3, 5, 7), (3, 4, 6), (False,))),
            Stage((40, 48), (2, 3, 4), 2, _options((3, 5, 7), (3, 4, 6))),
            Stage((80, 96), (2, 3, 4), 2, _options((3, 5, 7), (3, 4, 6), (False, True)), "hard_swish"),
            Stage((112, 128), (2, 3, 4), 1, _options((3, 5, 7), (3, 4, 6), (False, True)), "hard_swish"),
            Stage((160, 192), (2, 3, 4), 2, _options((3, 5, 7), (3, 4, 6), (False, True)), "hard_swish"),
        ),
        960, 1280, "hard_swish",
    ),
}  # fmt: skip


def mobile(
    input_shape: Shape,
    classes: int,
    table: str = "auto",
    stages: tuple[Stage, ...] | None = None,
    max_exits: int = 3,
) -> StagedSpace:
    """The mobile space for images of `input_shape` (channels, height, width).

    `table` names a row of TABLES, `auto` takes the one nearest in size. `stages` replaces the table's stages; each has
    the options `kernel`, `expansion` and `se`. Raises SpaceError for an unknown table or missing options.
    """
    if len(input_shape) != 3:
        raise SpaceError(f"space mobile needs images (channels, height, width), got {input_shape}")
    if table == "auto":
        table = min(TABLES, key=lambda name: abs(TABLES[name].size[0] - input_shape[1]))
    if table not in TABLES:
        raise SpaceError(f"space mobile has no table {table!r}; there are auto, {', '.join(TABLES)}")
    row = TABLES[table]
    if stages is not None:
        row = replace(row, stages=stages)
    wanted = {"kernel", "expansion", "se"}
    for number, stage in enumerate(row.stages):
        if set(stage.options) != wanted:
            raise SpaceError(f"stage {number} has the options {sorted(stage.options)}; mobile needs {sorted(wanted)}")
        kernels, expansions, gates = (stage.options[name] for name in ("kernel", "expansion", "se"))
        if not all(type(kernel) is int and 0 < kernel < MOST_KERNEL and kernel % 2 for kernel in kernels):
            raise SpaceError(f"stage {number} has the kernels {kernels}; they must be odd, from 1 to {MOST_KERNEL - 1}")
        if not all(type(each) in (int, float) and 0 < each <= MOST_EXPANSION for each in expansions):
            raise SpaceError(
                f"stage {number} has the expansions {expansions}; they must be numbers above 0, up to {MOST_EXPANSION}"
            )
        if not all(type(gate) is bool for gate in gates):
            raise SpaceError(f"stage {number} has se {gates}; write false, true or both")
    _check_expansions(row)
    return StagedSpace(
        name=f"mobile-{table}",
        input_shape=tuple(input_shape),
        classes=classes,
        stages=row.stages,
        stem=partial(_stem, row.stem_filters, row.stem_stride, row.activation),
        block=inverted_residual,
        exit_head=linear_exit,
        final_head=partial(_final, row.head_features, row.head_hidden, row.activation),
        max_exits=max_exits,
    )


def _check_expansions(row: MobileTable) -> None:
    """Different expansions must give different widths, or different genomes would be the same network."""
    entering: tuple[int, ...] = (row.stem_filters,)
    for number, stage in enumerate(row.stages):
        for width in {*entering, *(stage.widths if max(stage.depths) > 1 else ())}:
            hidden = [round_channels(width * expansion) for expansion in stage.options["expansion"]]
            if len(set(hidden)) < len(hidden):
                raise SpaceError(
                    f"stage {number}: expansions {stage.options['expansion']} of {width} channels round to {hidden}; "
                    "choose expansions that stay apart"
                )
        entering = stage.widths
