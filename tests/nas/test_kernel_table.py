"""Kernels measured alone with ONNX Runtime: that there is one positive reading for each, not how long they take."""

import numpy as np
import pytest

from hardware_profiles import Target, load
from latency_models.kernels import distinct_of_space
from latency_models.lookup import LookUp
from nas.devices.kernel_table import LEAST_S, kernel_seconds, measure_table
from nas.errors import InputError
from search_spaces.ir import Builder
from search_spaces.slots import random_genomes
from search_spaces.toy import toy

SPACE = toy((1, 8, 8), 10)
TARGET = Target("host", "onnxruntime")
FUSIONS = load("rpi4b").fusions


def test_every_kernel_of_a_space_is_measured_and_prices_its_networks() -> None:
    table = measure_table(SPACE, FUSIONS, TARGET, blocks=1, block_s=1e-4)
    assert set(table.seconds) == set(distinct_of_space(SPACE, FUSIONS))
    assert min(table.seconds.values()) >= LEAST_S
    model = LookUp.of_table(load("rpi4b"), TARGET, table)
    networks = [SPACE.decode(genome) for genome in random_genomes(SPACE, 8, np.random.default_rng(0))]
    assert (model.predict(networks).total_s > 0).all()


def test_a_kernel_may_read_two_tensors() -> None:
    b = Builder()
    x = b.input("x", (4, 8, 8))
    gated = b.network(b("mul", "scale", x, b.input("gate", (4, 1, 1))))
    assert len(kernel_seconds([gated], TARGET, blocks=1, block_s=1e-4)) == 1


@pytest.mark.parametrize("target", [Target("rpi4b", "onnxruntime"), Target("host", "tvm")])
def test_what_is_not_here_is_not_measured(target: Target) -> None:
    with pytest.raises(InputError, match="cannot be measured here"):
        measure_table(SPACE, FUSIONS, target)
