"""Signatures of kernels, and what a table says of those it has and those it lacks."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware_profiles import Target, load
from latency_models import UnpricedOperator
from latency_models.calibration import uncalibrated
from latency_models.kernels import NEAR, KernelTable, Signature, alone, distinct, distinct_of_space, signature
from latency_models.lookup import LookUp
from latency_models.roofline import Roofline
from search_spaces.ir import Builder, Network
from search_spaces.mobile import conv_bn, mobile
from search_spaces.passes import FUSIONS, fuse
from search_spaces.slots import random_genomes

PROFILE, TARGET = load("rpi4b"), Target("rpi4b", "onnxruntime")
SPACE = mobile((3, 28, 28), 10)
NETWORKS = [SPACE.decode(genome) for genome in random_genomes(SPACE, 6, np.random.default_rng(0))]
FAMILY = "conv on inx8x8"


def _pointwise(channels: int, filters: int, name: str = "a") -> Network:
    b = Builder()
    return b.network(conv_bn(b, name, b.input("image", (channels, 8, 8)), filters, 1, "relu"))


def test_names_do_not_make_a_kernel_another_but_shapes_and_attributes_do() -> None:
    found = distinct([_pointwise(8, 16), _pointwise(8, 16, "b"), _pointwise(8, 24)], FUSIONS)
    assert [(key.channels_in, key.channels_out) for key in found] == [(8, 16), (8, 24)]
    assert len({key.family for key in found}) == 1
    b = Builder()
    strided = b.network(conv_bn(b, "a", b.input("image", (8, 8, 8)), 16, 1, "relu", stride=2))
    assert not {key.family for key in distinct([strided], FUSIONS)} & {key.family for key in found}


def test_a_kernel_alone_is_the_kernel() -> None:
    for network in NETWORKS:
        for kernel in fuse(network):
            single = alone(network, kernel)
            (again,) = fuse(single)
            assert signature(single, again) == signature(network, kernel)
            assert (again.flops, again.input_bytes, again.output_bytes, again.weight_bytes) == (
                kernel.flops, kernel.input_bytes, kernel.output_bytes, kernel.weight_bytes,
            )  # fmt: skip


def test_the_kernels_of_a_space_are_those_of_its_networks() -> None:
    of_space = distinct_of_space(SPACE, FUSIONS)
    assert set(distinct(NETWORKS, FUSIONS)) <= set(of_space)


@settings(max_examples=50, deadline=None)
@given(st.text("abc(=,) |x", max_size=20).map(str.strip), st.integers(1, 999), st.integers(1, 999))
def test_a_signature_is_read_back(family: str, channels_in: int, channels_out: int) -> None:
    key = Signature(family, channels_in, channels_out)
    assert Signature.of_text(key.text) == key


def _table(**seconds: float) -> KernelTable:
    keys = {name: [int(part) for part in name[1:].split("_")] for name in seconds}
    return KernelTable({Signature(FAMILY, *keys[name]): value for name, value in seconds.items()})


def test_missing_entries_are_interpolated() -> None:
    table = _table(k8_16=1.0, k8_32=3.0, k32_32=9.0)
    assert table.price(Signature(FAMILY, 8, 16)) == 1.0
    assert table.price(Signature(FAMILY, 8, 24)) == pytest.approx(2.0), "linear in the channels out"
    assert table.price(Signature(FAMILY, 16, 32)) == pytest.approx(np.sqrt(3.0 * 9.0)), "log-linear in the product"
    assert table.price(Signature(FAMILY, 64, 32)) == pytest.approx(18.0), "in proportion a little beyond"
    assert table.price(Signature(FAMILY, 64, 33)) is None
    assert table.price(Signature(FAMILY, 7, 9)) is None
    assert table.price(Signature("another", 8, 16)) is None


@settings(max_examples=30, deadline=None)
@given(st.integers(4, 64), st.integers(8, 64))
def test_interpolation_stays_between_its_neighbours(channels_in: int, channels_out: int) -> None:
    table = KernelTable({Signature(FAMILY, i, o): 1e-6 * i * o for i in (8, 32) for o in (8, 64)})
    price = table.price(Signature(FAMILY, channels_in, channels_out))
    product = channels_in * channels_out
    if 64 / NEAR <= product <= 2048 * NEAR:
        assert price is not None and 1e-6 * 64 / NEAR * 0.999 <= price <= 1e-6 * 2048 * NEAR * 1.001


def test_readings_that_cannot_be_are_refused() -> None:
    wanted = distinct([_pointwise(8, 16), _pointwise(8, 24)], FUSIONS)
    with pytest.raises(ValueError, match=r"2 kernels were to be measured, but there are 1"):
        KernelTable.build(wanted, lambda networks: [1.0])
    with pytest.raises(ValueError, match=r"conv.* \| 8 \| 24' was measured at 0\.0 s"):
        KernelTable.build(wanted, lambda networks: [1.0, 0.0])


def test_each_kernel_is_measured_once() -> None:
    asked: list[Network] = []

    def measure(networks: list[Network]) -> list[float]:
        asked.extend(networks)
        return [1e-6] * len(networks)

    table = KernelTable.build(distinct(NETWORKS + NETWORKS, FUSIONS), measure)
    assert len(asked) == len(table.seconds) == len(set(table.seconds))


def test_a_table_is_stored_without_pickle(tmp_path: Path) -> None:
    table = KernelTable.build(distinct(NETWORKS, FUSIONS), Roofline(PROFILE, TARGET).body_s)
    table.save(tmp_path / "kernels.npz")
    assert KernelTable.load(tmp_path / "kernels.npz").seconds == table.seconds
    by_file = LookUp(PROFILE, TARGET, table=str(tmp_path / "kernels.npz"))
    np.testing.assert_array_equal(
        by_file.predict(NETWORKS).total_s, LookUp.of_table(PROFILE, TARGET, table).predict(NETWORKS).total_s
    )
    np.savez(tmp_path / "other.npz", a=np.zeros(1))
    (tmp_path / "text.npz").write_text("no table")
    for name in ("other.npz", "text.npz", "missing.npz"):
        with pytest.raises(ValueError, match="is not a table of kernels"):
            KernelTable.load(tmp_path / name)


def test_a_kernel_near_none_is_not_priced() -> None:
    model = LookUp.of_table(PROFILE, TARGET, KernelTable.build(distinct([_pointwise(8, 16)], FUSIONS), lambda n: [1.0]))
    assert model.predict([_pointwise(8, 24)]).total_s[0] > 0
    with pytest.raises(UnpricedOperator, match=r"'a' is of kind 'conv'.*'lookup'.*measure the kernels of the space"):
        model.predict([_pointwise(8, 64)])


def test_what_isolation_misses_is_found_from_ten_networks() -> None:
    """Kernels alone lack 3 us each and 1.3 of their seconds; the errors of the table itself remain."""
    networks = [SPACE.decode(genome) for genome in random_genomes(SPACE, 60, np.random.default_rng(1))]
    table = KernelTable.build(distinct_of_space(SPACE, PROFILE.fusions), Roofline(PROFILE, TARGET).body_s)
    bare = LookUp.of_table(PROFILE, TARGET, table)
    kernels = np.array([len(fuse(network, frozenset(PROFILE.fusions))) for network in networks])
    truth = 1.3 * bare.body_s(networks) + 3e-6 * kernels + 40e-6

    def reach(model: LookUp, rows: slice) -> list[list[float]]:
        return [[np.nan] * (len(n.exits) - 1) + [t] for n, t in zip(networks[rows], truth[rows], strict=True)]

    width = max(len(network.exits) for network in networks)
    seconds = [row + [np.nan] * (width - len(row)) for row in reach(bare, slice(10))]
    fitted = bare.fit(networks[:10], seconds).predict(networks[10:]).total_s
    assert np.abs(fitted / truth[10:] - 1).max() < 0.05
    assert np.abs(bare.predict(networks[10:]).total_s / truth[10:] - 1).min() > 0.1


@pytest.mark.parametrize("overhead", [0.0, 1e-12])
def test_overheads_that_are_estimated_at_nothing_can_still_be_found(overhead: float, tmp_path: Path) -> None:
    """Of a profile without an overhead per launch, called as if calls were free; neither is true."""
    profile = replace(PROFILE, launch_overhead_s=replace(PROFILE.launch_overhead_s, value=overhead))
    networks = [SPACE.decode(genome) for genome in random_genomes(SPACE, 40, np.random.default_rng(1))]
    KernelTable.build(distinct_of_space(SPACE, FUSIONS), Roofline(PROFILE, TARGET).body_s).save(tmp_path / "k.npz")
    bare = LookUp(
        None,
        TARGET,
        uncalibrated(LookUp.features, profile, TARGET, overhead, overhead, KernelTable.load(tmp_path / "k.npz")),
    )
    exits = np.array([len(network.exits) for network in networks])
    kernels = np.array([len(fuse(network, frozenset(profile.fusions))) for network in networks])
    truth = bare.body_s(networks) + 3e-6 * kernels + 20e-6 * exits
    seconds = np.full((10, exits.max()), np.nan)
    seconds[np.arange(10), exits[:10] - 1] = truth[:10]
    fitted = bare.fit(networks[:10], seconds)
    assert fitted.calibration.coefficients["kernels"] > 1e-6
    assert fitted.calibration.coefficients["calls"] > 1e-7
    prediction = fitted.predict(networks[10:])
    assert np.abs(prediction.total_s / truth[10:] - 1).max() < 0.05
    assert np.isfinite(prediction.total_std_s).all()
