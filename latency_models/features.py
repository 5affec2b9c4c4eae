"""One matrix that both the roofline and its calibration read: what a network asks of a machine, segment by segment.

Roofline: Williams, Waterman, Patterson, CACM 2009. A kernel takes the longer of its arithmetic at a share of the peak
and its traffic at the bandwidth; traffic is compulsory (inputs, weights and outputs once). On its own this ranks
networks worse than FLOPs do; as features with a factor per class and an overhead per kernel, fitted on ten measured
networks, it ranks them well. So the numbers here are starting points for a fit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hardware_profiles import DeviceProfile, Target
from latency_models.base import Floats
from latency_models.errors import UnpricedOperator
from search_spaces.ir import DTYPE_BYTES, Network
from search_spaces.operators import VIEWS
from search_spaces.passes import OP_CLASSES, fuse, op_class

#: Share of the peak that a tuned kernel of each class reaches; estimates, replaced by calibration.
EFFICIENCY: Final[Mapping[str, Mapping[str, float]]] = {
    "cpu": {
        "conv": 0.6, "pointwise": 0.6, "depthwise": 0.25, "dense": 0.4, "matmul": 0.5,
        "pool": 0.1, "elementwise": 0.1, "normalisation": 0.1, "softmax": 0.05, "copy": 0.1,
    },
    "gpu": {
        "conv": 0.4, "pointwise": 0.3, "depthwise": 0.05, "dense": 0.3, "matmul": 0.4,
        "pool": 0.05, "elementwise": 0.05, "normalisation": 0.05, "softmax": 0.02, "copy": 0.05,
    },
}  # fmt: skip
#: What the generated code of TVM reaches relative to that once tuned; untuned it is some twenty times slower.
RUNNER_EFFICIENCY: Final[Mapping[str, float]] = {"onnxruntime": 1.0, "tvm": 0.75}
#: Seconds of a call to a runtime and of a decision on its answer, on a 3 GHz core; estimates.
CALL_S: Final = 10e-6
DECISION_S: Final = 10e-6
_CALL_CLOCK_HZ: Final = 3e9
#: A call that has to wait for an accelerator takes longer than one on the CPU; estimate.
_ACCELERATOR_CALL_FACTOR: Final = 3.0

CALLS: Final = "calls"
DECISIONS: Final = "decisions"
KERNELS: Final = "kernels"


@dataclass(frozen=True, slots=True)
class Machine:
    """All that turns a network into features: a profile seen through a target.

    `flops_per_s` holds the attainable arithmetic rate of each class of `OP_CLASSES`; `bytes_factor` is the size of an
    element at the target's dtype relative to the network's float32.
    """

    flops_per_s: tuple[float, ...]
    bytes_per_s: float
    launch_s: float
    call_s: float
    decision_s: float
    fusions: tuple[str, ...]
    batch: int
    bytes_factor: float


def machine(
    profile: DeviceProfile, target: Target, call_s: float | None = None, decision_s: float | None = None
) -> Machine:
    """The machine of a profile under a target; `call_s` and `decision_s` replace the estimates.

    Raises ProfileError where the profile has no peak for the target's dtype.
    """
    efficiency = EFFICIENCY["cpu" if profile.kind == "cpu" else "gpu"]
    peak = profile.peak(target.dtype, target.threads) * RUNNER_EFFICIENCY[target.runner]
    factor = _ACCELERATOR_CALL_FACTOR
    if profile.kind == "cpu":
        factor = max(1.0, _CALL_CLOCK_HZ / profile.clock_hz.value) if profile.clock_hz else 1.0
    return Machine(
        flops_per_s=tuple(efficiency[name] * peak for name in OP_CLASSES),
        bytes_per_s=profile.bandwidth(target.threads),
        launch_s=profile.launch_overhead_s.value,
        call_s=CALL_S * factor if call_s is None else call_s,
        decision_s=DECISION_S * factor if decision_s is None else decision_s,
        fusions=profile.fusions,
        batch=target.batch,
        bytes_factor=DTYPE_BYTES[target.dtype] / DTYPE_BYTES["float32"],
    )


@dataclass(frozen=True, eq=False)
class Counts:
    """What the kernels of a network do for one sample, an entry for each; `segment` says in which segment it runs."""

    segment: NDArray[np.intp]
    op_class: NDArray[np.intp]
    flops: Floats
    macs: Floats
    activation_bytes: Floats
    weight_bytes: Floats
    exits: int


def counts(network: Network, fusions: tuple[str, ...], model: str, target: Target) -> Counts:
    """Fuse the network as the runtime does and count, kernel by kernel.

    Raises UnpricedOperator, naming `model` and `target`, for an operator without a class.
    """
    for op in network.ops:
        if op.kind not in VIEWS:
            try:
                op_class(network, op)
            except KeyError:
                raise UnpricedOperator(op.name, op.kind, model, target) from None
    kernels = fuse(network, frozenset(fusions))
    segment_of = _segments(network)
    return Counts(
        segment=np.array([segment_of[kernel.ops[-1]] for kernel in kernels], np.intp),
        op_class=np.array([OP_CLASSES.index(kernel.op_class) for kernel in kernels], np.intp),
        flops=np.array([kernel.flops for kernel in kernels], np.float64),
        macs=np.array([kernel.macs for kernel in kernels], np.float64),
        activation_bytes=np.array([kernel.input_bytes + kernel.output_bytes for kernel in kernels], np.float64),
        weight_bytes=np.array([kernel.weight_bytes for kernel in kernels], np.float64),
        exits=len(network.exits),
    )


def _segments(network: Network) -> dict[str, int]:
    """The segment in which each operator runs: that of the first exit which needs it."""
    owner: dict[int, int] = {}
    for number, exit_ in enumerate(network.exits):
        waiting = [exit_]
        while waiting:
            index = waiting.pop()
            if index not in owner:
                owner[index] = number
                waiting.extend(source for source, _ in network.ops[index].inputs)
    return {network.ops[index].name: number for index, number in owner.items()}


@dataclass(frozen=True, eq=False)
class Prior:
    """What is believed of the coefficients before measuring: mean and standard deviation of each.

    Coefficients that share a number in `factor` are believed to be wrong by a common factor (a device three times
    slower than its sheet is so for most kernels); -1 marks those that are not.
    """

    mean: Floats
    std: Floats
    factor: NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """The columns of a linear latency model: models differ in these alone.

    `matrix` gives the features of each segment [exits, columns], `prior` the uncalibrated coefficients; seconds are
    the product of the two. Columns `CALLS` and `DECISIONS` count what belongs to segments and not to operators.
    """

    columns: tuple[str, ...]
    matrix: Callable[[Counts, Machine], Floats]
    prior: Callable[[Machine], Prior]


_ROOFLINE: Final = (*OP_CLASSES, KERNELS, CALLS, DECISIONS)
_FLOPS: Final = ("macs", CALLS)
#: A coefficient that the profile puts at nothing may still turn out this large; seconds.
_LEAST_STD_S: Final = 1e-6


def _roofline_matrix(count: Counts, on: Machine) -> Floats:
    """Roofline seconds of each op class, numbers of kernels, of calls and of decisions."""
    arithmetic_s = count.flops * on.batch / np.array(on.flops_per_s)[count.op_class]
    traffic = (count.activation_bytes * on.batch + count.weight_bytes) * on.bytes_factor
    rows = np.zeros((count.exits, len(_ROOFLINE)))
    classes = len(OP_CLASSES)
    cell = count.segment * classes + count.op_class
    kernel_s = np.maximum(arithmetic_s, traffic / on.bytes_per_s)
    rows[:, :classes] = np.bincount(cell, kernel_s, count.exits * classes).reshape(count.exits, classes)
    rows[:, _ROOFLINE.index(KERNELS)] = np.bincount(count.segment, minlength=count.exits)
    rows[:, _ROOFLINE.index(CALLS)] = 1.0
    rows[:-1, _ROOFLINE.index(DECISIONS)] = 1.0
    return rows


def _roofline_prior(on: Machine) -> Prior:
    overheads = np.array([on.launch_s, on.call_s, on.decision_s])
    classes = np.ones(len(OP_CLASSES))
    return Prior(
        mean=np.concatenate([classes, overheads]),
        std=np.concatenate([classes, np.maximum(np.array([5.0, 2.0, 2.0]) * overheads, _LEAST_STD_S)]),
        factor=np.array([0] * len(OP_CLASSES) + [1, -1, -1], np.intp),
    )


def _flops_matrix(count: Counts, on: Machine) -> Floats:
    """Multiply-adds and calls."""
    rows = np.zeros((count.exits, len(_FLOPS)))
    rows[:, _FLOPS.index("macs")] = np.bincount(count.segment, count.macs * on.batch, count.exits)
    rows[:, _FLOPS.index(CALLS)] = 1.0
    return rows


def _flops_prior(on: Machine) -> Prior:
    mean = np.array([2.0 / on.flops_per_s[OP_CLASSES.index("conv")], on.call_s])
    return Prior(mean, np.array([mean[0], max(10.0 * mean[1], _LEAST_STD_S)]), np.array([0, -1], np.intp))


FEATURES: Final[Mapping[str, FeatureSet]] = {
    "roofline": FeatureSet(_ROOFLINE, _roofline_matrix, _roofline_prior),
    "flops": FeatureSet(_FLOPS, _flops_matrix, _flops_prior),
}
