"""Tables against the IR: equal to rounding for every quantity, space and model."""

import gc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware_profiles import Target, load
from latency_models import UnpricedOperator, additive
from latency_models.flops import Flops
from latency_models.roofline import Roofline
from search_spaces.mobile import mobile
from search_spaces.operators import OPERATORS, Operator
from search_spaces.slots import random_genomes, sizes
from search_spaces.staged import StagedSpace
from search_spaces.toy import toy

TARGET = Target("rpi4b", "onnxruntime", threads=4, batch=2)
SPACES: dict[str, StagedSpace] = {
    "toy": toy((3, 16, 16), 10),
    "mobile-8x8": mobile((1, 8, 8), 10),
    "mobile-32x32": mobile((3, 32, 32), 100, max_exits=2),
}
MODELS = {
    "roofline": Roofline(load("rpi4b"), TARGET),
    "roofline, nothing fused": Roofline(replace(load("rpi4b"), fusions=()), TARGET),
    "flops": Flops(load("rpi4b"), TARGET),
}
COMPILED = {(s, m): additive.compile(space, model) for s, space in SPACES.items() for m, model in MODELS.items()}


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_tables_equal_the_model(name: str, model: str, seed: int) -> None:
    space, compiled = SPACES[name], COMPILED[name, model]
    genomes = random_genomes(space, 4, np.random.default_rng(seed))
    networks = [space.decode(genome) for genome in genomes]
    prediction = MODELS[model].predict(networks)
    np.testing.assert_allclose(compiled.latency_s(genomes), prediction.total_s, rtol=1e-9)
    reach = compiled.cumulative_s(genomes)
    exits = [slot for slot in space.slots if slot.role != "body"]
    assert reach.shape == (len(genomes), len(exits)) and exits[-1].role == "final"
    for row, (network, expected) in enumerate(zip(networks, prediction.cumulative_s(), strict=True)):
        there = np.isfinite(reach[row])
        assert there.sum() == len(network.exits) and there[-1]
        np.testing.assert_allclose(reach[row][there], expected[: there.sum()], rtol=1e-9)
        # A position is on exactly where the network has an operator of that exit.
        for slot, on in zip(exits, there, strict=True):
            assert on == any(op.name.startswith(f"{slot.name}.") for op in network.ops)


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("quantity", additive.QUANTITIES)
def test_static_counts_equal_the_network(name: str, quantity: additive.Quantity) -> None:
    space = SPACES[name]
    genomes = random_genomes(space, 12, np.random.default_rng(5))
    tables = COMPILED[name, "roofline"].tables(quantity)
    networks = [space.decode(genome) for genome in genomes]
    assert tables.total(genomes).tolist() == [getattr(network, quantity) for network in networks]
    for row, network in zip(tables.cumulative(genomes), networks, strict=True):
        expected = [getattr(network.cumulative(k), quantity) for k in range(len(network.exits))]
        assert row[np.isfinite(row)].tolist() == expected


def test_many_genomes_are_scored_like_each_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    space, compiled = SPACES["mobile-8x8"], COMPILED["mobile-8x8", "roofline"]
    genomes = random_genomes(space, 100, np.random.default_rng(0))
    score, reach, hashes = compiled.latency_s(genomes), compiled.cumulative_s(genomes), additive.row_hash(genomes)
    monkeypatch.setattr(additive, "_CHUNK", 7)
    monkeypatch.setattr(additive, "_THREADS", 2)
    np.testing.assert_array_equal(compiled.latency_s(genomes), score)
    np.testing.assert_array_equal(compiled.cumulative_s(genomes), reach)
    np.testing.assert_array_equal(additive.row_hash(genomes), hashes)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_the_type_and_order_of_genomes_do_not_matter(dtype: Any) -> None:
    space, compiled = SPACES["mobile-32x32"], COMPILED["mobile-32x32", "roofline"]
    genomes = random_genomes(space, 50, np.random.default_rng(0))
    other = np.asfortranarray(genomes.astype(dtype))
    np.testing.assert_array_equal(compiled.latency_s(other), compiled.latency_s(genomes))
    np.testing.assert_array_equal(additive.row_hash(other), additive.row_hash(genomes))


def test_no_genomes_are_no_error() -> None:
    compiled = COMPILED["toy", "roofline"]
    none = np.zeros((0, len(SPACES["toy"].genes)), np.int64)
    assert compiled.latency_s(none).shape == (0,) and len(additive.unique(none)) == 0


def test_unique_agrees_with_numpy() -> None:
    space = SPACES["toy"]
    genomes = space.canonical(np.random.default_rng(0).integers(0, sizes(space), (5000, len(space.genes))))
    found = additive.unique(genomes)
    assert (np.diff(found) > 0).all()
    expected = np.sort(np.unique(genomes, axis=0, return_index=True)[1])
    np.testing.assert_array_equal(found, expected)


def test_hashes_of_a_large_space_do_not_collide() -> None:
    space = SPACES["mobile-32x32"]
    genomes = random_genomes(space, 100_000, np.random.default_rng(0)).astype(np.uint8)
    assert len(additive.unique(genomes)) == len(np.unique(genomes, axis=0))


def test_values_beyond_a_byte_are_kept_apart() -> None:
    genomes = np.array([[1, 0], [257, 0], [1, 0]])
    assert additive.unique(genomes).tolist() == [0, 1]


def test_an_unknown_operator_is_not_compiled_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPERATORS, "fourier", Operator(1, lambda inputs, attrs: inputs[0]))
    space = SPACES["toy"]
    slot = replace(space.slots[0], build=lambda b, refs, values: b("fourier", "stem.fourier", refs[0]))

    class Changed:
        name, genes, slots = space.name, space.genes, (slot, *space.slots[1:])
        input_shape, classes, canonical, decode = space.input_shape, space.classes, space.canonical, space.decode

    with pytest.raises(UnpricedOperator, match=r"stem\.fourier"):
        additive.compile(Changed(), MODELS["roofline"])


def test_an_exit_that_skips_a_slot_is_refused() -> None:
    space = SPACES["toy"]
    stem = space.slots[0]
    side = replace(stem, name="side", build=lambda b, refs, values: b("relu", "side.relu", refs[0]))

    class Forked:
        name, genes, slots = space.name, space.genes, (stem, side, *space.slots[1:])
        input_shape, classes, canonical, decode = space.input_shape, space.classes, space.canonical, space.decode

    assert MODELS["roofline"].additive(Forked()) is None and MODELS["roofline"].additive(space) is not None
    with pytest.raises(ValueError, match="'exit0' of space 'toy' does not read 'side'"):
        additive.compile(Forked(), MODELS["roofline"])


def test_the_networks_of_a_space_are_made_once_and_go_with_it() -> None:
    space = toy((3, 16, 16), 7)
    first, second = (additive.compile(space, MODELS["roofline"]) for _ in range(2))
    assert len(additive._networks(space)) == len(space.slots) and id(space) in additive._NETWORKS
    genomes = random_genomes(space, 20, np.random.default_rng(0))
    assert (first.latency_s(genomes) == second.latency_s(genomes)).all()
    gone = id(space)
    del space, first, second
    gc.collect()
    assert gone not in additive._NETWORKS
