"""Every operator: shape, stored arrays and arithmetic by hand; every kind of mistake: a message that names it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from search_spaces.attributes import resolve
from search_spaces.ir import Builder
from search_spaces.operators import ACTIVATIONS, OPERATORS, REQUIRED, VIEWS, Shape, ShapeError


@dataclass(frozen=True)
class Case:
    """One operator worked out by hand for one sample."""

    kind: str
    inputs: tuple[Shape, ...]
    shape: Shape
    attrs: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, Shape] = field(default_factory=dict)
    macs: int = 0
    elementwise: int = 0


NORM: dict[str, Shape] = dict.fromkeys(("scale", "offset", "mean", "variance"), (6,))

CASES = [
    Case("input", (), (3, 4, 5), {"shape": (3, 4, 5)}),
    # (8 + 2 - 3) // 1 + 1 = 8 and (5 + 2 - 3) // 1 + 1 = 5; 40 positions of 4 filters of 6 * 9 taps
    Case("conv", ((6, 8, 5),), (4, 8, 5), {"filters": 4, "kernel": 3}, {"kernel": (4, 6, 3, 3)}, 40 * 4 * 54),
    # (8 + 4 - 5) // 2 + 1 = 4 and (5 + 4 - 5) // 2 + 1 = 3; a filter sees 2 of 6 channels
    Case(
        "conv",
        ((6, 8, 5),),
        (9, 4, 3),
        {"filters": 9, "kernel": 5, "stride": 2, "groups": 3, "bias": True},
        {"kernel": (9, 2, 5, 5), "bias": (9,)},
        12 * 9 * 2 * 25,
        12 * 9,
    ),
    Case(
        "conv", ((6, 4, 4),), (2, 2, 2), {"filters": 2, "kernel": 3, "padding": 0}, {"kernel": (2, 6, 3, 3)}, 4 * 2 * 54
    ),
    Case("dense", ((6,),), (5,), {"units": 5}, {"kernel": (6, 5), "bias": (5,)}, 30, 5),
    Case("dense", ((7, 6),), (7, 5), {"units": 5, "bias": False}, {"kernel": (6, 5)}, 7 * 30),
    Case("matmul", ((2, 7, 6), (2, 6, 5)), (2, 7, 5), macs=2 * 7 * 5 * 6),
    Case("batch_norm", ((6, 2, 3),), (6, 2, 3), {"eps": 1e-3}, NORM, elementwise=2 * 36),
    Case("layer_norm", ((7, 6),), (7, 6), {}, {"scale": (6,), "offset": (6,)}, elementwise=7 * 42),
    Case("relu", ((2, 3),), (2, 3), elementwise=6),
    Case("relu6", ((2, 3),), (2, 3), elementwise=12),
    Case("hard_sigmoid", ((2, 3),), (2, 3), elementwise=24),
    Case("hard_swish", ((2, 3),), (2, 3), elementwise=30),
    Case("silu", ((2, 3),), (2, 3), elementwise=30),
    Case("gelu", ((2, 3),), (2, 3), elementwise=48),
    Case("add", ((6, 2, 3), (6, 2, 3)), (6, 2, 3), elementwise=36),
    Case("mul", ((6, 2, 3), (6, 1, 1)), (6, 2, 3), elementwise=36),
    Case("concat", ((6, 2, 3), (4, 2, 3), (1, 2, 3)), (11, 2, 3)),
    Case("concat", ((6, 2), (6, 3)), (6, 5), {"axis": 1}),
    # (5 + 2 - 3) // 2 + 1 = 3, (4 + 2 - 3) // 2 + 1 = 2; nine values each
    Case("avg_pool", ((6, 5, 4),), (6, 3, 2), {"kernel": 3, "stride": 2, "padding": 1}, elementwise=36 * 9),
    Case("max_pool", ((6, 5, 4),), (6, 4, 3), {"kernel": 2}, elementwise=72 * 4),
    Case("global_pool", ((6, 5, 4),), (6, 1, 1), elementwise=120),
    Case("reshape", ((6, 2, 2),), (24,), {"shape": (24,)}),
    Case("transpose", ((6, 2, 3),), (3, 6, 2), {"perm": (2, 0, 1)}),
    Case("softmax", ((7, 6),), (7, 6), {}, elementwise=5 * 42),
]


def build(kind: str, inputs: tuple[Shape, ...], attrs: dict[str, Any]) -> tuple[Builder, Any]:
    b = Builder()
    refs = [b.input(f"input{i}", shape) for i, shape in enumerate(inputs)]
    return b, b(kind, "here", *refs, **attrs)


def test_every_operator_has_a_case() -> None:
    assert {case.kind for case in CASES} == set(OPERATORS)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.kind)
def test_shape_weights_and_arithmetic(case: Case) -> None:
    b, out = build(case.kind, case.inputs, case.attrs)
    network = b.network(out)
    op = network.op("here")
    assert b.shape(out) == op.shape == case.shape
    assert {name: weight.shape for name, weight in network.weights(op).items()} == case.weights
    assert network.op_macs(op) == case.macs
    assert network.op_flops(op) == 2 * case.macs + case.elementwise


@pytest.mark.parametrize("kind", sorted(OPERATORS))
def test_weights_have_roles_and_only_statistics_are_not_trained(kind: str) -> None:
    for case in CASES:
        if case.kind == kind:
            _, attrs = resolve(kind, "here", case.inputs, case.attrs)
            for name, weight in OPERATORS[kind].weights(case.inputs, attrs).items():
                assert weight.role == name
                assert weight.trainable == (name not in ("mean", "variance"))


@pytest.mark.parametrize("kind", sorted(OPERATORS))
def test_defaults_are_filled_in_and_every_required_attribute_is_asked_for(kind: str) -> None:
    case = next(case for case in CASES if case.kind == kind)
    _, attrs = resolve(kind, "here", case.inputs, case.attrs)
    assert list(attrs) == list(OPERATORS[kind].attrs)
    assert REQUIRED not in attrs.values() and None not in attrs.values()
    for name, default in OPERATORS[kind].attrs.items():
        if default is REQUIRED:
            rest = {key: value for key, value in case.attrs.items() if key != name}
            with pytest.raises(ShapeError, match=f"here \\({kind}\\).*{name} is required"):
                resolve(kind, "here", case.inputs, rest)


def test_the_padding_of_a_convolution_is_half_its_kernel_unless_given() -> None:
    _, attrs = resolve("conv", "here", ((3, 8, 8),), {"filters": 2, "kernel": 5})
    assert attrs["padding"] == 2
    assert resolve("conv", "here", ((3, 8, 8),), {"filters": 2, "kernel": 5, "padding": 2})[1] == attrs
    assert resolve("max_pool", "here", ((3, 8, 8),), {"kernel": 5})[1]["padding"] == 0


def test_numbers_of_numpy_and_lists_are_stored_as_plain_python() -> None:
    _, attrs = resolve("conv", "here", ((3, 8, 8),), {"filters": np.int64(2), "kernel": np.uint8(3)})
    assert all(type(attrs[name]) is int for name in ("filters", "kernel", "padding", "stride", "groups"))
    _, attrs = resolve("reshape", "here", ((3, 8, 8),), {"shape": [np.int32(192)]})
    assert attrs == {"shape": (192,)} and type(attrs["shape"][0]) is int


IMAGE = (6, 8, 8)
MISTAKES: list[tuple[str, tuple[Shape, ...], dict[str, Any], str]] = [
    ("convolution", (IMAGE,), {}, "no operator 'convolution'"),
    ("conv", (IMAGE,), {"filters": 4, "kernel": 3, "dilation": 2}, "no attribute 'dilation'; it takes filters"),
    ("relu", (IMAGE,), {"slope": 1}, "no attribute 'slope'; it takes none"),
    ("conv", (IMAGE,), {"filters": 4}, "kernel is required"),
    ("conv", (), {"filters": 4, "kernel": 3}, r"takes 1 input\(s\), got 0"),
    ("conv", (IMAGE, IMAGE), {"filters": 4, "kernel": 3}, r"takes 1 input\(s\), got 2"),
    ("add", (IMAGE,), {}, r"takes 2 input\(s\), got 1"),
    ("concat", (), {}, r"takes at least one input\(s\), got 0"),
    ("input", (IMAGE,), {"shape": IMAGE}, r"takes 0 input\(s\), got 1"),
    ("conv", ((6,),), {"filters": 4, "kernel": 3}, "needs an image"),
    ("conv", (IMAGE,), {"filters": 0, "kernel": 3}, "filters must be at least 1, got 0"),
    ("conv", (IMAGE,), {"filters": 4, "kernel": 3, "stride": 0}, "stride must be at least 1, got 0"),
    ("conv", (IMAGE,), {"filters": 4, "kernel": 3, "padding": -1}, "padding must be at least 0, got -1"),
    ("conv", (IMAGE,), {"filters": 4, "kernel": 3, "groups": 4}, "groups 4 must divide input channels 6"),
    ("conv", (IMAGE,), {"filters": 4, "kernel": 3, "groups": 3}, "and filters 4"),
    ("conv", (IMAGE,), {"filters": 4, "kernel": 9, "padding": 0}, "window of 9 with padding 0 does not fit into 8"),
    ("conv", (IMAGE,), {"filters": 4, "kernel": 3.0}, r"kernel must be an integer, got 3\.0"),
    ("conv", (IMAGE,), {"filters": 4, "kernel": "3"}, "kernel must be an integer, got '3'"),
    ("conv", (IMAGE,), {"filters": True, "kernel": 3}, "filters must be an integer, got True"),
    ("conv", (IMAGE,), {"filters": 4, "kernel": 3, "bias": 1}, "bias must be True or False, got 1"),
    ("batch_norm", (IMAGE,), {"eps": "small"}, "eps must be a number, got 'small'"),
    ("avg_pool", ((6,),), {"kernel": 2}, "needs an image"),
    ("max_pool", (IMAGE,), {"kernel": 2, "padding": 2}, "padding 2 is more than half of the window 2"),
    ("max_pool", (IMAGE,), {"kernel": 9}, "window of 9 with padding 0 does not fit into 8"),
    ("global_pool", ((6, 2),), {}, "needs an image"),
    ("dense", ((6,),), {"units": 0}, "units must be at least 1, got 0"),
    ("dense", ((),), {"units": 3}, "needs at least one axis"),
    ("batch_norm", ((),), {}, "needs at least one axis"),
    ("layer_norm", ((),), {}, "needs at least one axis"),
    ("matmul", ((7, 6), (5, 6)), {}, "last axis of the first must equal"),
    ("matmul", ((2, 7, 6), (3, 6, 5)), {}, "leading axes alike"),
    ("matmul", ((6,), (6,)), {}, "last axis of the first must equal"),
    ("add", (IMAGE, (6, 8, 7)), {}, "must have the first one's shape, or 1"),
    ("mul", ((6, 1, 1), IMAGE), {}, "must have the first one's shape, or 1"),
    ("add", (IMAGE, (6,)), {}, "must have the first one's shape, or 1"),
    ("concat", (IMAGE, (6, 8, 7)), {}, "inputs may differ on axis 0 only"),
    ("concat", (IMAGE, (6, 8)), {}, "inputs may differ on axis 0 only"),
    ("concat", (IMAGE, IMAGE), {"axis": 3}, "axis 3 does not exist"),
    ("reshape", (IMAGE,), {"shape": (6, 8)}, r"\(6, 8\) does not have the same number of elements"),
    ("reshape", ((6, 2),), {"shape": (-3, -4)}, r"the output would be \(-3, -4\)"),
    ("reshape", (IMAGE,), {"shape": 384}, "shape must be a tuple of integers, got 384"),
    ("transpose", (IMAGE,), {"perm": (0, 1)}, r"perm \(0, 1\) is not a permutation"),
    ("transpose", (IMAGE,), {"perm": (0, 1, 1)}, "is not a permutation"),
    ("softmax", ((6,),), {"axis": 1}, "axis 1 does not exist"),
    ("input", (), {"shape": (3, 0, 8)}, r"the output would be \(3, 0, 8\)"),
]


@pytest.mark.parametrize(("kind", "inputs", "attrs", "message"), MISTAKES)
def test_a_mistake_names_the_operator_its_inputs_and_what_is_wrong(
    kind: str, inputs: tuple[Shape, ...], attrs: dict[str, Any], message: str
) -> None:
    with pytest.raises(ShapeError, match=message) as caught:
        build(kind, inputs, attrs)
    assert str(caught.value).startswith("here")
    if kind in OPERATORS:
        assert f"({kind})" in str(caught.value)
        assert all(str(shape) in str(caught.value) for shape in inputs)


def test_views_and_activations_are_operators_without_arrays_that_keep_the_size() -> None:
    assert set(OPERATORS) > VIEWS | ACTIVATIONS
    for kind in ACTIVATIONS:
        assert resolve(kind, "here", (IMAGE,), {}) == (IMAGE, {})
        assert OPERATORS[kind].weights((IMAGE,), {}) == {}


@pytest.mark.parametrize(
    ("attrs", "odd"),
    [
        ({"filters": 4, "kernel": 1}, {"kernel": True}),
        ({"filters": 4, "kernel": 1}, {"kernel": 1.0}),
        ({"filters": 1, "kernel": 1}, {"filters": True}),
        ({"filters": 4, "kernel": 1, "bias": True}, {"bias": 1}),
        ({"filters": 4, "kernel": 1}, {"kernel": [1]}),
    ],
)
def test_what_equals_an_operator_that_fitted_is_judged_all_the_same(attrs: dict[str, Any], odd: dict[str, Any]) -> None:
    first = resolve("conv", "here", ((3, 8, 8),), attrs)
    assert resolve("conv", "there", ((3, 8, 8),), dict(attrs)) == first
    with pytest.raises(ShapeError, match="elsewhere"):
        resolve("conv", "elsewhere", ((3, 8, 8),), {**attrs, **odd})
