"""Networks drawn from the search spaces: JAX, ONNX Runtime whole and ONNX Runtime exit by exit are one network."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest

from hardware_profiles import Target
from nas.deploy.artefact import Artefact
from nas.deploy.onnx import export_segments, to_onnx
from nas.deploy.parity import compare_exits
from nas.devices.runners.base import load_cascade
from nas.devices.runners.onnxruntime_runner import OnnxRuntime
from nas.nn.interpreter import Arrays, apply, split
from search_spaces.ir import Network
from search_spaces.mobile import mobile
from search_spaces.slots import random_genomes
from search_spaces.toy import toy
from tests.nas.deploy.small_networks import random_inputs, random_weights

SPACES = {"mobile": mobile((3, 32, 32), 10), "toy": toy((1, 8, 8), 4, max_exits=2)}
BATCH = 4


def answers(network: Network, params: Arrays, stats: Arrays, inputs: Arrays) -> tuple[jax.Array, ...]:
    return apply(network, params, stats, inputs).outputs


@pytest.mark.parametrize("name", SPACES)
def test_all_runtimes_agree_on_every_exit(name: str, tmp_path: Path) -> None:
    space = SPACES[name]
    runner = OnnxRuntime(Target("host", "onnxruntime", batch=BATCH))
    exits = set()
    smallest = np.zeros((1, len(space.genes)), np.int64)
    genomes = np.concatenate([space.canonical(smallest), random_genomes(space, 1, np.random.default_rng(5))])
    for seed, genome in enumerate(genomes):
        network = space.decode(tuple(genome))
        weights, inputs = random_weights(network, seed, gain=0.5), random_inputs(network, BATCH, seed)
        in_jax = jax.jit(partial(answers, network))(*split(network, weights), inputs)
        segments = export_segments(network, weights, tmp_path / str(seed), BATCH)
        cascade = load_cascade(runner, Artefact(tmp_path / str(seed), segments))
        parity = compare_exits(
            {
                "jax": [np.asarray(output) for output in in_jax],
                "whole": runner.load_bytes(to_onnx(network, weights, batch=BATCH))(*inputs.values()),
                "segments": cascade.run_all(*inputs.values()),
            }
        )
        for runtime, results in parity.items():
            assert all(result.same for result in results), (runtime, genome, results)
        exits.add(len(network.exits))
    assert len(exits) > 1
