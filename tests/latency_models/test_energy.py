"""Estimates of energy and memory against sums done by hand."""

from dataclasses import replace

import numpy as np
import pytest

from hardware_profiles import Target, load
from latency_models.energy import call_energy_j, energy, peak_memory_bytes
from latency_models.roofline import Roofline
from search_spaces.ir import Builder
from search_spaces.mobile import conv_bn, mobile
from search_spaces.slots import random_genomes

PROFILE, TARGET = load("rpi4b"), Target("rpi4b", "onnxruntime", threads=4)
SPACE = mobile((3, 32, 32), 10)
NETWORKS = [SPACE.decode(genome) for genome in random_genomes(SPACE, 12, np.random.default_rng(0))]
SECONDS = Roofline(PROFILE, TARGET).predict(NETWORKS)


def test_energy_of_one_convolution_by_hand() -> None:
    b = Builder()
    network = b.network(b("conv", "a", b.input("image", (32, 28, 28)), filters=64, kernel=1, padding=0))
    target = replace(TARGET, batch=2)
    seconds = Roofline(PROFILE, target).predict([network])
    flops, bytes_ = 2 * 2 * 28 * 28 * 32 * 64, 4 * (2 * 28 * 28 * (32 + 64) + 32 * 64)
    above = 7.5 - 2.7
    wanted = 2.7 * seconds.total_s[0] + 0.6 * above * flops / 48e9 + 0.4 * above * bytes_ / (12.8e9 * 0.434)
    found = energy(PROFILE, target, [network], seconds)
    assert found.total_j[0] == pytest.approx(wanted, rel=1e-12)
    assert found.idle_j[0, 0] == pytest.approx(2.7 * seconds.total_s[0])


def test_energy_is_at_least_idle_and_grows_with_every_exit() -> None:
    found = energy(PROFILE, TARGET, NETWORKS, SECONDS)
    there = np.isfinite(SECONDS.segment_s)
    assert (np.isfinite(found.segment_j) == there).all()
    assert (found.segment_j[there] > found.idle_j[there]).all()
    rates = np.where(there, 1.0, 0.0) / there.sum(axis=1, keepdims=True)
    first = np.zeros_like(rates)
    first[:, 0] = 1
    np.testing.assert_allclose(found.expected_j(first), found.segment_j[:, 0])
    several = there.sum(axis=1) > 1
    assert several.any() and (found.expected_j(rates) < found.total_j)[several].all()


def test_a_call_takes_the_energy_of_its_segments() -> None:
    whole = energy(PROFILE, TARGET, NETWORKS, SECONDS)
    for row, network in enumerate(NETWORKS):
        count = len(network.exits)
        reach = SECONDS.cumulative_s()[row, :count]
        assert call_energy_j(PROFILE, TARGET, network, reach) == pytest.approx(whole.total_j[row])
        first = np.eye(count)[0]
        assert call_energy_j(PROFILE, TARGET, network, reach, first) == pytest.approx(whole.segment_j[row, 0])
        # Nothing takes time or idle energy twice where a later exit was read as the faster one.
        swapped = call_energy_j(PROFILE, TARGET, network, reach[::-1])
        assert swapped == pytest.approx(call_energy_j(PROFILE, TARGET, network, np.full(count, reach.max())))


def test_a_profile_without_power_has_no_estimate() -> None:
    for missing, profile in (("idle_w", replace(PROFILE, idle_w=None)), ("tdp_w", replace(PROFILE, tdp_w=None))):
        with pytest.raises(ValueError, match=f"device 'rpi4b' has no {missing}"):
            energy(profile, TARGET, NETWORKS, SECONDS)
    with pytest.raises(ValueError, match="1 networks, but seconds of 12"):
        energy(PROFILE, TARGET, NETWORKS[:1], SECONDS)


def test_memory_is_activations_for_the_batch_and_folded_weights() -> None:
    b = Builder()
    network = b.network(conv_bn(b, "a", b.input("image", (3, 8, 8)), 4, 3, "relu"))
    weights = 4 * (4 * 3 * 9 + 4)
    one, four = (peak_memory_bytes(network, replace(TARGET, batch=batch)) for batch in (1, 4))
    assert one == network.peak_memory + weights and four == 4 * network.peak_memory + weights
    assert peak_memory_bytes(network, Target("rpi4b", "onnxruntime", dtype="int8")) == one / 4
