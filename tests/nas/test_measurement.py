from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from hardware_profiles import Target
from nas.devices.conditions import Conditions
from nas.devices.measurement import ExitTime, Measurement, random_weights, reference_genomes, time_networks
from nas.errors import InputError
from nas.process.files import to_line
from nas.tolerances import REFERENCE_DRIFT
from search_spaces.slots import random_genomes, with_exits
from search_spaces.toy import toy

HERE = Target("host", "onnxruntime")
SPACE = toy((1, 8, 8), 4, width=4, max_exits=2)
ROW = Measurement(
    "winner",
    HERE.key,
    (1, 2, 3),
    "key",
    (ExitTime(1e-5, 2e-5), ExitTime(3e-5, 4e-5, contended=True)),
    (1.1e-5, 3.2e-5),
    (1e-6, 2e-6),
    ("worst",),
    "worst",
    reference_s=5e-6,
    conditions=Conditions("onnxruntime 1", 1, "performance", (1e9, 2e9), 41.5, 0.25, {"numpy": "2"}),
)


@pytest.mark.parametrize(
    "row",
    [
        ROW,
        replace(ROW, predicted_s=None, predicted_std_s=None, broken=(), budget=""),
        replace(ROW, exits=(ExitTime(1e-5, np.inf),)),  # too few blocks for a bound
        replace(ROW, exits=(ExitTime(1e-5, 2e-5, True, (1e-5,), (9e-6,), 3, 0.2, True),)),
        replace(ROW, exits=(ExitTime(1e-5, np.inf, True, refused="the core was busy"),)),
        replace(ROW, stream=ExitTime(1e-5, np.inf, True, refused="the core was busy")),
    ],
)
def test_a_measurement_survives_its_line(row: Measurement) -> None:
    assert Measurement.from_dict(json.loads(to_line(row.to_dict()))) == row


def test_a_line_of_an_older_run_is_read() -> None:
    record = json.loads(to_line(ROW.to_dict()))
    del record["broken"], record["budget"], record["reference_s"], record["conditions"]
    for entry in record["exits"]:
        del entry["drift"], entry["drifted"], entry["refused"]
    found = Measurement.from_dict(record)
    assert found == replace(ROW, broken=(), budget="", reference_s=None, conditions=None) and not found.drifted
    assert found.refused == ""


def test_a_line_of_another_schema_is_refused() -> None:
    with pytest.raises(InputError, match="a measurement of schema 2; this version reads 1"):
        Measurement.from_dict({**ROW.to_dict(), "schema": 2})


def test_the_worst_case_is_the_last_exit() -> None:
    assert ROW.reach_s.tolist() == [1e-5, 3e-5] and ROW.worst_upper_s == 4e-5


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


def test_networks_are_timed_to_each_of_their_exits() -> None:
    genomes = [with_exits(SPACE, genome, on) for genome in random_genomes(SPACE, 1, np.random.default_rng(1))
               for on in ((), (0,), (0, 1))]  # fmt: skip
    rows = time_networks(SPACE, genomes, HERE, "calibration", seed=0, blocks=3, block_s=1e-3)
    assert [len(row.exits) for row in rows] == [len(SPACE.decode(genome).exits) for genome in genomes]
    for row, genome in zip(rows, genomes, strict=True):
        assert row.genome == tuple(genome) and row.key == SPACE.decode(genome).key
        assert (row.purpose, row.target, row.broken) == ("calibration", HERE.key, ())
        assert all(0 < exit_.median_s <= exit_.upper_95_s < np.inf for exit_ in row.exits)


def test_a_batch_is_timed_as_one_call() -> None:
    genome = random_genomes(SPACE, 1, np.random.default_rng(2))[0]
    (row,) = time_networks(SPACE, [genome], replace(HERE, batch=3), "candidate", 0, 3, 1e-3)
    assert row.target == "host-onnxruntime-t1-b3-float32" and row.reach_s[-1] > 0


def test_what_is_measured_is_watched_and_says_under_what_conditions() -> None:
    genome = random_genomes(SPACE, 1, np.random.default_rng(3))[0]
    (row,) = time_networks(SPACE, [genome], replace(HERE, device="bench"), "calibration", 0, 3, 1e-3, True)
    assert row.target == "bench-onnxruntime-t1-b1-float32"
    assert row.reference_s is None or 0 < row.reference_s < 1
    assert row.conditions is not None and row.conditions.runtime.startswith("onnxruntime ")
    assert all(exit_.drift >= 0 for exit_ in row.exits)
    assert row.drifted == any(exit_.drift > REFERENCE_DRIFT for exit_ in row.exits)


def test_networks_to_calibrate_with_are_different_and_more_begin_with_the_same() -> None:
    few, many = reference_genomes(SPACE, 4, 0), reference_genomes(SPACE, 9, 0)
    assert [genome.tolist() for genome in many[:4]] == [genome.tolist() for genome in few]
    assert len({SPACE.decode(genome).key for genome in many}) == 9
    assert few[0].tolist() == SPACE.canonical(np.zeros((1, len(SPACE.genes)), np.int64))[0].tolist()
    assert not all(np.array_equal(a, b) for a, b in zip(many, reference_genomes(SPACE, 9, 1), strict=True))


def test_what_is_not_here_is_not_timed() -> None:
    with pytest.raises(InputError, match="rpi4b-onnxruntime-t1-b1-float32 cannot be measured here"):
        time_networks(SPACE, [], Target("rpi4b", "onnxruntime"), "calibration", 0)
