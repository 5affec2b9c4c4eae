"""One matrix that both the roofline and its calibration read: what a network asks of a machine, segment by segment.

Roofline: Williams, Waterman, Patterson, CACM 2009. A kernel takes the longer of its arithmetic at a share of the peak
and its traffic at the bandwidth; traffic is compulsory (inputs, weights and outputs once). On its own this ranks
networks worse than FLOPs do; as features with a factor per class and an overhead per kernel, fitted on ten measured
networks, it ranks them well. So the numbers here are starting points for a fit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hardware_profiles import DeviceProfile, Target
from latency_models.base import Floats
from latency_models.counts import Counts, counts
from search_spaces.op import DTYPE_BYTES
from search_spaces.passes import OP_CLASSES

__all__ = [
    "CALLS", "CALL_S", "DECISIONS", "DECISION_S", "EFFICIENCY", "FEATURES", "KERNELS", "REORDERED", "REORDERS",
    "RUNNER_EFFICIENCY", "UNHIDDEN", "Counts", "FeatureSet", "Machine", "Prior", "counts", "is_arm", "machine",
]  # fmt: skip

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
#: What the generated code of TVM reaches relative to that; where it was measured, on one processor, it reached more.
RUNNER_EFFICIENCY: Final[Mapping[str, float]] = {"onnxruntime": 1.0, "tvm": 0.75}
#: What is assumed of a runtime that nothing is known of, before it is measured.
_OF_OTHERS: Final = 1.0
#: Seconds of a call to a runtime and of a decision on its answer, on a 3 GHz core; estimates.
CALL_S: Final = 10e-6
DECISION_S: Final = 10e-6
_CALL_CLOCK_HZ: Final = 3e9
_ARM: Final = re.compile("aarch64|arm")
#: LLVM's names of processors with AVX-512.
_AVX512: Final = frozenset(
    {"x86-64-v4", "skylake-avx512", "cascadelake", "cooperlake", "icelake-server", "sapphirerapids", "znver4", "znver5"}
)
#: A call that has to wait for an accelerator takes longer than one on the CPU; estimate.
_ACCELERATOR_CALL_FACTOR: Final = 3.0

CALLS: Final = "calls"
DECISIONS: Final = "decisions"
KERNELS: Final = "kernels"
#: What arithmetic does not hide of traffic, or the other way round: nothing on the roofline, all of it without overlap.
UNHIDDEN: Final = "unhidden"
#: Changes between plain and blocked layout: how many, and the roofline seconds of copying what they convert.
REORDERS: Final = "reorders"
REORDERED: Final = "reordered"


@dataclass(frozen=True, slots=True)
class Machine:
    """All that turns a network into features: a profile seen through a target.

    `flops_per_s` holds the attainable arithmetic rate of each class of `OP_CLASSES`; `bytes_factor` is the size of an
    element at the target's dtype relative to the network's float32. `channel_block` is the number of channels in a
    block where the runtime keeps images in blocks, else 1; `refined` says that what calibrations before schema 2 did
    not count is counted.
    """

    flops_per_s: tuple[float, ...]
    bytes_per_s: float
    launch_s: float
    call_s: float
    decision_s: float
    fusions: tuple[str, ...]
    batch: int
    bytes_factor: float
    channel_block: int = 1
    refined: bool = False


def machine(
    profile: DeviceProfile, target: Target, call_s: float | None = None, decision_s: float | None = None
) -> Machine:
    """The machine of a profile under a target; `call_s` and `decision_s` replace the estimates.

    Raises ProfileError where the profile has no peak for the target's dtype.
    """
    efficiency = EFFICIENCY["cpu" if profile.kind == "cpu" else "gpu"]
    peak = profile.peak(target.dtype, target.threads) * RUNNER_EFFICIENCY.get(target.runner, _OF_OTHERS)
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
        channel_block=_channel_block(profile, target),
        refined=True,
    )


def _channel_block(profile: DeviceProfile, target: Target) -> int:
    """Channels that a SIMD register holds for ONNX Runtime's NCHWc layout, which it uses on x86 alone by default.

    https://onnxruntime.ai/docs/performance/model-optimizations/graph-optimizations.html, layout optimizations; the
    sizes are those of its library of kernels.
    """
    if target.runner != "onnxruntime" or profile.kind != "cpu" or is_arm(profile):
        return 1
    return 16 if (profile.tvm_target or {}).get("mcpu") in _AVX512 else 8


def is_arm(profile: DeviceProfile) -> bool:
    """Whether a profile names an Arm target for TVM."""
    return bool(_ARM.match(str((profile.tvm_target or {}).get("mtriple", ""))))


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
    """The columns of a linear latency model, and the `name` that its calibrations bear: models differ in these.

    `matrix` gives the features of each segment [exits, columns], `prior` the uncalibrated coefficients; seconds are
    the product of the two. Columns `CALLS` and `DECISIONS` count what belongs to segments and not to operators.
    """

    name: str
    columns: tuple[str, ...]
    matrix: Callable[[Counts, Machine], Floats]
    prior: Callable[[Machine], Prior]


#: Launches of each class, for what they cost more than others.
_LAUNCHES: Final = tuple(f"{KERNELS}.{name}" for name in OP_CLASSES)
_ROOFLINE: Final = (*OP_CLASSES, UNHIDDEN, KERNELS, *_LAUNCHES, REORDERED, REORDERS, CALLS, DECISIONS)
_FLOPS: Final = ("macs", CALLS)
_LOOKUP: Final = ("table", KERNELS, "bytes_between", CALLS, DECISIONS)
#: A kernel measured alone may take this much less or more than within a network; relative standard deviation.
_TABLE_STD: Final = 0.3
#: A coefficient that the profile puts at nothing may still turn out this large; seconds.
_LEAST_STD_S: Final = 1e-6


def _roofline_matrix(count: Counts, on: Machine) -> Floats:
    """Roofline seconds of each op class and what they hide, kernels in all and of each class, layout changes, calls."""
    arithmetic_s = count.padding * count.flops * on.batch / np.array(on.flops_per_s)[count.op_class]
    traffic_s = _traffic(count, on) / on.bytes_per_s
    classes = len(OP_CLASSES)
    rows = np.zeros((count.exits, len(_ROOFLINE)))

    def by_class(values: Floats) -> Floats:
        cell = count.segment * classes + count.op_class
        return np.asarray(np.bincount(cell, values, count.exits * classes), np.float64).reshape(count.exits, classes)

    def in_all(values: Floats) -> Floats:
        return np.asarray(np.bincount(count.segment, values, count.exits), np.float64)

    rows[:, :classes] = by_class(np.maximum(arithmetic_s, traffic_s))
    kernels = by_class(np.ones(len(count.segment)))
    rows[:, _ROOFLINE.index(KERNELS)] = kernels.sum(axis=1)
    if on.refined:
        rows[:, _ROOFLINE.index(UNHIDDEN)] = in_all(np.minimum(arithmetic_s, traffic_s))
        first = _ROOFLINE.index(_LAUNCHES[0])
        rows[:, first : first + classes] = kernels
    if on.channel_block > 1:
        copied = 2.0 * count.reordered_bytes * on.batch * on.bytes_factor
        rows[:, _ROOFLINE.index(REORDERED)] = in_all(copied / on.bytes_per_s)
        rows[:, _ROOFLINE.index(REORDERS)] = in_all(count.reorders)
    rows[:, _ROOFLINE.index(CALLS)] = 1.0
    rows[:-1, _ROOFLINE.index(DECISIONS)] = 1.0
    return rows


def _traffic(count: Counts, on: Machine) -> Floats:
    """Bytes that each kernel moves at least, for the whole batch."""
    return np.asarray((count.activation_bytes * on.batch + count.weight_bytes) * on.bytes_factor)


def _roofline_prior(on: Machine) -> Prior:
    """The roofline itself; overheads are believed least, and what is to be found out beside it starts at nothing."""
    none, factors, launch = np.zeros(len(OP_CLASSES)), np.ones(len(OP_CLASSES)), max(on.launch_s, _LEAST_STD_S / 5.0)
    rows = [
        (factors, factors, 0),
        (np.array([0.0]), np.array([0.5]), 0),
        (np.array([on.launch_s]), np.array([5.0 * launch]), 1),
        (none, launch * factors, 1),
        (np.array([1.0]), np.array([1.0]), 0),
        (np.array([on.launch_s]), np.array([5.0 * launch]), 1),
        (np.array([on.call_s]), np.array([max(2.0 * on.call_s, _LEAST_STD_S)]), -1),
        (np.array([on.decision_s]), np.array([max(2.0 * on.decision_s, _LEAST_STD_S)]), -1),
    ]
    return Prior(
        mean=np.concatenate([mean for mean, _, _ in rows]),
        std=np.concatenate([std for _, std, _ in rows]),
        factor=np.concatenate([np.full(len(mean), group, np.intp) for mean, _, group in rows]),
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


def _lookup_matrix(count: Counts, on: Machine) -> Floats:
    """Seconds of the table, kernels, seconds to move what lies between them, calls and decisions [exits, 5]."""
    rows = np.zeros((count.exits, len(_LOOKUP)))
    rows[:, 0] = np.bincount(count.segment, count.table_s, count.exits)
    rows[:, 1] = np.bincount(count.segment, minlength=count.exits)
    moved = count.activation_bytes * on.batch * on.bytes_factor
    rows[:, 2] = np.bincount(count.segment, moved, count.exits) / on.bytes_per_s
    rows[:, 3] = 1.0
    rows[:-1, 4] = 1.0
    return rows


def _lookup_prior(on: Machine) -> Prior:
    """The table as it is; what isolation misses starts at nothing."""
    overheads = np.maximum([on.launch_s, 2.0 * on.call_s, 2.0 * on.decision_s], _LEAST_STD_S)
    return Prior(
        mean=np.array([1.0, 0.0, 0.0, on.call_s, on.decision_s]),
        std=np.array([_TABLE_STD, overheads[0], 0.5, *overheads[1:]]),
        factor=np.array([0, -1, -1, -1, -1], np.intp),
    )


#: Ours by name, whatever was imported; a model elsewhere has its set as the class attribute `features`.
FEATURES: Final[Mapping[str, FeatureSet]] = MappingProxyType(
    {
        "roofline": FeatureSet("roofline", _ROOFLINE, _roofline_matrix, _roofline_prior),
        "flops": FeatureSet("flops", _FLOPS, _flops_matrix, _flops_prior),
        "lookup": FeatureSet("lookup", _LOOKUP, _lookup_matrix, _lookup_prior),
    }
)
