"""Measuring kernels one by one with the target's runtime: the entries of a look-up table.

A kernel alone is a network of one kernel, exported and called like any other; the call to the runtime, which a
network pays once and not for each of its kernels, is taken off as the time of the cheapest network there is: the least
that any block of it took, so that who had the core meanwhile makes no kernel faster than it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import numpy as np

from hardware_profiles import HOST, Target
from latency_models.kernels import KernelTable, distinct_of_space
from nas.devices.networks import random_weights
from nas.devices.timing.readings import remedy
from nas.errors import InputError
from nas.process.machine import measuring
from search_spaces.ir import Builder, Network
from search_spaces.slots import SearchSpace

#: Kernels that are loaded and measured together, in interleaved blocks.
_TOGETHER: Final = 50
#: What a kernel takes at least, seconds: a difference of two readings may come out as nothing.
LEAST_S: Final = 1e-7


def measure_table(
    space: SearchSpace, fusions: Sequence[str], target: Target, blocks: int = 3, block_s: float = 0.005
) -> KernelTable:
    """The look-up table of every kernel of a space; raises InputError for a target that is not this machine."""
    return KernelTable.build(
        distinct_of_space(space, fusions), partial(kernel_seconds, target=target, blocks=blocks, block_s=block_s)
    )


def kernel_seconds(networks: Sequence[Network], target: Target, blocks: int = 3, block_s: float = 0.005) -> list[float]:
    """Seconds of each one-kernel network beyond an empty call.

    Raises InputError for a target that is not this machine, or whose runner takes no ONNX models, and where the core is
    too busy for its times to be told.
    """
    from nas.deploy.onnx import to_onnx
    from nas.devices.runners.onnxruntime_runner import OnnxRuntime
    from nas.devices.timing.measuring import measure
    from nas.devices.timing.plan import Plan

    if target.device != HOST or target.runner != "onnxruntime":
        raise InputError(f"kernels of {target.key} cannot be measured here: that takes {HOST!r} with onnxruntime")
    runner = OnnxRuntime(target)
    plan = Plan(blocks=blocks, block_s=block_s, warm_up_s=block_s, threads=target.threads)
    found: list[float] = []
    empty_s = math.inf
    for start in range(0, len(networks), _TOGETHER):
        calls: dict[str, Any] = {}
        for number, network in enumerate((_empty(), *networks[start : start + _TOGETHER])):
            program = runner.load_bytes(to_onnx(network, random_weights(network, 0), batch=target.batch))
            rng = np.random.default_rng(0)
            inputs = [rng.standard_normal((target.batch, *op.shape)).astype(np.float32) for op in network.inputs]
            calls[str(number)] = partial(program, *inputs)
        with measuring():
            readings = measure(calls, plan)
        if refused := next((reading.refused for reading in readings.values() if reading.refused), ""):
            raise InputError(f"kernels of {target.key} cannot be measured: {refused}; {remedy(refused)} and try again")
        empty_s = min(empty_s, float(readings.pop("0").blocks_s.min()))
        found += [reading.value_s for reading in readings.values()]
    return [max(seconds - empty_s, LEAST_S) for seconds in found]


def _empty() -> Network:
    """One activation of eight numbers."""
    b = Builder()
    return b.network(b("relu", "relu", b.input("x", (8,))))
