"""How far predictions of devices that were never measured are off, and how honest their intervals are.

    python benchmarks/unmeasured.py [--networks 300] [--write] [--json OUT]

Every column of the table of NAS-Bench-201 that has a device profile (HELP's, MIT, and HW-NAS-Bench's, MIT, for raspi4
and pixel3): measured seconds over those that the sheet alone gives, on the same networks, one thread, the column's
batch. A device is corrected by what the *other* devices of its class say, never by itself with another batch; `as any`,
by all others, as one whose class is unknown is. Printed per column: the median ratio before and after, and the share of
networks in the 90 % interval; beside it, what was done before: no correction, and 25 % allowed for.
`--write` makes `latency_models/data/sheets.yaml`, which is shipped, from all devices.

The tables say neither how many threads a CPU had nor, on GPUs, more than the batch; frameworks were eager ones, and the
table's networks run operators that lead nowhere, which ours leave out: `all live` are the networks without any.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import figures
import numpy as np
import yaml

from hardware_profiles import DeviceProfile, ProfileError, Target, load
from latency_models.base import Floats, LogStudent
from latency_models.calibration import features_of, uncalibrated
from latency_models.features import FEATURES
from latency_models.sheets import ANY, FEWEST_DEVICES, TABLE, SheetError, device_class
from latency_models.table import nb201
from search_spaces.nasbench201 import nasbench201

MODELS = ("roofline", "flops")
SHIPPED = Path(__file__).parents[1] / "latency_models" / "data" / TABLE
#: What the search allowed for a device that was never measured, before sheets were corrected.
BEFORE = 0.25
#: A normal distribution has 90 % within so many standard deviations.
_NORMAL_90 = 1.645
_BATCH = re.compile(r"(?P<device>.+)_(?P<batch>1|32|256)")


@dataclass(frozen=True, eq=False)
class Column:
    """One column of the table: logarithms of measured over the sheet's seconds [networks]."""

    name: str
    device: str
    kind: str
    batch: int
    log_ratio: Floats

    @property
    def median(self) -> float:
        """The middle logarithm."""
        return float(np.median(self.log_ratio))

    @property
    def spread(self) -> float:
        """What a normal distribution around the median has for a standard deviation if as many are within 90 %."""
        return float(np.quantile(np.abs(self.log_ratio - self.median), 0.9)) / _NORMAL_90


def target_of(column: str) -> tuple[DeviceProfile, int] | None:
    """The profile and the batch of a column; None for a device without a profile."""
    try:
        return load(column), 1
    except ProfileError:
        named = _BATCH.fullmatch(column)
    try:
        return None if named is None else (load(named["device"]), int(named["batch"]))
    except ProfileError:
        return None


def columns(model: str, rows: Sequence[int]) -> list[Column]:
    """The columns of the table that have a profile, on the networks in these rows of it."""
    table, space = nb201(), nasbench201((3, 32, 32), 10)
    networks = [space.decode(table.ops[row]) for row in rows]
    found = []
    for name in table.devices:
        known = target_of(name)
        if known is None:
            continue
        profile, batch = known
        bare = uncalibrated(FEATURES[model], profile, Target(profile.id, "onnxruntime", batch=batch))
        each = np.array([features_of(bare, network).sum(axis=0) for network in networks])
        raw = each @ bare.features.prior(bare.machine).mean
        ratio = np.log(table.column(name)[list(rows)] / raw)
        found.append(Column(name, profile.id, device_class(profile), batch, ratio))
    return found


def summary(found: Sequence[Column], groups: int | None = None) -> SheetError:
    """What some columns say of a device that is not among them; every device counts once, whatever its columns.

    `groups` is how many independent ones there are, by default the devices.
    """
    devices = sorted({column.device for column in found})
    groups = len(devices) if groups is None else groups
    medians = [np.array([c.median for c in found if c.device == device]) for device in devices]
    middle = float(np.median([of_one.mean() for of_one in medians]))
    square = float(np.mean([((of_one - middle) ** 2).mean() for of_one in medians]))
    # Around a centre that was itself found from them, and for one more.
    between = np.sqrt(square * groups / (groups - 1) * (1 + 1 / groups))
    within = float(np.median([column.spread for column in found]))
    return SheetError(float(np.exp(middle)), float(between), within, len(devices), groups - 1.0)


def classes(found: Sequence[Column]) -> dict[str, SheetError]:
    """A row per class with enough devices, and one for all of them: a class more is like another device there."""
    kinds = sorted({column.kind for column in found})
    rows = {kind: [column for column in found if column.kind == kind] for kind in kinds}
    enough = {kind: of for kind, of in rows.items() if len({column.device for column in of}) >= FEWEST_DEVICES}
    return {ANY: summary(found, len(kinds))} | {kind: summary(of) for kind, of in enough.items()}


def left_out(found: Sequence[Column], column: Column, kind: str) -> SheetError:
    """What all devices but a column's own say of it, as one of its class or of `ANY`."""
    return classes([other for other in found if other.device != column.device])[kind]


def judged(column: Column, error: SheetError, live: np.ndarray) -> dict[str, Any]:
    """The median ratio before and after a correction, and how many networks its 90 % interval has."""
    ratio = np.exp(column.log_ratio)
    belief = LogStudent(np.array([error.median]), np.array([error.median * error.relative]), error.degrees_of_freedom)
    low, high = float(belief.quantile_s(0.05)[0]), float(belief.quantile_s(0.95)[0])
    inside = (low <= ratio) & (ratio <= high)
    return {
        "ratio_before": float(np.median(ratio)),
        "within_25_percent_before": float((ratio <= 1 + BEFORE).mean()),
        "ratio_after": float(np.median(ratio) / error.median),
        "interval": high / error.median,
        "coverage": float(inside.mean()),
        "coverage_all_live": float(inside[live].mean()),
    }


def shipped(tables: Mapping[str, Mapping[str, SheetError]]) -> str:
    """The file that the package ships."""
    rounded = {
        model: {
            kind: {
                "median": round(row.median, 3),
                "between": round(row.between, 3),
                "within": round(row.within, 3),
                "devices": row.devices,
                "freedom": row.freedom,
            }
            for kind, row in rows.items()
        }
        for model, rows in tables.items()
    }
    head = (
        "# Measured over predicted seconds of devices whose sheet alone is known: `benchmarks/unmeasured.py --write`.\n"
        "# From latencies of NAS-Bench-201 networks that HELP and HW-NAS-Bench published (MIT, see NOTICE).\n"
    )
    return head + yaml.safe_dump(rounded, sort_keys=False)


def rows_of(count: int) -> tuple[list[int], np.ndarray]:
    """Rows of the table drawn at random, and whether each of their networks has no operator that leads nowhere."""
    table = nb201()
    rows = np.sort(np.random.default_rng(0).choice(len(table), count, replace=False))
    canonical = nasbench201((3, 32, 32), 10).canonical(table.ops[rows])
    return rows.tolist(), np.asarray((canonical == table.ops[rows]).all(axis=1))


def judge(found: Sequence[Column], live: np.ndarray) -> Iterable[dict[str, Any]]:
    """One record per column."""
    for column in found:
        yield {
            "column": column.name,
            "device": column.device,
            "class": column.kind,
            "batch": column.batch,
            **judged(column, left_out(found, column, column.kind), live),
            "as_any": judged(column, left_out(found, column, ANY), live),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=300)
    parser.add_argument("--write", action="store_true", help="make the table that is shipped")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows, live = rows_of(args.networks)
    tables, records, totals = {}, {}, {}
    for model in MODELS:
        found = columns(model, rows)
        tables[model] = classes(found)
        records[model] = list(judge(found, live))
        totals[model] = _print(model, records[model])
        for kind, row in tables[model].items():
            print(f"    {kind:>8}: {row.devices:2d} devices, median {row.median:6.2f}, 90 % x/ {_factor(row):5.1f}")
    if args.write:
        SHIPPED.write_text(shipped(tables), encoding="utf-8")
    if args.json:
        figures.write(args.json, {"networks": args.networks, "means": totals, "columns": records})


def _factor(row: SheetError) -> float:
    return float(LogStudent(np.ones(1), np.array([row.relative]), row.degrees_of_freedom).quantile_s(0.95)[0])


def _print(model: str, records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    print(f"{model}: measured over predicted (median), 90 % interval and the share of networks in it")
    print(f"{'column':>15} {'class':>8} {'before':>8} {'<=25 %':>7} | {'after':>6} {'x/':>5} {'in':>5} {'live':>5} |"
          f" {'as any':>6} {'x/':>5} {'in':>5}")  # fmt: skip
    for r in records:
        o = r["as_any"]
        print(
            f"{r['column']:>15} {r['class']:>8} {r['ratio_before']:8.2f} {r['within_25_percent_before']:7.0%} |"
            f" {r['ratio_after']:6.2f} {r['interval']:5.1f} {r['coverage']:5.0%} {r['coverage_all_live']:5.0%} |"
            f" {o['ratio_after']:6.2f} {o['interval']:5.1f} {o['coverage']:5.0%}"
        )

    def wrong(key: str) -> float:
        return float(np.exp(np.median([abs(np.log(r[key])) for r in records])))

    means = {
        "columns": len(records),
        "off_by_before": wrong("ratio_before"),
        "off_by_after": wrong("ratio_after"),
        "coverage": float(np.mean([r["coverage"] for r in records])),
        "least_coverage": min(r["coverage"] for r in records),
        "coverage_as_any": float(np.mean([r["as_any"]["coverage"] for r in records])),
        "within_25_percent_before": float(np.mean([r["within_25_percent_before"] for r in records])),
    }
    print("   ", ", ".join(f"{name} {value:.3g}" for name, value in means.items()))
    return means


if __name__ == "__main__":
    main()
