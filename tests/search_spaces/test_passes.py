"""What a runtime does before it runs: folding batch norm keeps the answers, merging operators loses none."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from search_spaces.ir import Builder, Network
from search_spaces.mobile import conv_bn, mobile
from search_spaces.operators import VIEWS
from search_spaces.passes import FUSIONS, OP_CLASSES, Kernel, fold_batch_norm, fuse, op_class
from search_spaces.slots import random_genomes
from search_spaces.toy import toy
from tests.search_spaces.small import answers, evaluate, random_weights, single_exit, three_exits


def _sampled() -> list[Network]:
    spaces = mobile((1, 8, 8), 5), toy((3, 8, 8), 5)
    return [
        space.decode(genome.tolist())
        for space in spaces
        for genome in random_genomes(space, 4, np.random.default_rng(7))
    ]


NETWORKS = [single_exit(), three_exits(), *_sampled()]
FUSION_SETS = [frozenset(chosen) for n in range(len(FUSIONS) + 1) for chosen in combinations(sorted(FUSIONS), n)]


def kinds(network: Network) -> set[str]:
    return {op.kind for op in network.ops}


def moved(kernels: Iterable[Kernel]) -> int:
    return sum(kernel.input_bytes + kernel.weight_bytes + kernel.output_bytes for kernel in kernels)


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.key[:6])
def test_folding_keeps_every_answer(network: Network) -> None:
    weights = random_weights(network)
    image = np.random.default_rng(1).normal(size=network.op("image").shape)
    folded, arrays = fold_batch_norm(network, weights)
    assert "batch_norm" not in kinds(folded)
    assert folded.macs == network.macs
    assert set(arrays) == set(folded.weight_shapes)
    assert all(array.shape == folded.weight_shapes[key].shape for key, array in arrays.items())
    assert all(array.dtype == np.float32 for array in arrays.values())
    before, after = answers(network, weights, image), answers(folded, arrays, image)
    assert len(before) == len(after) == len(network.exits)
    for expected, found in zip(before, after, strict=True):
        # The folded arrays are rounded to float32 once; everything else is computed in float64.
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6 * np.abs(expected).max())


def test_folding_without_weights_gives_the_same_network_and_no_arrays() -> None:
    network = three_exits()
    folded, arrays = fold_batch_norm(network)
    assert arrays == {}
    assert folded == fold_batch_norm(network, random_weights(network))[0]
    assert folded.op("stem").attr("bias") and not network.op("stem").attr("bias")


def test_folding_adds_a_bias_of_its_own_to_one_that_is_there() -> None:
    b = Builder()
    x = b("conv", "conv", b.input("image", (2, 5, 5)), filters=3, kernel=3, bias=True)
    network = b.network(b("batch_norm", "norm", x))
    weights = random_weights(network)
    folded, arrays = fold_batch_norm(network, weights)
    image = np.random.default_rng(1).normal(size=(2, 5, 5))
    np.testing.assert_allclose(
        answers(folded, arrays, image)[0], answers(network, weights, image)[0], rtol=0, atol=1e-5
    )


def test_a_batch_norm_that_cannot_be_folded_stays() -> None:
    """Behind an activation, behind a convolution that others read, or behind one that is an answer."""
    b = Builder()
    image = b.input("image", (2, 6, 6))
    behind = b("batch_norm", "behind", b("relu", "relu", b("conv", "a", image, filters=2, kernel=3)))
    shared = b("conv", "b", behind, filters=2, kernel=3)
    summed = b("add", "sum", b("batch_norm", "shared", shared), shared)
    answer = b("conv", "c", summed, filters=2, kernel=3)
    last = b("batch_norm", "answered", answer)
    network = b.network(answer, b("batch_norm", "alone", b("conv", "d", last, filters=2, kernel=3)))
    weights = random_weights(network)
    folded, arrays = fold_batch_norm(network, weights)
    assert [op.name for op in folded.ops if op.kind == "batch_norm"] == ["behind", "shared", "answered"]
    x = np.random.default_rng(1).normal(size=(2, 6, 6))
    for expected, found in zip(answers(network, weights, x), answers(folded, arrays, x), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6 * np.abs(expected).max())


def test_folding_keeps_the_order_of_answers() -> None:
    b = Builder()
    image = b.input("image", (2, 6, 6))
    conv = b("conv", "conv", image, filters=2, kernel=3)
    between = b("global_pool", "between", image)
    network = b.network(between, b("batch_norm", "norm", conv))
    folded, _ = fold_batch_norm(network)
    assert [folded.ops[index].name for index in folded.exits] == ["between", "conv"]


def test_folding_keeps_the_element_type() -> None:
    network = three_exits()
    halves = Network(tuple(replace(op, dtype="float16") for op in network.ops), network.exits)
    assert {op.dtype for op in fold_batch_norm(halves)[0].ops} == {"float16"}


@pytest.mark.parametrize("fusions", FUSION_SETS, ids=lambda chosen: "+".join(sorted(chosen)) or "none")
def test_kernels_hold_every_operator_once_and_all_its_arithmetic(fusions: frozenset[str]) -> None:
    for network in NETWORKS:
        kernels = fuse(network, fusions)
        names = [name for kernel in kernels for name in kernel.ops]
        assert sorted(names) == sorted(op.name for op in network.ops if op.kind not in VIEWS)
        assert sum(kernel.flops for kernel in kernels) == network.flops
        assert sum(kernel.macs for kernel in kernels) == network.macs
        assert sum(kernel.weight_bytes for kernel in kernels) == network.weight_bytes
        assert all(kernel.name == kernel.ops[0] and kernel.op_class in OP_CLASSES for kernel in kernels)


@pytest.mark.parametrize("fusions", FUSION_SETS, ids=lambda chosen: "+".join(sorted(chosen)) or "none")
def test_kernels_are_listed_in_an_order_in_which_they_can_run(fusions: frozenset[str]) -> None:
    for network in NETWORKS:
        done = {"image"}
        for kernel in fuse(network, fusions):
            for name in kernel.ops:
                sources = [network.ops[s] for s, _ in network.op(name).inputs]
                while any(op.kind == "reshape" for op in sources):
                    sources = [network.ops[op.inputs[0][0]] if op.kind == "reshape" else op for op in sources]
                assert all(op.name in done for op in sources)
                done.add(name)


def test_a_kernel_that_takes_in_an_addition_waits_for_its_other_operand() -> None:
    b = Builder()
    image = b.input("image", (2, 4, 4))
    early = b("conv", "early", image, filters=2, kernel=3)
    late = b("max_pool", "late", image, kernel=3, padding=1)
    network = b.network(b("add", "sum", early, late))
    assert [" ".join(kernel.ops) for kernel in fuse(network)] == ["late", "early sum"]


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.key[:6])
def test_merging_more_never_moves_more_and_never_launches_more(network: Network) -> None:
    kernels = {fusions: fuse(network, fusions) for fusions in FUSION_SETS}
    for less in FUSION_SETS:
        for more in FUSION_SETS:
            if less < more:
                assert moved(kernels[more]) <= moved(kernels[less])
                assert len(kernels[more]) <= len(kernels[less])
    assert moved(kernels[FUSION_SETS[-1]]) < moved(kernels[FUSION_SETS[0]])


def residual() -> Network:
    b = Builder()
    x = conv_bn(b, "stem", b.input("image", (3, 4, 4)), 4, 3, "relu")
    y = conv_bn(b, "body", x, 4, 3)
    return b.network(b("relu", "relu", b("add", "sum", y, x)))


@pytest.mark.parametrize(
    ("fusions", "expected"),
    [
        (set(), ["stem", "stem.bn", "stem.relu", "body", "body.bn", "sum", "relu"]),
        ({"conv_bn"}, ["stem stem.bn", "stem.relu", "body body.bn", "sum", "relu"]),
        ({"conv_bn", "conv_activation"}, ["stem stem.bn stem.relu", "body body.bn", "sum", "relu"]),
        ({"conv_bn", "conv_add"}, ["stem stem.bn", "stem.relu", "body body.bn sum", "relu"]),
        (FUSIONS, ["stem stem.bn stem.relu", "body body.bn sum relu"]),
    ],
)
def test_what_is_merged_by_hand(fusions: set[str], expected: list[str]) -> None:
    assert [" ".join(kernel.ops) for kernel in fuse(residual(), frozenset(fusions))] == expected


def test_what_a_merged_kernel_computes_and_moves_by_hand() -> None:
    stem, body = fuse(residual())
    # Image 3 * 16, map 4 * 16 elements of four bytes; 4 * 3 * 9 taps and four arrays of batch norm.
    assert (stem.input_bytes, stem.output_bytes, stem.weight_bytes) == (192, 256, 4 * (108 + 16))
    assert stem.macs == 16 * 4 * 27
    assert stem.flops == 2 * stem.macs + 64 * (2 + 1)
    # The map enters the convolution and the addition, and is read once.
    assert (body.input_bytes, body.output_bytes) == (256, 256)
    assert body.flops == 2 * 16 * 4 * 36 + 64 * (2 + 1 + 1)
    apart = fuse(residual(), frozenset())
    assert next(kernel for kernel in apart if kernel.name == "sum").input_bytes == 512


def test_nothing_is_merged_over_an_answer_a_second_reader_or_an_activation_before_batch_norm() -> None:
    b = Builder()
    answered = b("conv", "answered", b.input("image", (2, 4, 4)), filters=2, kernel=3)
    active = b("relu", "active", answered)
    shared = b("conv", "shared", active, filters=2, kernel=3)
    one, two = b("relu", "one", shared), b("gelu", "two", shared)
    chain = b("relu", "before", b("conv", "chain", b("add", "sum", one, two), filters=2, kernel=3))
    network = b.network(answered, b("batch_norm", "late", chain))
    expected = ["answered", "active", "shared", "one", "two", "sum", "chain before", "late"]
    assert [" ".join(kernel.ops) for kernel in fuse(network)] == expected


def test_an_unknown_fusion_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown fusion 'conv_pool'; there are conv_activation, conv_add, conv_bn"):
        fuse(single_exit(), frozenset({"conv_bn", "conv_pool"}))


@pytest.mark.parametrize(
    ("channels", "size", "attrs", "expected"),
    [
        (6, 8, {"filters": 6, "kernel": 3}, "conv"),
        (6, 8, {"filters": 6, "kernel": 1}, "pointwise"),
        (6, 8, {"filters": 6, "kernel": 1, "groups": 2}, "conv"),
        (6, 8, {"filters": 6, "kernel": 3, "groups": 6}, "depthwise"),
        (6, 8, {"filters": 12, "kernel": 5, "groups": 6}, "depthwise"),
        (6, 8, {"filters": 6, "kernel": 3, "groups": 3}, "conv"),
        (1, 8, {"filters": 6, "kernel": 3, "groups": 1}, "conv"),
        (6, 1, {"filters": 6, "kernel": 1}, "dense"),
    ],
)
def test_classes_of_convolutions(channels: int, size: int, attrs: dict[str, int], expected: str) -> None:
    b = Builder()
    network = b.network(b("conv", "conv", b.input("image", (channels, size, size)), **attrs))
    assert op_class(network, network.op("conv")) == expected


def test_every_operator_that_runs_has_a_class() -> None:
    from tests.search_spaces.test_ir import every_operator

    network = every_operator()
    classes = {op.kind: op_class(network, op) for op in network.ops if op.kind not in VIEWS}
    assert set(classes.values()) <= set(OP_CLASSES)
    assert classes["global_pool"] == "pool" and classes["concat"] == "copy" and classes["add"] == "elementwise"
    assert {classes["batch_norm"], classes["layer_norm"]} == {"normalisation"}


def test_the_evaluator_of_these_tests_agrees_with_a_convolution_written_out() -> None:
    b = Builder()
    network = b.network(b("conv", "c", b.input("image", (4, 5, 6)), filters=6, kernel=3, stride=2, groups=2))
    rng = np.random.default_rng(3)
    image, kernel = rng.normal(size=(4, 5, 6)), rng.normal(size=(6, 2, 3, 3))
    found = evaluate(network, {"c/kernel": kernel}, {"image": image})["c"]
    padded = np.zeros((4, 7, 8))
    padded[:, 1:6, 1:7] = image
    for o in range(6):
        for y in range(3):
            for x in range(3):
                part = padded[2 * (o // 3) : 2 * (o // 3) + 2, 2 * y : 2 * y + 3, 2 * x : 2 * x + 3]
                np.testing.assert_allclose(found[o, y, x], (part * kernel[o]).sum(), rtol=1e-12)
