"""Every shipped device: it loads, its numbers are plausible and sourced, its names unique, and TVM takes its target."""

from itertools import pairwise

import pytest

from hardware_profiles import load, names
from hardware_profiles.profile import GRADES
from hardware_profiles.schema import parse

DEVICES = [name for name in names() if name != "host"]


def test_all_devices_are_shipped() -> None:
    assert len(DEVICES) == 46
    assert {"rpi4b", "jetson_nano", "jetson_agx_orin_64gb", "rtx_4090", "epyc_7742", "pixel6_tensor"} <= set(DEVICES)


@pytest.mark.parametrize("name", DEVICES)
def test_numbers_are_plausible(name: str) -> None:
    profile = load(name)
    assert profile.id == name
    assert set(profile.peak_flops_per_s) == {"float32", "float16", "int8"}
    for quantity in profile.peak_flops_per_s.values():
        assert 1e9 < quantity.value < 1e16
    assert 1e9 < profile.bandwidth_bytes_per_s.value < 1e13
    assert 0.2 < profile.stream_fraction.value <= 1
    assert 1e-7 < profile.launch_overhead_s.value < 1e-3
    assert 2**29 < profile.memory_bytes.value < 2**40
    assert profile.idle_w is not None and profile.tdp_w is not None
    assert 0 < profile.idle_w.value < profile.tdp_w.value < 1000
    assert profile.clock_hz is not None and 0.5e9 < profile.clock_hz.value < 4e9
    assert {cache.level for cache in profile.caches} >= {1, 2}
    assert all(a.level < b.level for a, b in pairwise(profile.caches))
    assert profile.caches[0].bytes < profile.caches[1].bytes
    assert profile.fusions and any("fold batch norm" in n or "folds batch norm" in n for n in profile.notes)


@pytest.mark.parametrize("name", DEVICES)
def test_every_number_has_a_source_and_a_grade(name: str) -> None:
    profile = load(name)
    quantities = dict(profile.quantities())
    assert len(quantities) >= 12
    for key, quantity in quantities.items():
        assert quantity.grade in GRADES, key
        assert len(profile.citation(quantity)) > 10, key
    used = {quantity.source for quantity in quantities.values()}
    assert used == set(profile.sources), "a source that nothing cites, or the reverse"


@pytest.mark.parametrize("name", DEVICES)
def test_a_derived_cpu_peak_is_cores_times_clock_times_width(name: str) -> None:
    profile = load(name)
    if profile.kind != "cpu":
        return
    assert profile.clock_hz is not None
    per_cycle = profile.peak() / profile.cores.value / profile.clock_hz.value
    assert round(per_cycle) in (8, 16, 32, 64) and per_cycle == pytest.approx(round(per_cycle), rel=0.01)


def test_names_and_aliases_are_unique() -> None:
    seen: dict[str, str] = {}
    for name in DEVICES:
        for word in {w.lower().replace("_", "").replace("-", "") for w in (name, *load(name).aliases)}:
            assert word not in seen, f"{word} names {name} and {seen[word]}"
            seen[word] = name


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("raspi4", "rpi4b"),
        ("Raspberry Pi 4", "rpi4b"),
        ("edgegpu", "jetson_tx2"),
        ("1080TI", "gtx_1080_ti"),
        ("essential-ph-1", "pixel2_sd835"),
        ("silver_4114", "xeon_silver_4114"),
        ("cortexA76cpu_tflite21", "pixel4_sd855"),
        ("titanxp", "titan_xp"),
    ],
)
def test_benchmark_names_lead_to_profiles(alias: str, name: str) -> None:
    assert load(alias).id == name


def test_published_numbers() -> None:
    assert load("rpi4b").peak("float32") == pytest.approx(4 * 1.5e9 * 8)
    assert load("rpi4b").bandwidth() == pytest.approx(5.56e9, rel=0.01)
    # The dense int8 rate doubled is the sparse rate that NVIDIA advertises for the GPU: 170 and 67 TOPS.
    assert 2 * load("jetson_agx_orin_64gb").peak("int8") == pytest.approx(170e12, rel=0.01)
    assert 2 * load("jetson_orin_nano_super").peak("int8") == pytest.approx(67e12, rel=0.01)
    assert load("a100_sxm_40gb").peak("float16") == pytest.approx(312e12, rel=0.01)


@pytest.mark.parametrize("name", DEVICES)
def test_profiles_survive_a_round_trip(name: str) -> None:
    profile = load(name)
    assert parse(profile.to_dict()) == profile


def test_tvm_accepts_every_target() -> None:
    target = pytest.importorskip("tvm.target", reason="TVM is not installed").Target
    for name in DEVICES:
        tvm_target = load(name).tvm_target
        assert tvm_target is not None, name
        assert target(dict(tvm_target)).kind.name == tvm_target["kind"]
