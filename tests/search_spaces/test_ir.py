"""The network itself: what makes one valid, its text form, its key, and what it costs to reach an exit."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from search_spaces.ir import SCHEMA, Builder, Network
from search_spaces.op import Op
from search_spaces.operators import OPERATORS, ShapeError
from tests.search_spaces.small import single_exit, three_exits

GOLDEN: dict[str, str] = json.loads((Path(__file__).parents[1] / "golden" / "networks.json").read_text())["keys"]


def pooled(**attrs: Any) -> Network:
    """Image, convolution, answer: the attributes of the convolution are given."""
    b = Builder()
    x = b("conv", "conv", b.input("image", (4, 6, 6)), **({"filters": 4, "kernel": 3} | attrs))
    return b.network(b("global_pool", "pool", x))


def every_operator() -> Network:
    """One of each kind, with every attribute given."""
    b = Builder()
    x = b.input("image", (2, 8, 8))
    x = b("conv", "conv", x, filters=4, kernel=3, stride=2, padding=0, groups=2, bias=True)
    x = b("batch_norm", "norm", x, eps=0.001)
    for kind in ("relu", "relu6", "hard_sigmoid", "hard_swish", "silu", "gelu"):
        x = b(kind, kind, x)
    pooled = b("avg_pool", "mean", x, kernel=3, stride=1, padding=1)
    x = b("max_pool", "max", b("concat", "joined", x, pooled, axis=0), kernel=2, stride=1, padding=1)
    x = b("mul", "gated", x, b("global_pool", "gate", x))
    rows = b("transpose", "turned", b("reshape", "rows", x, shape=(8, 16)), perm=(1, 0))
    rows = b("layer_norm", "row_norm", b("dense", "dense", rows, units=16, bias=False), eps=1e-6)
    mixed = b("matmul", "mixed", b("softmax", "weights", rows, axis=1), rows)
    return b.network(rows, b("add", "sum", mixed, rows))


@pytest.mark.parametrize("build", [every_operator, single_exit, three_exits])
def test_text_gives_the_same_network_back(build: Callable[[], Network]) -> None:
    network = build()
    again = Network.from_json(network.to_json())
    assert again == network
    assert again.key == network.key
    assert (again.macs, again.params, again.peak_memory) == (network.macs, network.params, network.peak_memory)
    assert "\n" not in network.to_json()


def test_keys_are_those_of_earlier_releases() -> None:
    """A new key orphans every cache and run folder: raise SCHEMA, read the old one, and only then renew the record."""
    networks = {"every_operator": every_operator(), "single_exit": single_exit(), "three_exits": three_exits()}
    assert {op.kind for op in networks["every_operator"].ops} == set(OPERATORS)
    assert {name: network.key for name, network in networks.items()} == GOLDEN


def test_every_change_of_a_network_changes_its_key() -> None:
    changed = [
        pooled(),
        pooled(filters=8),
        pooled(kernel=5),
        pooled(stride=2),
        pooled(padding=0),
        pooled(groups=2),
        pooled(bias=True),
    ]
    base = single_exit()
    for index, op in enumerate(base.ops):
        changed.append(replace(base, ops=(*base.ops[:index], replace(op, name="renamed"), *base.ops[index + 1 :])))
        changed.append(replace(base, ops=(*base.ops[:index], replace(op, dtype="float16"), *base.ops[index + 1 :])))
    norm = next(i for i, op in enumerate(base.ops) if op.kind == "batch_norm")
    looser = replace(base.ops[norm], attrs=(("eps", 1e-3),))
    changed.append(replace(base, ops=(*base.ops[:norm], looser, *base.ops[norm + 1 :])))
    changed.append(replace(base, exits=(1, *base.exits)))
    changed.append(base)
    assert len({network.key for network in changed}) == len(changed)


def test_two_ways_of_writing_one_network_have_one_key() -> None:
    assert pooled().key == pooled(stride=1, padding=1, groups=1, bias=False).key == pooled(padding=None).key
    b = Builder()
    b("reshape", "flat", b.input("image", [2, 3]), shape=[6])
    c = Builder()
    c("reshape", "flat", c.input("image", (2, 3)), shape=(6,))
    assert b.network((1, 0)) == c.network((1, 0))


IMAGE = Op("input", "image", (), (2, 4, 4), attrs=(("shape", (2, 4, 4)),))
RELU = Op("relu", "relu", ((0, 0),), (2, 4, 4))
FLAT = Op("reshape", "flat", ((1, 0),), (32,), attrs=(("shape", (32,)),))


@pytest.mark.parametrize(
    ("ops", "exits", "message"),
    [
        ((), (0,), "at least one operator"),
        ((IMAGE, RELU), (), "at least one operator and one exit"),
        ((IMAGE, RELU, replace(FLAT, name="relu")), (2,), "two operators are called 'relu'"),
        ((IMAGE, replace(RELU, inputs=((1, 0),))), (1,), "relu: an input refers to a later operator"),
        ((IMAGE, replace(RELU, inputs=((-2, 0),))), (1,), "relu: an input refers to a later operator"),
        ((IMAGE, replace(RELU, inputs=((0, 1),))), (1,), "relu: .* second output"),
        ((IMAGE, replace(RELU, dtype="float8")), (1,), "relu: dtype 'float8'; there are float32"),
        ((IMAGE, replace(RELU, shape=(2, 4))), (1,), r"relu \(relu\): stored shape \(2, 4\), inferred \(2, 4, 4\)"),
        ((IMAGE, RELU, replace(FLAT, attrs=())), (2,), "flat .* shape is required"),
        ((IMAGE, RELU, replace(FLAT, attrs=(("shape", [32]),))), (2,), "flat .* stored attributes"),
        ((IMAGE, RELU, FLAT), (2, 1), r"exits \(2, 1\) must be increasing"),
        ((IMAGE, RELU, FLAT), (2, 2), r"exits \(2, 2\) must be increasing"),
        ((IMAGE, RELU, FLAT), (3,), r"exits \(3,\) must be increasing indices of operators"),
        ((IMAGE, RELU, FLAT), (-1, 2), r"exits \(-1, 2\) must be increasing indices of operators"),
        ((IMAGE, RELU, FLAT), (1,), "flat .* no answer depends on it"),
    ],
)
def test_a_network_that_does_not_fit_together_is_refused(
    ops: tuple[Op, ...], exits: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ShapeError, match=message):
        Network(ops, exits)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a network: Expecting value"),
        ("[]", "not a network of schema 1"),
        ('{"schema": 99, "ops": [], "exits": []}', "not a network of schema 1"),
        ('{"schema": 1, "exits": [0]}', "not a network: 'ops'"),
        ('{"schema": 1, "ops": [["input", "image"]], "exits": [0]}', "not a network: not enough values"),
        ('{"schema": 1, "ops": [], "exits": [0]}', "at least one operator"),
        ('{"schema": 1, "ops": [["input", "x", [], [2], "float32", []]], "exits": [0]}', "not a network"),
        ('{"schema": 1, "ops": [["input", "x", [], [2], "float32", {"shape": [3]}]], "exits": [0]}', "stored shape"),
    ],
)
def test_text_that_is_no_network_is_refused(text: str, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        Network.from_json(text)


def test_schema_is_in_the_text() -> None:
    assert json.loads(single_exit().to_json())["schema"] == SCHEMA == 1


def test_operators_and_attributes_are_found_by_name() -> None:
    network = single_exit()
    assert network.op("body").attr("kernel") == 3
    assert network.op("body").attributes["padding"] == 1
    assert [op.name for op in network.inputs] == ["image"]
    with pytest.raises(KeyError):
        network.op("nobody")
    with pytest.raises(KeyError, match=r"body \(conv\) has no attribute 'units'"):
        network.op("body").attr("units")


def test_weight_shapes_are_keyed_by_operator_and_parameter() -> None:
    shapes = {key: weight.shape for key, weight in single_exit().weight_shapes.items()}
    assert shapes == {
        "stem/kernel": (4, 3, 3, 3),
        **{f"stem.bn/{param}": (4,) for param in ("scale", "offset", "mean", "variance")},
        "body/kernel": (4, 4, 3, 3),
        **{f"body.bn/{param}": (4,) for param in ("scale", "offset", "mean", "variance")},
        "final.dense/kernel": (4, 5),
        "final.dense/bias": (5,),
    }


def test_counts_by_hand() -> None:
    network = single_exit()
    # stem: 16 positions of 4 filters of 3 * 9 taps; body: 16 of 4 of 4 * 9; classifier: 4 * 5.
    assert network.macs == 16 * 4 * 27 + 16 * 4 * 36 + 20
    assert network.params == 4 * 27 + 8 + 4 * 36 + 8 + 20 + 5
    assert network.weight_bytes == 4 * (network.params + 8 + 8)
    # On top of two per multiply-add, over 64 values: twice (norm 2, relu 1), add 1, pool 1; the classifier's bias 5.
    assert network.flops == 2 * network.macs + 64 * (2 * 3 + 1 + 1) + 5


def test_bytes_follow_the_element_type() -> None:
    network = single_exit()
    halves = Network(tuple(replace(op, dtype="float16") for op in network.ops), network.exits)
    assert halves.weight_bytes * 2 == network.weight_bytes
    assert halves.peak_memory * 2 == network.peak_memory
    assert halves.op("body").bytes == 2 * halves.op("body").size == 2 * 64
    assert all(op.dtype == "float16" for segment in halves.segments() for op in segment.network.ops)


def test_reaching_a_later_exit_never_costs_less_and_the_last_costs_everything() -> None:
    network = three_exits()
    costs = [network.cumulative(k) for k in range(3)]
    for earlier, later in pairwise(costs):
        assert earlier.macs < later.macs and earlier.flops < later.flops
        assert earlier.params < later.params and earlier.weight_bytes < later.weight_bytes
    assert costs[-1] == network.total == network.cumulative(-1)
    # The stem (64 positions, 4 filters, 3 * 9 taps) and its head of 4 * 5.
    assert costs[0].macs == 64 * 4 * 27 + 20


@pytest.mark.parametrize("index", [3, -4])
def test_an_exit_that_is_not_there_cannot_be_reached(index: int) -> None:
    with pytest.raises(IndexError):
        three_exits().cumulative(index)


def test_the_builder_refuses_a_second_operator_of_one_name_and_unread_operators() -> None:
    b = Builder()
    x = b.input("image", (2, 4, 4))
    b("relu", "loose", x)
    with pytest.raises(ShapeError, match=r"loose .* no answer depends on it"):
        b.network(b("gelu", "kept", x))


def test_a_copied_operator_keeps_what_is_not_changed() -> None:
    b = Builder()
    x = b.input("image", (2, 4, 4), "float16")
    conv = Op("conv", "conv", (x,), (3, 4, 4), "float16", tuple(pooled(filters=3).op("conv").attributes.items()))
    network = b.network(b.copy(conv, x, bias=True))
    assert network.op("conv") == replace(conv, attrs=tuple((conv.attributes | {"bias": True}).items()))
