"""Networks to time: their random weights, and which ones a target is got to know with."""

from __future__ import annotations

import numpy as np

from nas.devices.networks import random_weights, reference_genomes
from search_spaces.slots import random_genomes
from search_spaces.toy import toy

SPACE = toy((1, 8, 8), 4, width=4, max_exits=2)


def test_random_weights_are_ordinary_and_depend_on_seed_and_name_alone() -> None:
    network = SPACE.decode(random_genomes(SPACE, 1, np.random.default_rng(0))[0])
    weights = random_weights(network, 1)
    assert set(weights) == set(network.weight_shapes)
    for name, weight in network.weight_shapes.items():
        values = weights[name]
        assert values.shape == weight.shape and values.dtype == np.float32
        assert (np.abs(values) > np.finfo(np.float32).tiny).all() and np.isfinite(values).all()
        assert weight.role not in ("variance", "scale") or (values > 0).all()
        assert np.array_equal(values, random_weights(network, 1)[name])
    assert not np.array_equal(random_weights(network, 2)[name], weights[name])


def test_networks_to_calibrate_with_are_different_and_more_begin_with_the_same() -> None:
    few, many = reference_genomes(SPACE, 4, 0), reference_genomes(SPACE, 9, 0)
    assert [genome.tolist() for genome in many[:4]] == [genome.tolist() for genome in few]
    assert len({SPACE.decode(genome).key for genome in many}) == 9
    assert few[0].tolist() == SPACE.canonical(np.zeros((1, len(SPACE.genes)), np.int64))[0].tolist()
    assert not all(np.array_equal(a, b) for a, b in zip(many, reference_genomes(SPACE, 9, 1), strict=True))
