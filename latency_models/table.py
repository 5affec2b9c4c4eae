"""A latency table: measured seconds of many networks on several devices, in one file without pickles.

The file is an `.npz` with `latency_ms` [n, devices] (NaN = not measured), `devices` [devices] and `ops` [n, positions],
an integer encoding; optional are `op_names`, `arch_str` [n], `families` [devices], `batch` [devices] and, of networks
with early exits, `early_ms` [n, devices, early exits] (NaN = no such exit). The order of the rows is part of it; a
reading of 0 counts as half the device's least one, which is what a clock that rounds means by it.
HELP (Lee et al., NeurIPS 2021) takes its measurements from the first rows, the pool, and its queries from the next
1,000.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from latency_models.arrays import read_arrays, understood
from latency_models.base import Floats

#: HELP's pool and its queries on NAS-Bench-201, and the share of the queries cut off at either end by latency.
POOL: Final = 900
QUERIES: Final = 1000
TRIM: Final = 0.1
#: No position has so many options: what is larger is no number of one.
MOST_OPTIONS: Final = 10_000

#: HELP's devices for NAS-Bench-201: those it learns from, those it validates on, and those it is judged on.
HELP_TRAIN: Final = (
    "1080ti_1",
    "1080ti_32",
    "1080ti_256",
    "silver_4114",
    "silver_4210r",
    "samsung_a50",
    "pixel3",
    "essential_ph_1",
    "samsung_s7",
)
HELP_VALIDATION: Final = ("titanx_1", "titanx_32", "titanx_256", "gold_6240")
HELP_TEST: Final = ("titan_rtx_256", "gold_6226", "fpga", "pixel2", "raspi4", "eyeriss")


@dataclass(frozen=True, eq=False)
class LatencyTable:
    """Seconds of n networks on each device.

    `latency_s` [n, devices] (NaN = not measured), `ops` [n, positions] the integer encoding, `op_names` the operator
    of each integer (may be empty), `families` the family of each device (may be empty), `batch` the batch size of each
    device (may be empty), `arch_str` a name for each network (may be empty), `early_s` [n, devices, early exits] the
    seconds up to each early exit, NaN where a network has fewer (None: no network has any).
    """

    latency_s: Floats
    devices: tuple[str, ...]
    ops: NDArray[np.int64]
    op_names: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    batch: tuple[int, ...] = ()
    arch_str: tuple[str, ...] = ()
    early_s: Floats | None = None

    def __post_init__(self) -> None:
        if problem := self._problem():
            raise ValueError(f"latency table: {problem}")

    def __len__(self) -> int:
        return len(self.ops)

    def column(self, device: str) -> Floats:
        """Seconds of every network on `device` [n]; raises ValueError for a device that the table does not have."""
        return self.latency_s[:, self.index(device)]

    def columns(self, devices: tuple[str, ...] | list[str]) -> Floats:
        """Seconds of every network on several devices [n, len(devices)]; raises ValueError like `column`."""
        return self.latency_s[:, [self.index(device) for device in devices]]

    def index(self, device: str) -> int:
        """The column of `device`; raises ValueError for a device that the table does not have."""
        if device not in self.devices:
            raise ValueError(f"the latency table has no device {device!r}; it has {', '.join(self.devices)}")
        return self.devices.index(device)

    def _problem(self) -> str:
        """What is wrong with the arrays, or nothing."""
        shape = np.shape(self.latency_s)
        if len(shape) != 2 or np.ndim(self.ops) != 2:
            return f"latencies have shape {shape} and ops {np.shape(self.ops)}; both must have two dimensions"
        if shape[0] != len(self.ops):
            return f"there are {shape[0]} rows of latencies and {len(self.ops)} of ops; there must be as many"
        if shape[1] != len(self.devices):
            return f"there are {shape[1]} columns of latencies and {len(self.devices)} devices; there must be as many"
        if len(set(self.devices)) != len(self.devices):
            return "a device is named twice; names must differ"
        for name in ("families", "batch"):
            if (found := len(getattr(self, name))) not in (0, shape[1]):
                return f"there are {found} {name} for {shape[1]} devices; give one for each, or none"
        if len(self.arch_str) not in (0, shape[0]):
            return f"there are {len(self.arch_str)} names for {shape[0]} networks; give one for each, or none"
        if not np.issubdtype(np.asarray(self.ops).dtype, np.integer):
            return f"ops are {np.asarray(self.ops).dtype}; they must be integers"
        if self.ops.size and not 0 <= int(self.ops.min()) <= int(self.ops.max()) < MOST_OPTIONS:
            return f"ops run from {self.ops.min()} to {self.ops.max()}; they are numbers of options, from 0"
        if self.early_s is not None and (np.ndim(self.early_s) != 3 or self.early_s.shape[:2] != shape):
            return f"early exits have shape {np.shape(self.early_s)}; they must be [networks, devices, early exits]"
        if np.any(np.isinf(self.latency_s)) or np.any(np.asarray(self.latency_s) < 0):
            return "there is a negative or infinite latency; write NaN for what was not measured"
        return ""


def load_table(path: str | Path) -> LatencyTable:
    """The table in an `.npz` file; raises ValueError for a file that is none or lacks something."""
    with understood(f"{path} is no latency table"):
        arrays = read_arrays(path)
    for name in ("latency_ms", "devices", "ops"):
        if name not in arrays:
            raise ValueError(f"{path} is no latency table: it has no array {name!r}, only {', '.join(sorted(arrays))}")
    with understood(f"{path} is no latency table"):
        ops = arrays["ops"]
        latency_s = _above_zero(np.asarray(arrays["latency_ms"], np.float64) / 1e3)
        text = {name: _strings(arrays.get(name, ())) for name in ("op_names", "families", "arch_str")}
        return LatencyTable(
            latency_s=latency_s,
            devices=_strings(arrays["devices"]),
            ops=ops.astype(np.int64) if np.issubdtype(ops.dtype, np.integer) else ops,
            batch=tuple(int(size) for size in arrays.get("batch", ())),
            early_s=np.asarray(arrays["early_ms"], np.float64) / 1e3 if "early_ms" in arrays else None,
            **text,
        )


def _strings(values: Iterable[object]) -> tuple[str, ...]:
    return tuple(value.decode() if isinstance(value, bytes) else str(value) for value in values)


def _above_zero(latency_s: Floats) -> Floats:
    """A clock that rounds to whole milliseconds reads 0 for less than half of one: take half the least reading."""
    if latency_s.ndim != 2 or not (latency_s == 0).any():
        return latency_s
    least = np.min(np.where(latency_s > 0, latency_s, np.inf), axis=0)
    return np.where(latency_s == 0, 0.5 * np.where(np.isfinite(least), least, np.nan), latency_s)


def save_table(path: str | Path, table: LatencyTable) -> None:
    """Write the table so that `load_table` reads it; milliseconds in single precision, as the format has it."""
    arrays: dict[str, NDArray[np.generic]] = {
        "latency_ms": (table.latency_s * 1e3).astype(np.float32),
        "devices": np.array(table.devices),
        "ops": table.ops,
    }
    for name in ("op_names", "families", "batch", "arch_str"):
        if value := getattr(table, name):
            arrays[name] = np.array(value)
    if table.early_s is not None:
        arrays["early_ms"] = (table.early_s * 1e3).astype(np.float32)
    with open(path, "wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def nb201() -> LatencyTable:
    """The 15,625 networks of NAS-Bench-201 on 27 devices, as HELP's repository publishes them (MIT).

    HELP credits HW-NAS-Bench (Li et al., ICLR 2021, MIT) for fpga, raspi4, eyeriss and pixel3. Four phones report
    whole milliseconds, and raspi4 and pixel3 hold networks that do almost nothing.
    """
    with as_file(files("latency_models") / "data" / "nb201_latency.npz") as path:
        return load_table(path)


def queries(latency_s: Floats, pool: int = POOL, count: int = QUERIES) -> NDArray[np.intp]:
    """HELP's queries for one device: the middle 80 % by latency of the `count` rows after the pool.

    `latency_s` [n]; rows that were not measured are no queries. Returns indices in the order of the table.
    """
    rows = np.arange(pool, min(pool + count, len(latency_s)))
    rows = rows[np.isfinite(latency_s[rows])]
    order = np.argsort(latency_s[rows], kind="stable")
    cut = int(TRIM * len(rows))
    return np.sort(rows[order[cut : len(rows) - cut]])
