"""Counts of published networks: exact against arithmetic on the papers' tables, near the published figures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from search_spaces.ir import Network
from tests.search_spaces.reference_networks import REFERENCE_NETWORKS

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden" / "networks.json").read_text())["networks"]

#: "The paper's figure" within 3 %: they are printed with one or two digits.
PRINTED = 0.03


@dataclass(frozen=True)
class Layer:
    """A convolution or dense layer as the papers' tables give it: sizes only."""

    size: int  # of the output, squared
    inputs: int
    outputs: int
    kernel: int = 1
    groups: int = 1
    norm: bool = True  # a batch norm's scale and offset; a bias otherwise

    @property
    def macs(self) -> int:
        return self.size**2 * self.outputs * (self.inputs // self.groups) * self.kernel**2

    @property
    def params(self) -> int:
        return self.outputs * (self.inputs // self.groups) * self.kernel**2 + (2 if self.norm else 1) * self.outputs


def inverted_residual(
    size_in: int, size: int, width_in: int, hidden: int, width: int, kernel: int, squeezed: int = 0
) -> Iterator[Layer]:
    if hidden != width_in:
        yield Layer(size_in, width_in, hidden)
    yield Layer(size, hidden, hidden, kernel, groups=hidden)
    if squeezed:
        yield Layer(1, hidden, squeezed, norm=False)
        yield Layer(1, squeezed, hidden, norm=False)
    yield Layer(size, hidden, width)


def mobilenet_v2() -> Iterator[Layer]:
    yield Layer(112, 3, 32, 3)
    yield from inverted_residual(112, 112, 32, 32, 16, 3)
    yield from inverted_residual(112, 56, 16, 96, 24, 3)
    yield from inverted_residual(56, 56, 24, 144, 24, 3)
    yield from inverted_residual(56, 28, 24, 144, 32, 3)
    yield from inverted_residual(28, 28, 32, 192, 32, 3)
    yield from inverted_residual(28, 28, 32, 192, 32, 3)
    yield from inverted_residual(28, 14, 32, 192, 64, 3)
    yield from inverted_residual(14, 14, 64, 384, 64, 3)
    yield from inverted_residual(14, 14, 64, 384, 64, 3)
    yield from inverted_residual(14, 14, 64, 384, 64, 3)
    yield from inverted_residual(14, 14, 64, 384, 96, 3)
    yield from inverted_residual(14, 14, 96, 576, 96, 3)
    yield from inverted_residual(14, 14, 96, 576, 96, 3)
    yield from inverted_residual(14, 7, 96, 576, 160, 3)
    yield from inverted_residual(7, 7, 160, 960, 160, 3)
    yield from inverted_residual(7, 7, 160, 960, 160, 3)
    yield from inverted_residual(7, 7, 160, 960, 320, 3)
    yield Layer(7, 320, 1280)
    yield Layer(1, 1280, 1000, norm=False)


def mobilenet_v3_small() -> Iterator[Layer]:
    yield Layer(112, 3, 16, 3)
    yield from inverted_residual(112, 56, 16, 16, 16, 3, 8)
    yield from inverted_residual(56, 28, 16, 72, 24, 3)
    yield from inverted_residual(28, 28, 24, 88, 24, 3)
    yield from inverted_residual(28, 14, 24, 96, 40, 5, 24)
    yield from inverted_residual(14, 14, 40, 240, 40, 5, 64)
    yield from inverted_residual(14, 14, 40, 240, 40, 5, 64)
    yield from inverted_residual(14, 14, 40, 120, 48, 5, 32)
    yield from inverted_residual(14, 14, 48, 144, 48, 5, 40)
    yield from inverted_residual(14, 7, 48, 288, 96, 5, 72)
    yield from inverted_residual(7, 7, 96, 576, 96, 5, 144)
    yield from inverted_residual(7, 7, 96, 576, 96, 5, 144)
    yield Layer(7, 96, 576)
    yield Layer(1, 576, 1024, norm=False)
    yield Layer(1, 1024, 1000, norm=False)


def resnet50(first_at_full_size: bool) -> Iterator[Layer]:
    yield Layer(112, 3, 64, 7)
    for size, width_in, width, repeats in ((56, 64, 64, 3), (28, 256, 128, 4), (14, 512, 256, 6), (7, 1024, 512, 3)):
        size_in = size if width == 64 else 2 * size
        yield Layer(size_in if first_at_full_size else size, width_in, width)
        yield Layer(size, width, width, 3)
        yield Layer(size, width, 4 * width)
        yield Layer(size, width_in, 4 * width)
        for _ in range(repeats - 1):
            yield Layer(size, 4 * width, width)
            yield Layer(size, width, width, 3)
            yield Layer(size, width, 4 * width)
    yield Layer(1, 2048, 1000, norm=False)


TABLES = {
    "mobilenet_v2_1.0_224": tuple(mobilenet_v2()),
    "mobilenet_v3_small_1.0_224": tuple(mobilenet_v3_small()),
    "resnet50_v1_224": tuple(resnet50(first_at_full_size=False)),
    "resnet50_v1.5_224": tuple(resnet50(first_at_full_size=True)),
}


@cache
def built(name: str) -> Network:
    return REFERENCE_NETWORKS[name]()


def test_every_network_has_a_table_and_a_golden_record() -> None:
    assert set(TABLES) == set(GOLDEN) == set(REFERENCE_NETWORKS)


@pytest.mark.parametrize("name", sorted(TABLES))
def test_counts_equal_arithmetic_on_the_papers_table(name: str) -> None:
    network, table = built(name), TABLES[name]
    assert sum(layer.macs for layer in table) == GOLDEN[name]["macs"] == network.macs
    assert sum(layer.params for layer in table) == GOLDEN[name]["params"] == network.params


@pytest.mark.parametrize("name", sorted(TABLES))
def test_every_layer_has_the_tables_multiply_adds(name: str) -> None:
    network = built(name)
    assert [network.op_macs(op) for op in network.ops if network.op_macs(op)] == [layer.macs for layer in TABLES[name]]


@pytest.mark.parametrize("name", sorted(TABLES))
def test_counts_are_near_the_published_figures(name: str) -> None:
    network = built(name)
    norm = sum(
        w.size * w.trainable for op in network.ops if op.kind == "batch_norm" for w in network.weights(op).values()
    )
    counted = {"macs": network.macs, "params": network.params, "params_without_norm": network.params - norm}
    for record in GOLDEN[name]["published"]:
        value, quantity, source = record["value"], record["quantity"], record["source"]
        exact = isinstance(value, int)
        assert counted[quantity] == pytest.approx(value, rel=0 if exact else PRINTED), source


@pytest.mark.parametrize("name", sorted(TABLES))
def test_running_statistics_are_stored_but_not_counted_as_parameters(name: str) -> None:
    network = built(name)
    statistics = 2 * sum(layer.outputs for layer in TABLES[name] if layer.norm)
    assert network.weight_bytes == 4 * (network.params + statistics)


def test_one_multiply_add_is_two_flops_and_the_rest_is_on_top() -> None:
    network = built("resnet50_v1.5_224")
    assert 2 * network.macs < network.flops < 2.03 * network.macs
