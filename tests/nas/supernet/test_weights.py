"""Initial values, cutting, and files."""

import numpy as np
import pytest

from nas.nn.weights import (
    cut,
    extract,
    from_bytes,
    initialise,
    residual_norms,
    slot_networks,
    supernet_shapes,
    to_bytes,
)
from search_spaces.operators import Weight
from search_spaces.slots import SearchSpace, random_genomes


def test_shapes_cover_every_network(tiny: SearchSpace) -> None:
    shapes = supernet_shapes(tiny)
    seen: dict[str, tuple[int, ...]] = {}
    for genome in random_genomes(tiny, 200, np.random.default_rng(0)):
        for name, weight in tiny.decode(genome).weight_shapes.items():
            seen[name] = tuple(map(max, seen.get(name, weight.shape), weight.shape))
    assert seen == {name: weight.shape for name, weight in shapes.items()}


def test_initial_values_depend_on_name_and_seed_alone(tiny: SearchSpace) -> None:
    shapes = supernet_shapes(tiny)
    weights = initialise(shapes, 1)
    backwards = initialise(dict(reversed(shapes.items())), 1)
    assert all(np.array_equal(weights[name], backwards[name]) for name in shapes)
    one = next(name for name, weight in shapes.items() if weight.role == "kernel")
    assert np.array_equal(initialise({one: shapes[one]}, 1)[one], weights[one])
    assert not np.array_equal(initialise(shapes, 2)[one], weights[one])


@pytest.mark.parametrize(
    ("shape", "std"), [((64, 32, 3, 3), (2 / (9 * 64)) ** 0.5), ((512, 1, 5, 5), (2 / 25) ** 0.5), ((400, 30), 0.05)]
)
def test_initial_spread(shape: tuple[int, ...], std: float) -> None:
    values = initialise({"op/kernel": Weight(shape, "kernel")}, 0)["op/kernel"]
    assert values.dtype == np.float32 and abs(values.std() / std - 1) < 0.05 and abs(values.mean()) < 0.05 * std


def test_residual_norms_are_those_that_always_end_in_an_addition(tiny: SearchSpace) -> None:
    norms = residual_norms(slot_networks(tiny))
    assert norms == {"stage1.block1.project.bn"}
    weights = initialise(supernet_shapes(tiny), 0, norms)
    assert not weights["stage1.block1.project.bn/scale"].any() and weights["stage0.block0.project.bn/scale"].all()


def test_cut_takes_first_channels_and_the_centre_of_kernels() -> None:
    w = np.arange(4 * 3 * 5 * 5).reshape(4, 3, 5, 5)
    assert np.array_equal(cut(w, (2, 3, 3, 3)), w[:2, :, 1:4, 1:4])
    assert np.array_equal(cut(w, (4, 1, 5, 5)), w[:, :1])
    dense = np.arange(12).reshape(4, 3)
    assert np.array_equal(cut(dense, (2, 3)), dense[:2])


def test_extract_gives_exactly_a_networks_weights(tiny: SearchSpace) -> None:
    network = tiny.decode([0] * len(tiny.genes))
    weights = extract(network, initialise(supernet_shapes(tiny), 0))
    assert {name: value.shape for name, value in weights.items()} == {
        name: weight.shape for name, weight in network.weight_shapes.items()
    }


def test_file_round_trip_and_equal_bytes() -> None:
    arrays = {"b/kernel": np.arange(6, dtype=np.float32).reshape(2, 3).T, "a": np.array(7, np.int32)}
    metadata = {"step": 3, "name": "x"}
    data = to_bytes(arrays, metadata)
    assert data == to_bytes(dict(reversed(arrays.items())), dict(reversed(metadata.items())))
    back, found = from_bytes(data)
    assert found == metadata and back.keys() == arrays.keys()
    assert all(np.array_equal(back[k], v) and back[k].dtype == v.dtype for k, v in arrays.items())
