"""What a device is: peaks, bandwidth, caches and overheads, every number with its source and its grade.

The numbers feed a roofline (Williams, Waterman, Patterson, "Roofline: an insightful visual performance model",
CACM 2009). They are a prior to be calibrated with measurements, not a promise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, get_args

Grade = Literal["sheet", "database", "memory", "estimate", "derived", "measured"]
Scope = Literal["core", "cluster", "sm", "device"]
Kind = Literal["cpu", "gpu", "accelerator"]

GRADES: Final[tuple[Grade, ...]] = get_args(Grade)
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
#: These two are the names in `search_spaces` as well, which knows nothing of devices; a test compares them.
DTYPES: Final = ("float32", "float16", "int8")
FUSIONS: Final = ("conv_bn", "conv_activation", "conv_add")
#: The id of the machine that this runs on, measured when asked for.
HOST: Final = "host"
#: Of the file format, which `schema` reads.
SCHEMA: Final = 1


class ProfileError(ValueError):
    """A device profile or target that cannot be used; the message says what, why and what to do."""


@dataclass(frozen=True)
class Quantity:
    """One number in SI units, the key of its source in the profile's legend, and how far to trust it."""

    value: float
    source: str
    grade: Grade

    def __float__(self) -> float:
        return self.value

    def __int__(self) -> int:
        return int(self.value)


@dataclass(frozen=True)
class Cache:
    """Capacity in bytes of the data cache at `level`, for each core, cluster or multiprocessor, or the device."""

    level: int
    bytes: int
    scope: Scope
    source: str
    grade: Grade


@dataclass(frozen=True)
class DeviceProfile:
    """One device, as read from a YAML file or detected.

    `cores` counts what the peak counts: CPU cores of the named cluster, or a GPU's multiprocessors.
    `peak_flops_per_s` maps a dtype to FLOP/s of the whole device (dense, no structured sparsity; int8 counts
    integer operations; float16 means the tensor cores where the device has them).
    `bandwidth_bytes_per_s` is theoretical; `stream_fraction` is the part of it a copy reaches.
    `core_*` limit what a single CPU thread reaches where that is known; otherwise a share of the whole is used.
    `fusions` are the operator fusions the runtimes make there, in the words of `FUSIONS`.
    `machine` tells the one machine that the profile was measured on from others, as `host.identity` has it; None where
    the profile is of a kind of device.
    """

    id: str
    name: str
    kind: Kind
    family: str
    cores: Quantity
    peak_flops_per_s: Mapping[str, Quantity]
    bandwidth_bytes_per_s: Quantity
    stream_fraction: Quantity
    caches: tuple[Cache, ...]
    memory_bytes: Quantity
    launch_overhead_s: Quantity
    fusions: tuple[str, ...]
    sources: Mapping[str, str]
    clock_hz: Quantity | None = None
    core_flops_per_s: Mapping[str, Quantity] | None = None
    core_bandwidth_bytes_per_s: Quantity | None = None
    idle_w: Quantity | None = None
    tdp_w: Quantity | None = None
    aliases: tuple[str, ...] = ()
    tvm_target: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()
    machine: Mapping[str, str] | None = None

    def peak(self, dtype: str = "float32", threads: int | None = None) -> float:
        """FLOP/s that `threads` CPU threads reach at most (None, or anything but a CPU: the whole device).

        Raises ProfileError where the profile has no peak for `dtype`.
        """
        if dtype not in self.peak_flops_per_s:
            known = ", ".join(self.peak_flops_per_s)
            raise ProfileError(f"device {self.id!r} has no peak for dtype {dtype!r}, only for {known}")
        whole = self.peak_flops_per_s[dtype].value
        if threads is None or self.kind != "cpu":
            return whole
        per_core = whole / self.cores.value
        if self.core_flops_per_s is not None and dtype in self.core_flops_per_s:
            per_core = self.core_flops_per_s[dtype].value
        return min(whole, threads * per_core)

    def bandwidth(self, threads: int | None = None) -> float:
        """Bytes/s of DRAM traffic that `threads` CPU threads reach (None, or anything but a CPU: the whole device)."""
        whole = self.bandwidth_bytes_per_s.value * self.stream_fraction.value
        if threads is None or self.kind != "cpu" or self.core_bandwidth_bytes_per_s is None:
            return whole
        return min(whole, threads * self.core_bandwidth_bytes_per_s.value)

    def citation(self, quantity: Quantity | Cache) -> str:
        """The full text of the source of one of this profile's numbers."""
        return self.sources[quantity.source]

    def quantities(self) -> Iterator[tuple[str, Quantity]]:
        """Every number of the profile with a readable name, caches included."""
        for name in QUANTITIES:
            quantity = getattr(self, name)
            if quantity is not None:
                yield name, quantity
        for name in QUANTITY_MAPS:
            for dtype, quantity in (getattr(self, name) or {}).items():
                yield f"{name}.{dtype}", quantity
        for cache in self.caches:
            yield f"caches.L{cache.level}", Quantity(float(cache.bytes), cache.source, cache.grade)

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists and numbers that `schema.parse` reads back; what the device lacks is left out."""
        data = {"schema": SCHEMA, **asdict(self)}
        for key in ("caches", "fusions", "aliases", "notes"):
            data[key] = list(data[key])
        return {key: value for key, value in data.items() if value is not None}


QUANTITIES = (
    "cores",
    "clock_hz",
    "bandwidth_bytes_per_s",
    "core_bandwidth_bytes_per_s",
    "stream_fraction",
    "memory_bytes",
    "launch_overhead_s",
    "idle_w",
    "tdp_w",
)
QUANTITY_MAPS = ("peak_flops_per_s", "core_flops_per_s")
