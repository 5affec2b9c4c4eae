"""The cell space against what NAS-Bench-201 publishes about its networks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware_profiles import Target, load
from latency_models import additive
from latency_models.roofline import Roofline
from search_spaces.nasbench201 import EDGES, OPERATORS, nasbench201
from search_spaces.slots import SpaceError, random_genomes

SPACE = nasbench201((3, 32, 32), 10)
CONV3, CONV1, SKIP = OPERATORS.index("nor_conv_3x3"), OPERATORS.index("nor_conv_1x1"), OPERATORS.index("skip_connect")


@pytest.mark.parametrize(
    ("classes", "genome", "params", "macs"),
    [
        # The smallest and the largest of the benchmark, as its API reports them in millions for CIFAR-10 and CIFAR-100
        # (params 0.073306 to 1.531546 and 0.079156 to 1.537396, FLOPs, in fact multiply-adds, 7.78305 to 220.11969 and
        # 7.7889 to 220.12554); the same bounds stand in EvoXBench (Lu et al. 2022, arXiv 2208.04321). The API counts an
        # addition per class for the bias, which are no multiply-adds here.
        (10, [0] * 6, 73_306, 7_783_050 - 10),
        (10, [CONV3] * 6, 1_531_546, 220_119_690 - 10),
        (100, [0] * 6, 79_156, 7_788_900 - 100),
        (100, [CONV3] * 6, 1_537_396, 220_125_540 - 100),
    ],
)  # fmt: skip
def test_parameters_and_multiply_adds_are_the_published_ones(
    classes: int, genome: list[int], params: int, macs: int
) -> None:
    network = nasbench201((3, 32, 32), classes).decode(genome)
    assert (network.params, network.macs) == (params, macs)


def test_an_operator_costs_what_its_formula_says() -> None:
    """Four 3x3 convolutions and one 1x1, each with a batch norm, in five cells of three stages, beside the smallest."""
    network = SPACE.decode([CONV3, CONV3, CONV3, SKIP, CONV3, CONV1])
    assert network.params == 73_306 + 5 * sum(37 * c * c + 5 * 2 * c for c in (16, 32, 64))
    assert network.macs == 7_783_040 + 5 * 37 * sum(c * c * side * side for c, side in ((16, 32), (32, 16), (64, 8)))


def test_the_string_names_edges_in_the_order_of_the_genes() -> None:
    genome, nodes = [4, 2, 1, 2, 1, 1], []
    for target in (1, 2, 3):
        edges = [f"{OPERATORS[genome[i]]}~{source}" for i, (source, end) in enumerate(EDGES) if end == target]
        nodes.append(f"|{'|'.join(edges)}|")
    assert "+".join(nodes) == (
        "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
    )


def test_a_cell_costs_190_combinations_and_not_its_15625() -> None:
    cell = [slot for slot in SPACE.slots if slot.name.startswith("stage1.cell2.")]
    assert [slot.count for slot in cell] == [5, 5, 25, 5, 25, 125]


@given(st.lists(st.integers(0, 4), min_size=6, max_size=6))
@settings(max_examples=60, deadline=None)
def test_an_edge_stays_where_a_path_from_input_to_output_uses_it(genome: list[int]) -> None:
    paths = [[3], [0, 4], [1, 5], [0, 2, 5]]
    used = {edge for path in paths if all(genome[e] for e in path) for edge in path}
    wanted = [value if edge in used else 0 for edge, value in enumerate(genome)]
    assert SPACE.canonical(np.array([genome]))[0].tolist() == wanted


def test_how_many_different_cells_there_are() -> None:
    everything = np.stack(np.unravel_index(np.arange(5**6), (5,) * 6), axis=1)
    canonical = SPACE.canonical(everything)
    # 9,445 as graphs of edges; the benchmark's 6,466 also counts a skip and a plain connection as one.
    assert len(np.unique(canonical, axis=0)) == 9445
    # Those without a path: each of the four paths is cut.
    paths = [[3], [0, 4], [1, 5], [0, 2, 5]]
    cut = np.logical_and.reduce([(everything[:, path] == 0).any(axis=1) for path in paths])
    assert ((canonical == 0).all(axis=1) == cut).all()


def test_nodes_are_sums_of_their_edges() -> None:
    network = nasbench201((3, 8, 8), 10, channels=4, cells=1).decode([SKIP, CONV1, CONV3, SKIP, CONV1, CONV3])
    into = {target: [f"stage0.cell0.edge{source}{end}" for source, end in EDGES if end == target] for target in (2, 3)}
    for edges in into.values():
        adds = [op for op in network.ops if op.kind == "add" and op.name.startswith(tuple(f"{e}." for e in edges))]
        assert len(adds) == len(edges) - 1
        # A chain: each sum reads the operator of its own edge, and the sum or operator of the edge before.
        for before, edge, add in zip(edges, edges[1:], adds, strict=False):
            first, second = (network.ops[index].name for index, _ in add.inputs)
            assert first.startswith(f"{edge}.") and second.startswith(f"{before}.")


def test_tables_are_exact_where_nothing_is_merged_across_edges_and_never_too_low() -> None:
    space = nasbench201((3, 32, 32), 10, cells=1)
    genomes = random_genomes(space, 30, np.random.default_rng(0))
    networks = [space.decode(genome) for genome in genomes]
    for fusions, most in (((), 1 + 1e-9), (load("rpi4b").fusions, 1.2)):
        model = Roofline(replace(load("rpi4b"), fusions=fusions), Target("rpi4b", "onnxruntime"))
        ratio = additive.compile(space, model).latency_s(genomes) / model.predict(networks).total_s
        assert ratio.min() > 1 - 1e-9
        assert ratio.max() < most


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": (3, 30, 32)}, "not divisible by 4"),
        ({"input_shape": (3, 32)}, "not divisible by 4"),
        ({"channels": 0}, "channels 0"),
        ({"cells": 0}, "cells 0"),
        ({"classes": 1}, "classes 1"),
    ],
)
def test_sizes_that_cannot_be_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        nasbench201(**({"input_shape": (3, 32, 32), "classes": 10} | arguments))
