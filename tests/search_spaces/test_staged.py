"""Spaces given by tables: the genes a table makes, what each decides, and tables that cannot be."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from search_spaces.ir import Network
from search_spaces.mobile import TABLES, mobile, round_channels
from search_spaces.slots import SpaceError, sizes
from search_spaces.staged import Stage, StagedSpace
from search_spaces.toy import toy

OPTIONS: dict[str, tuple[Any, ...]] = {"kernel": (3, 5), "expansion": (2, 4), "se": (False, True)}


def small(*stages: Stage, max_exits: int = 3) -> StagedSpace:
    """A mobile space of the given stages for 16x16 images."""
    default = (Stage((8, 16), (1, 2), 1, OPTIONS), Stage((16,), (1, 3), 2, OPTIONS))
    return mobile((3, 16, 16), 10, "8x8", stages or default, max_exits)


def decode(space: StagedSpace, **genes: object) -> Network:
    """The network of a genome given by options; genes that are not named take their first option."""
    genome = [0] * len(space.genes)
    for name, option in genes.items():
        index = next(i for i, gene in enumerate(space.genes) if gene.name.replace(".", "_") == name)
        genome[index] = space.genes[index].options.index(option)
    return space.decode(genome)


def blocks(network: Network) -> list[str]:
    return list(dict.fromkeys(".".join(op.name.split(".")[:2]) for op in network.ops if op.name.startswith("stage")))


def test_a_table_makes_one_gene_per_decision_and_none_where_there_is_no_choice() -> None:
    names = [gene.name for gene in small().genes]
    assert names == [
        "stage0.depth",
        "stage0.width",
        *(f"stage0.block{i}.{option}" for i in range(2) for option in OPTIONS),
        "stage1.depth",
        *(f"stage1.block{i}.{option}" for i in range(3) for option in OPTIONS),
        # Two blocks, and two of three of the last stage: after its last block stands the final exit.
        *(f"exit{i}" for i in range(4)),
    ]


def test_depth_counts_blocks_and_the_genes_of_absent_ones_mean_nothing() -> None:
    space = small()
    assert blocks(decode(space)) == ["stage0.block0", "stage1.block0"]
    assert blocks(decode(space, stage0_depth=2, stage1_depth=3)) == [
        "stage0.block0",
        "stage0.block1",
        "stage1.block0",
        "stage1.block1",
        "stage1.block2",
    ]
    assert decode(space, stage0_block1_kernel=5).key == decode(space).key
    assert decode(space, stage0_depth=2, stage0_block1_kernel=5).key != decode(space, stage0_depth=2).key


def test_width_kernel_expansion_and_gate_are_those_of_the_options() -> None:
    network = decode(small(), stage0_width=16, stage0_block0_kernel=5, stage0_block0_expansion=4, stage0_block0_se=True)
    assert network.op("stage0.block0.expand").attr("filters") == 8 * 4
    depthwise = network.op("stage0.block0.depthwise")
    assert (depthwise.attr("kernel"), depthwise.attr("groups"), depthwise.shape) == (5, 32, (32, 16, 16))
    assert network.op("stage0.block0.se.reduce").attr("filters") == 8
    assert network.op("stage0.block0.project").shape == (16, 16, 16)
    assert network.op("stage1.block0.depthwise").shape == (32, 8, 8)
    assert "stage1.block0.se.reduce" not in network.by_name
    gated = decode(small(), stage0_width=16, stage1_block0_expansion=4, stage1_block0_se=True)
    # A gate squeezes the 16 * 4 hidden channels to a quarter.
    assert gated.op("stage1.block0.se.reduce").shape == (16, 1, 1)


def test_a_block_has_a_residual_exactly_where_its_shape_stays() -> None:
    residuals = {op.name for op in decode(small(), stage0_depth=2, stage1_depth=3).ops if op.kind == "add"}
    # Eight channels enter the first block and leave it; the second stage halves the map in its first block.
    expected = {"stage0.block0", "stage0.block1", "stage1.block1", "stage1.block2"}
    assert residuals == {f"{name}.residual" for name in expected}
    wider = {op.name for op in decode(small(), stage0_width=16, stage0_depth=2).ops if op.kind == "add"}
    assert wider == {"stage0.block1.residual"}


def test_an_exit_of_an_absent_block_or_of_the_last_one_is_off() -> None:
    space = small()
    needs: list[dict[str, object]] = [{}, {"stage0_depth": 2}, {"stage1_depth": 3}, {"stage1_depth": 3}]
    for number, deep_enough in enumerate(needs):
        asked: dict[str, object] = {f"exit{number}": True}
        assert len(decode(space, **asked, stage0_depth=2, stage1_depth=3).exits) == 2
        assert len(decode(space, **asked, **deep_enough).exits) == 2
        assert len(decode(space, **asked).exits) == (1 if deep_enough else 2)


def test_as_many_exits_as_allowed_are_kept_when_there_are_too_many() -> None:
    everything = {"stage0_depth": 2, "stage1_depth": 3, **{f"exit{i}": True for i in range(4)}}
    for limit in range(1, 5):
        network = decode(small(max_exits=limit), **everything)
        heads = [network.ops[index].name.split(".")[0] for index in network.exits]
        assert len(heads) == limit + 1 and heads == sorted(heads) and heads[-1] == "final"


def test_late_exits_are_drawn_as_often_as_early_ones() -> None:
    """21 places for exits, 3 of which a network may have."""
    space = mobile((3, 224, 224), 10)
    exits = [gene for gene, made in enumerate(space.genes) if made.name.startswith("exit")]
    deepest = [gene for gene, made in enumerate(space.genes) if made.name.endswith(".depth")]
    drawn = np.random.default_rng(0).integers(sizes(space), size=(4000, len(space.genes)))
    drawn[:, deepest] = [len(space.genes[gene].options) - 1 for gene in deepest]
    shares = (space.canonical(drawn)[:, exits] != 0).mean(axis=0)
    assert len(exits) == 21 and shares.sum() == pytest.approx(3, abs=0.01)
    assert shares.min() > 0.7 * 3 / 21 and shares.max() < 1.4 * 3 / 21


def test_a_space_without_exits_has_no_genes_for_them() -> None:
    assert not [gene for gene in small(max_exits=0).genes if gene.name.startswith("exit")]
    silent = small(Stage((8,), (1, 2), 1, OPTIONS, exits=False), Stage((16,), (1, 2), 2, OPTIONS))
    assert [gene.name for gene in silent.genes if gene.name.startswith("exit")] == ["exit0"]
    network = decode(silent, stage1_depth=2, exit0=True)
    head = network.op("exit0.pool")
    assert network.ops[head.inputs[0][0]].name.startswith("stage1.block0.")


def test_every_table_ends_where_its_strides_say() -> None:
    for name, row in TABLES.items():
        space = mobile((3, *row.size), 10, name)
        stride = row.stem_stride * int(np.prod([stage.stride for stage in row.stages]))
        network = space.decode((sizes(space) - 1).tolist())
        assert network.op("final.conv").shape == (row.head_features, *(-(-side // stride) for side in row.size))


@pytest.mark.parametrize("size", [(7, 7), (9, 6), (33, 31), (1, 1)])
def test_images_of_any_size_fit_every_slot(size: tuple[int, int]) -> None:
    space = mobile((1, *size), 3, "32x32")
    network = space.decode((sizes(space) - 1).tolist())
    for slot in space.slots:
        values = slot.values((sizes(space) - 1).tolist())
        if slot.name.startswith("stage"):
            (shape,) = slot.input_shapes(values)
            assert network.input_shapes(network.op(f"{slot.name}.expand")) == (shape,)


@pytest.mark.parametrize(
    ("side", "table"), [(8, "8x8"), (16, "8x8"), (28, "28x28"), (30, "28x28"), (32, "32x32"), (192, "224x224")]
)
def test_auto_takes_the_nearest_table(side: int, table: str) -> None:
    assert mobile((3, side, side), 10).name == f"mobile-{table}"


@pytest.mark.parametrize(
    ("channels", "expected"), [(1, 8), (8, 8), (11.9, 16), (12, 16), (19, 24), (20, 24), (36, 40), (91, 88), (89, 88)]
)
def test_channels_are_rounded_to_eight_and_never_a_tenth_below(channels: float, expected: int) -> None:
    assert round_channels(channels) == expected
    assert round_channels(channels) >= 0.9 * channels


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ({"widths": ()}, r"a stage's widths \(\) must be a list of different values"),
        ({"depths": (1, 1)}, r"a stage's depths \(1, 1\) must be a list of different values"),
        ({"options": OPTIONS | {"kernel": ()}}, r"a stage's kernel \(\) must be"),
        ({"depths": (0, 1)}, "at least 1"),
        ({"widths": (0,)}, "at least 1"),
        ({"stride": 0}, "at least 1"),
    ],
)
def test_a_stage_that_cannot_be_is_refused(stage: dict[str, Any], message: str) -> None:
    good: dict[str, Any] = {"widths": (8,), "depths": (1, 2), "stride": 1, "options": OPTIONS}
    Stage(**good)
    with pytest.raises(SpaceError, match=message):
        Stage(**(good | stage))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": (8, 8)}, r"images \(channels, height, width\), got \(8, 8\)"),
        ({"table": "64x64"}, "no table '64x64'; there are auto, 8x8, 28x28"),
        ({"stages": ()}, "has no stages"),
        ({"max_exits": -1}, "max_exits must not be negative, got -1"),
        ({"classes": 1}, "at least 2 classes, got 1"),
        ({"stages": (Stage((8,), (1,), 1, {"kernel": (3,)}),)}, r"stage 0 has the options \['kernel'\]; mobile needs"),
        (
            {"stages": (Stage((8,), (1,), 1, OPTIONS | {"kernel": (3, 4)}),)},
            r"stage 0 has kernel 4; it takes odd whole numbers",
        ),
    ],
)
def test_a_space_that_cannot_be_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        mobile(**{"input_shape": (3, 32, 32), "classes": 10, **arguments})


def test_the_toy_space_has_as_many_networks_as_canonical_genomes() -> None:
    space = toy((3, 8, 8), 4, width=4)
    everything = np.array(list(product(*(range(n) for n in sizes(space)))), np.int8)
    unique = np.unique(space.canonical(everything), axis=0)
    # Four operators for one or two blocks in each stage: 20 bodies each. One of at most three exits, those of blocks
    # that are there but not last: 1 + 1 + 0 for depths 1, 1 (4 * 4), 1 + 1 + 1 for 1, 2 (4 * 16), 1 + 2 + 0 for 2, 1
    # (16 * 4), 1 + 2 + 1 for 2, 2 (16 * 16).
    assert len(everything) == 2 * 16 * 2 * 16 * 8
    assert len(unique) == 16 * 2 + 64 * 3 + 64 * 3 + 256 * 4
    assert len({space.decode(genome).key for genome in unique.tolist()}) == len(unique)


def test_the_toy_selects_one_of_several_operators_with_arrays_of_their_own() -> None:
    space = toy((3, 8, 8), 4)
    slot = next(slot for slot in space.slots if slot.name == "stage0.block1")
    labels = [space.genes[gene].name for gene in slot.genes]
    assert [labels[position] for position in slot.operator_choice] == ["stage0.block1.operator"]
    assert not space.genes[slot.genes[slot.operator_choice[0]]].ordinal
    arrays = [set(part.weight_shapes) for values in slot.combinations() if (part := slot.network(values)) is not None]
    assert len(arrays) == 4 and sum(map(len, arrays)) == len(set().union(*arrays))
