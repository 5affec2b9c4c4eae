"""This machine as a device profile: what the system says about it, and two short measurements.

Peak float32 is measured with matrix products and bandwidth with large copies (the copy of McCalpin's STREAM: one read
and one write counted); both on one thread and on all, best of several repeats, in under two seconds together.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import platform
import re
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from hardware_profiles import cpuinfo
from hardware_profiles.blas import blas_threads
from hardware_profiles.profile import FUSIONS, HOST, Cache, DeviceProfile, Grade, Quantity, Scope

_SYSTEM = "system"
_MEASURED = "measured"
_DERIVED = "derived"
_ESTIMATE = "estimate"
_MIB = 2**20
#: CPU part numbers of Arm Ltd. in /proc/cpuinfo and the names LLVM has for them.
_ARM_PARTS = {
    "0xd03": "cortex-a53",
    "0xd05": "cortex-a55",
    "0xd07": "cortex-a57",
    "0xd08": "cortex-a72",
    "0xd09": "cortex-a73",
    "0xd0a": "cortex-a75",
    "0xd0b": "cortex-a76",
    "0xd0c": "neoverse-n1",
    "0xd0d": "cortex-a77",
    "0xd40": "neoverse-v1",
    "0xd41": "cortex-a78",
    "0xd42": "cortex-a78ae",
    "0xd44": "cortex-x1",
    "0xd49": "neoverse-n2",
    "0xd4f": "neoverse-v2",
}
_X86_LEVELS = (
    ("x86-64-v4", {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl", "avx2", "fma"}),
    ("x86-64-v3", {"avx2", "fma", "bmi1", "bmi2", "f16c", "movbe"}),
    ("x86-64-v2", {"sse4_1", "sse4_2", "ssse3", "popcnt", "cx16"}),
)


def detect(measure: bool = True) -> DeviceProfile:
    """The profile "host" of the machine and the cores this process may use.

    With `measure=False` nothing is timed: peak follows from the SIMD width and the clock, bandwidth is an estimate.
    """
    info = cpuinfo.first()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    flags = set(info.get("flags", info.get("Features", "")).split())
    arch = platform.machine().lower()
    mcpu = _llvm_cpu(arch, flags, info)
    if measure:
        peak, core_peak = _peaks(cores)
        core_bandwidth, bandwidth = _bandwidth_bytes_per_s(1, 0.2), _bandwidth_bytes_per_s(cores, 0.2)
        origin: tuple[str, Grade] = (_MEASURED, "measured")
        bandwidth_origin, fraction = origin, 1.0
    else:
        core_peak = _nominal_hz(info) * _flop_per_cycle(arch, flags)
        peak, origin = cores * core_peak, (_DERIVED, "derived")
        core_bandwidth, bandwidth = 10e9, 10e9 * cores**0.5
        bandwidth_origin, fraction = (_ESTIMATE, "estimate"), 0.8
    integer = 4.0 if flags & {"avx512_vnni", "avx_vnni", "asimddp"} else 2.0
    half = 2.0 if "asimdhp" in flags else 1.0

    def by_dtype(float32: float) -> dict[str, Quantity]:
        return {
            "float32": Quantity(float32, *origin),
            "float16": Quantity(half * float32, _DERIVED, "derived"),
            "int8": Quantity(integer * float32, _DERIVED, "derived"),
        }

    return DeviceProfile(
        id=HOST,
        name=_name(info),
        kind="cpu",
        family=mcpu or arch or "unknown",
        cores=Quantity(float(cores), _SYSTEM, "sheet"),
        peak_flops_per_s=by_dtype(peak),
        core_flops_per_s=by_dtype(core_peak),
        bandwidth_bytes_per_s=Quantity(max(bandwidth, core_bandwidth), *bandwidth_origin),
        core_bandwidth_bytes_per_s=Quantity(core_bandwidth, *bandwidth_origin),
        stream_fraction=Quantity(fraction, *bandwidth_origin),
        caches=_caches(cores),
        memory_bytes=_memory_bytes(),
        launch_overhead_s=Quantity(1e-6, _ESTIMATE, "estimate"),
        fusions=FUSIONS,
        tvm_target=_tvm_target(arch, mcpu, cores),
        notes=("ONNX Runtime and TVM fold batch norm and merge activations and residual additions into convolutions.",),
        sources={
            _SYSTEM: "the operating system: /proc/cpuinfo, /sys/devices/system/cpu and sysconf where they exist",
            _MEASURED: f"measured here with numpy {np.__version__}: float32 matrix products, copies beyond the caches",
            _DERIVED: "from the SIMD instructions: the float32 rate x the gain of the smaller type, where there is one",
            _ESTIMATE: "engineering estimate; fit it, never take it as truth",
        },
    )


def identity() -> dict[str, str]:
    """What tells this machine from others: its name, architecture and number of cores, and an `id` where it has one.

    The id is derived from /etc/machine-id, which it does not reveal (as sd_id128_get_machine_app_specific does).
    """
    info = cpuinfo.first()
    found = {"name": _name(info), "architecture": platform.machine().lower(), "cores": str(os.cpu_count() or 1)}
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        if text := _text(path):
            found["id"] = hmac.new(text.encode(), b"hwnas device profile", hashlib.sha256).hexdigest()[:16]
            break
    return found


def is_here(profile: DeviceProfile) -> bool:
    """Whether the profile is of this machine: "host", or measured on it by another name."""
    return profile.id == HOST or not differences(profile.machine)


def differences(machine: Mapping[str, str] | None, here: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """What a stored identity says that is not so `here` (None: on this machine), for people; empty for the same one.

    A key that is not stored is not compared: without `id`, all machines of the kind count.
    """
    if not machine:
        return ("it names no machine",)
    here = identity() if here is None else here
    return tuple(
        f"{key} is {value}, here {here.get(key, 'none')}" for key, value in machine.items() if here.get(key) != value
    )


def tvm_target() -> dict[str, Any]:
    """The TVM target of this machine, as `tvm.target.Target` takes it."""
    info, arch = cpuinfo.first(), platform.machine().lower()
    flags = set(info.get("flags", info.get("Features", "")).split())
    return _tvm_target(arch, _llvm_cpu(arch, flags, info), os.cpu_count() or 1)


def _name(info: Mapping[str, str]) -> str:
    """What people call this machine: a board by its name, another by its processor's."""
    board = _text("/proc/device-tree/model").strip("\0")
    return board or info.get("model name") or platform.processor() or platform.machine() or "this machine"


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _llvm_cpu(arch: str, flags: set[str], info: dict[str, str]) -> str | None:
    if platform.system() == "Darwin" and arch == "arm64":
        return "apple-m1"
    if arch in ("x86_64", "amd64"):
        return next((level for level, needed in _X86_LEVELS if needed <= flags), "x86-64")
    return _ARM_PARTS.get(info.get("CPU part", "").lower())


def _tvm_target(arch: str, mcpu: str | None, cores: int) -> dict[str, Any]:
    target: dict[str, Any] = {"kind": "llvm", "num-cores": cores}
    if arch in ("aarch64", "arm64"):
        target["mtriple"] = "arm64-apple-macos" if platform.system() == "Darwin" else "aarch64-linux-gnu"
    if mcpu is not None:
        target["mcpu"] = mcpu
    return target


def _nominal_hz(info: dict[str, str]) -> float:
    try:
        return float(info["cpu MHz"]) * 1e6
    except (KeyError, ValueError):
        return 2e9


def _flop_per_cycle(arch: str, flags: set[str]) -> float:
    if arch in ("aarch64", "arm64"):
        return 16.0
    return 32.0 if {"avx2", "fma"} <= flags else 8.0


def _memory_bytes() -> Quantity:
    try:
        return Quantity(float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")), _SYSTEM, "sheet")
    except (AttributeError, OSError, ValueError):
        return Quantity(4.0 * 2**30, _ESTIMATE, "estimate")


def _caches(cores: int) -> tuple[Cache, ...]:
    """Data and unified caches of CPU 0; empty where the system does not tell."""
    found = []
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        with contextlib.suppress(OSError, ValueError):
            level, kind, size, shared = (
                (index / name).read_text(encoding="utf-8").strip()
                for name in ("level", "type", "size", "shared_cpu_list")
            )
            if kind == "Instruction" or not re.fullmatch(r"[0-9]+[KM]?", size):
                continue
            bytes_ = int(size.rstrip("KM")) * {"K": 2**10, "M": _MIB}.get(size[-1], 1)
            if bytes_ >= 2**10:
                found.append(Cache(int(level), bytes_, _scope(_count(shared), cores), _SYSTEM, "sheet"))
    return tuple(found)


def _count(cpu_list: str) -> int:
    """How many CPUs a list such as "0-3,8" names."""
    spans = (part.split("-") for part in cpu_list.split(","))
    return sum(int(span[-1]) - int(span[0]) + 1 for span in spans)


def _scope(sharers: int, cores: int) -> Scope:
    # Two hardware threads may share a core's cache.
    if sharers <= 2 and sharers < max(cores, 2):
        return "core"
    return "device" if sharers >= cores else "cluster"


def _best_rate(run: Callable[[], float], seconds: float) -> float:
    """The highest rate among repeats of `run`, which returns the work it did; at least three repeats."""
    run()
    best, repeats, end = 0.0, 0, time.perf_counter() + seconds
    while repeats < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        work = run()
        best = max(best, work / max(time.perf_counter() - start, 1e-9))
        repeats += 1
    return best


def _peaks(cores: int) -> tuple[float, float]:
    """The highest rates in FLOP/s of all cores and of one; of one as its share, where threads cannot be limited."""
    peak = _peak_flops_per_s(0.2)
    if cores == 1:
        return peak, peak
    try:
        with blas_threads(1):
            core_peak = _peak_flops_per_s(0.2)
    except ImportError:
        return peak, peak / cores
    return max(peak, core_peak), core_peak


def _peak_flops_per_s(seconds: float) -> float:
    size = 512
    left = np.random.default_rng(0).standard_normal((size, size)).astype(np.float32)
    out = np.empty_like(left)

    def run() -> float:
        np.matmul(left, left, out=out)
        return 2.0 * size**3

    return _best_rate(run, seconds)


def _bandwidth_bytes_per_s(threads: int, seconds: float) -> float:
    total = 64 * _MIB
    threads = min(threads, 16)
    source = [np.ones(total // threads // 8) for _ in range(threads)]
    sink = [np.zeros_like(part) for part in source]
    with ThreadPoolExecutor(threads) as pool:

        def run() -> float:
            if threads == 1:
                np.copyto(sink[0], source[0])
            else:
                list(pool.map(np.copyto, sink, source))
            return 2.0 * sum(part.nbytes for part in source)

        return _best_rate(run, seconds)
