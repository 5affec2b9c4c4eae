"""This machine as a device: what it times, and what it does not take for itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from hardware_profiles import Target, host, load
from nas.devices.local import InProcess, local_device
from nas.devices.measurement import Measurement, Purpose
from nas.devices.networks import Untrained, time_networks
from nas.devices.runners import builder_for
from nas.tolerances import REFERENCE_DRIFT
from search_spaces.slots import random_genomes, with_exits
from search_spaces.toy import toy

HERE = Target("host", "onnxruntime")
SPACE = toy((1, 8, 8), 4, width=4, max_exits=2)


def timed(target: Target, genomes: Sequence[Any], purpose: Purpose) -> tuple[Measurement, ...]:
    untrained = Untrained(SPACE, builder_for(target, load("host")), 0)
    return time_networks(InProcess(target), untrained, genomes, purpose, 3, 1e-3)


def test_networks_are_timed_to_each_of_their_exits() -> None:
    genomes = [with_exits(SPACE, genome, on) for genome in random_genomes(SPACE, 1, np.random.default_rng(1))
               for on in ((), (0,), (0, 1))]  # fmt: skip
    rows = timed(HERE, genomes, "calibration")
    assert [len(row.exits) for row in rows] == [len(SPACE.decode(genome).exits) for genome in genomes]
    for row, genome in zip(rows, genomes, strict=True):
        assert row.genome == tuple(genome) and row.key == SPACE.decode(genome).key
        assert (row.purpose, row.target, row.broken) == ("calibration", HERE.key, ())
        assert all(0 < exit_.median_s <= exit_.upper_95_s < np.inf for exit_ in row.exits)


def test_a_batch_is_timed_as_one_call() -> None:
    genome = random_genomes(SPACE, 1, np.random.default_rng(2))[0]
    (row,) = timed(replace(HERE, batch=3), [genome], "candidate")
    assert row.target == "host-onnxruntime-t1-b3-float32" and row.cumulative_s[-1] > 0


def test_what_is_measured_is_watched_and_says_under_what_conditions() -> None:
    genome = random_genomes(SPACE, 1, np.random.default_rng(3))[0]
    (row,) = timed(replace(HERE, device="bench"), [genome], "calibration")
    assert row.target == "bench-onnxruntime-t1-b1-float32"
    assert row.reference_s is None or 0 < row.reference_s < 1
    assert row.conditions is not None and row.conditions.runtime.startswith("onnxruntime ")
    assert all(exit_.drift >= 0 for exit_ in row.exits)
    assert row.drifted == any(exit_.drift > REFERENCE_DRIFT for exit_ in row.exits)


def test_what_is_not_here_is_not_timed() -> None:
    assert local_device(Target("rpi4b", "onnxruntime"), load("rpi4b")) is None


def test_this_machine_is_here_by_either_name() -> None:
    profiled = replace(load("rpi4b"), id="bench", machine=host.identity())
    for name, profile in (("host", load("host")), ("bench", profiled)):
        target = replace(HERE, device=name)
        device = local_device(target, profile)
        assert isinstance(device, InProcess) and device.target == target


def test_a_genome_that_is_asked_for_twice_has_two_rows() -> None:
    genome = random_genomes(SPACE, 1, np.random.default_rng(4))[0]
    rows = timed(HERE, [genome, genome], "calibration")
    assert len(rows) == 2 and rows[0].exits == rows[1].exits
