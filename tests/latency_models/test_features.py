"""Roofline seconds of hand-computed kernels, and how they follow the machine."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware_profiles import DeviceProfile, Quantity, Target, load, names
from latency_models.calibration import uncalibrated
from latency_models.features import (
    CALLS,
    CALL_S,
    DECISIONS,
    EFFICIENCY,
    FEATURES,
    KERNELS,
    REORDERED,
    REORDERS,
    UNHIDDEN,
    counts,
    machine,
)
from latency_models.roofline import Roofline
from search_spaces.ir import Builder, Network
from search_spaces.mobile import linear_exit, mobile, squeeze_excite
from search_spaces.passes import OP_CLASSES
from search_spaces.slots import random_genomes

SPACE = mobile((3, 32, 32), 10)
NETWORKS = [SPACE.decode(genome) for genome in random_genomes(SPACE, 8, np.random.default_rng(1))]
RPI4 = load("rpi4b")


def _pointwise() -> Network:
    b = Builder()
    x = b("conv", "a", b.input("image", (32, 28, 28)), filters=64, kernel=1, padding=0)
    return b.network(b("relu", "a.relu", x))


def test_a_hand_computed_convolution() -> None:
    target = Target("rpi4b", "onnxruntime", threads=4, batch=2)
    on = machine(RPI4, target)
    row = FEATURES["roofline"].matrix(counts(_pointwise(), on.fusions, "roofline", target), on)[0]
    flops = 2 * (2 * 28 * 28 * 32 * 64 + 28 * 28 * 64)
    bytes_ = 4 * (2 * 28 * 28 * (32 + 64) + 32 * 64)
    expected = max(flops / (0.6 * 48e9), bytes_ / (12.8e9 * 0.434))
    hidden = min(flops / (0.6 * 48e9), bytes_ / (12.8e9 * 0.434))
    wanted = {"pointwise": expected, UNHIDDEN: hidden, KERNELS: 1, f"{KERNELS}.pointwise": 1, CALLS: 1}
    columns = FEATURES["roofline"].columns
    np.testing.assert_allclose(row, [wanted.get(name, 0.0) for name in columns], rtol=1e-12)


def test_without_fusion_the_activation_is_a_kernel_of_its_own() -> None:
    target = Target("rpi4b", "onnxruntime")
    on = replace(machine(RPI4, target), fusions=())
    count = counts(_pointwise(), on.fusions, "roofline", target)
    assert [OP_CLASSES[i] for i in count.op_class] == ["pointwise", "elementwise"]
    # Read and write the map once.
    assert count.activation_bytes[1] == 2 * 4 * 64 * 28 * 28 and count.weight_bytes[1] == 0


def test_the_slower_of_arithmetic_and_traffic_decides() -> None:
    target = Target("rpi4b", "onnxruntime")
    network = _pointwise()
    on = machine(RPI4, target)
    column = OP_CLASSES.index("pointwise")

    def seconds(flops_factor: float, bytes_factor: float) -> float:
        other = replace(
            on,
            flops_per_s=tuple(rate * flops_factor for rate in on.flops_per_s),
            bytes_per_s=on.bytes_per_s * bytes_factor,
        )
        return float(FEATURES["roofline"].matrix(counts(network, on.fusions, "m", target), other)[0, column])

    both = seconds(1, 1)
    assert both == max(seconds(1e9, 1), seconds(1, 1e9))
    assert seconds(0.5, 1e9) == pytest.approx(2 * seconds(1, 1e9))
    assert seconds(1e9, 0.5) == pytest.approx(2 * seconds(1e9, 1))


def test_an_operator_runs_before_the_first_exit_that_needs_it() -> None:
    b = Builder()
    first = b("conv", "first", b.input("image", (8, 8, 8)), filters=8, kernel=3)
    later = b("conv", "later", first, filters=8, kernel=3)
    head = b("global_pool", "head", first)
    count = counts(b.network(head, b("conv", "last", later, filters=8, kernel=3)), (), "m", Target("rpi4b", "tvm"))
    assert count.segment.tolist() == [0, 1, 0, 1], "the head stands between two operators that it does not need"


def test_only_what_leaves_the_blocked_layout_is_converted() -> None:
    b = Builder()
    x = b("conv", "a", b.input("image", (3, 8, 8)), filters=16, kernel=3)
    gated = squeeze_excite(b, "se", x, 4)
    residual = b("add", "residual", b("conv", "b", gated, filters=16, kernel=3), gated)
    network = b.network(linear_exit(b, "final", residual, 10))
    target = Target("xeon_gold_6226", "onnxruntime", batch=3)
    on = machine(load("xeon_gold_6226"), target)
    count = counts(network, on.fusions, "m", target, on.channel_block)
    # The gated map and its gate are left, and the product is entered again.
    image = 16 * 8 * 8 * 4
    assert count.reorders.sum() == 3 and count.reordered_bytes.sum() == 2 * image + 16 * 4
    columns = FEATURES["roofline"].columns
    row = FEATURES["roofline"].matrix(count, on)[0]
    assert row[columns.index(REORDERS)] == 3
    assert row[columns.index(REORDERED)] == pytest.approx(3 * 2 * count.reordered_bytes.sum() / on.bytes_per_s)
    plain = FEATURES["roofline"].matrix(count, machine(RPI4, Target("rpi4b", "onnxruntime", batch=3)))[0]
    assert plain[columns.index(REORDERS)] == plain[columns.index(REORDERED)] == 0


def test_convolutions_fill_channels_up_to_whole_blocks() -> None:
    b = Builder()
    x = b("conv", "first", b.input("image", (3, 8, 8)), filters=24, kernel=3)
    x = b("conv", "depthwise", x, filters=24, kernel=3, groups=24)
    x = b("conv", "pointwise", x, filters=40, kernel=1, padding=0)
    network = b.network(linear_exit(b, "final", x, 10))
    target = Target("rpi4b", "onnxruntime")

    def padding(block: int) -> list[float]:
        return counts(network, (), "m", target, block).padding.tolist()

    assert padding(16) == pytest.approx([32 / 24, 32 / 24, 32 / 24 * 48 / 40, 1, 1])
    assert padding(8) == padding(1) == [1] * 5


@pytest.mark.parametrize(
    ("device", "runner", "block"),
    [("xeon_gold_6226", "onnxruntime", 16), ("rpi4b", "onnxruntime", 1), ("xeon_gold_6226", "tvm", 1),
     ("rtx_4090", "onnxruntime", 1)],
)  # fmt: skip
def test_channels_are_blocked_where_the_runtime_does(device: str, runner: Any, block: int) -> None:
    assert machine(load(device), Target(device, runner)).channel_block == block


def test_segments_agree_with_the_networks_own() -> None:
    target = Target("rpi4b", "onnxruntime")
    on = machine(RPI4, target)
    for network in NETWORKS:
        whole = FEATURES["roofline"].matrix(counts(network, on.fusions, "m", target), on)
        for row, segment in zip(whole, network.segments(), strict=True):
            alone = FEATURES["roofline"].matrix(counts(segment.network, on.fusions, "m", target), on)[0]
            np.testing.assert_allclose(row[:-1], alone[:-1], rtol=1e-12)
        assert FEATURES["roofline"].columns[-1] == DECISIONS
        assert whole[:, -1].tolist() == [1.0] * (len(network.exits) - 1) + [0.0]


def test_macs_are_the_networks_own() -> None:
    target = Target("rpi4b", "onnxruntime")
    on = machine(RPI4, target)
    for network in NETWORKS:
        matrix = FEATURES["flops"].matrix(counts(network, on.fusions, "flops", target), on)
        assert matrix[:, 0].sum() == network.macs


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([n for n in names() if n != "host"]), st.floats(1.0, 20.0), st.floats(1.0, 20.0))
def test_a_faster_device_is_never_slower(device: str, peak: float, bandwidth: float) -> None:
    profile = load(device)
    target = Target(device, "onnxruntime")
    faster = replace(
        profile,
        peak_flops_per_s={k: Quantity(q.value * peak, q.source, q.grade) for k, q in profile.peak_flops_per_s.items()},
        stream_fraction=replace(profile.stream_fraction, value=profile.stream_fraction.value * bandwidth),
        core_bandwidth_bytes_per_s=None,
    )
    before = Roofline(profile, target).predict(NETWORKS).segment_s
    after = Roofline(faster, target).predict(NETWORKS).segment_s
    assert (np.nan_to_num(after) <= np.nan_to_num(before) * (1 + 1e-12)).all()


def test_threads_and_smaller_types_help() -> None:
    def total(profile: DeviceProfile, target: Target) -> float:
        return float(Roofline(profile, target).predict(NETWORKS[:1]).total_s[0])

    by_threads = [total(RPI4, Target("rpi4b", "onnxruntime", threads=n)) for n in (1, 2, 4)]
    assert all(a > b for a, b in pairwise(by_threads))
    by_dtype = [total(load("rpi5"), Target("rpi5", "onnxruntime", 4, dtype=t)) for t in ("float32", "float16", "int8")]
    assert all(a > b for a, b in pairwise(by_dtype))


def test_overheads_can_be_given() -> None:
    target = Target("rpi4b", "onnxruntime")
    bare = uncalibrated(Roofline.features, RPI4, target, call_s=1e-3, decision_s=2e-3)
    assert (bare.machine.call_s, bare.machine.decision_s) == (1e-3, 2e-3)
    # They are the profile's, and as far off as the rest of it.
    assert bare.sheet is not None and Roofline(None, target, bare).call_s == pytest.approx(1e-3 * bare.sheet.median)
    # A core at half of 3 GHz takes twice the estimate.
    assert machine(RPI4, target).call_s == pytest.approx(2 * CALL_S)
    assert machine(load("rtx_4090"), Target("rtx_4090", "onnxruntime")).call_s > CALL_S


def test_every_op_class_has_an_efficiency() -> None:
    for table in EFFICIENCY.values():
        assert set(table) == set(OP_CLASSES) and all(0 < share <= 1 for share in table.values())


@pytest.mark.parametrize("network", NETWORKS[:3])
def test_what_was_counted_for_one_device_is_not_taken_for_another_that_fuses_otherwise(network: Network) -> None:
    ways = [(RPI4.fusions, 1), ((), 1), (RPI4.fusions, 7), ((), 7)]
    first = [counts(network, fusions, "roofline", Target("rpi4b", "onnxruntime"), block) for fusions, block in ways]
    again = [counts(network, fusions, "roofline", Target("host", "onnxruntime"), block) for fusions, block in ways]
    assert all(a is b for a, b in zip(first, again, strict=True)), "counted once"
    assert len(first[0].flops) == len(first[2].flops) < len(first[1].flops)
    assert first[0].padding.max() == 1 < first[2].padding.max()
    priced = counts(network, RPI4.fusions, "lookup", Target("rpi4b", "onnxruntime"), price=lambda network, kernel: 2.0)
    assert set(priced.table_s) == {2.0} and not len(first[0].table_s)
