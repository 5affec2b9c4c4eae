"""The table of a benchmark of readings: what bounds cover, and how a stream compares to its calls."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Record = dict[str, Any]
#: How far a stream and its calls may be apart; what a cell and all cells together must cover.
ALLOWED, CELL, POOLED = 0.05, 0.90, 0.93


def rows(records: Sequence[Record]) -> list[Record]:
    """A row per network, statistic and number of busy processes."""
    around = _around(records)
    found = []
    for network in dict.fromkeys(taken.record["network"] for taken in around):
        for busy in sorted({taken.record["busy"] for taken in around}):
            mine = [t for t in around if t.record["network"] == network and t.record["busy"] == busy]
            for statistic in ("median", "mean", "p95", "p99"):
                if known := [_with_truth(taken, statistic) for taken in mine if statistic in taken.record]:
                    found.append(_row(network, statistic, busy, [taken for taken in known if taken is not None]))
    return found


@dataclass(frozen=True)
class Around:
    """A repetition, the long runs just before and after it, and all long runs of its process."""

    record: Record
    near: Sequence[Record]
    session: Sequence[Record]


def _around(records: Sequence[Record]) -> list[Around]:
    """Every repetition with its long runs; where the process was killed before the next one, only that before."""
    order: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        order.setdefault((record["session"], record["network"]), []).append(record)
    found = []
    for one in order.values():
        truths = [i for i, record in enumerate(one) if record["kind"] == "truth"]
        for i, record in enumerate(one):
            if record["kind"] == "repetition":
                after = bisect(truths, i)
                near = [one[t] for t in truths[after - 1 : after + 1]]
                found.append(Around(record, near, [one[t] for t in truths]))
    return found


def _with_truth(taken: Around, statistic: str) -> Around | None:
    """The same with those long runs that say something of a statistic; None where there are none beside it."""
    near, session = (
        [truth for truth in truths if statistic in truth and not truth[statistic]["refused"]]
        for truths in (taken.near, taken.session)
    )
    return Around(taken.record, near, session) if near else None


def _row(network: str, statistic: str, busy: int, taken: Sequence[Around]) -> Record:
    def true_s(truths: Sequence[Record]) -> float:
        return float(np.mean([truth[statistic]["value_s"] for truth in truths]))

    mine = [each.record for each in taken]
    ratios = [record["stream_over_calls"] for record in mine if record["stream_over_calls"] is not None]
    counted = [each for each in taken if not each.record[statistic]["refused"]]
    near_s = np.array([true_s(each.near) for each in counted])
    session_s = np.array([true_s(each.session) for each in counted])
    values, uppers = (np.array([c.record[statistic][name] for c in counted]) for name in ("value_s", "upper_95_s"))
    few = not counted
    return {
        "network": network,
        "statistic": statistic,
        "busy": busy,
        "stream_over_calls": float(np.median(ratios)) if ratios else None,
        "stream_over_calls_min": min(ratios, default=None),
        "stream_over_calls_max": max(ratios, default=None),
        "within_5_percent": float(np.mean(np.abs(np.array(ratios) - 1) <= ALLOWED)) if ratios else None,
        "coverage": None if few else float(np.mean(uppers >= near_s)),
        "session_coverage": None if few else float(np.mean(uppers >= session_s)),
        "refused": len(mine) - len(counted),
        "n": len(mine),
        "truth_s": None if few else float(np.mean(near_s)),
        "value_over_truth": None if few else float(np.median(values / near_s)),
        "upper_over_value": None if few else float(np.median(uppers / values)),
        "contended": sum(record[statistic]["contended"] for record in mine),
    }


def good(found: Sequence[Record]) -> bool:
    """Whether stream and calls of one exit agree in the middle, and bounds cover, cell by cell and pooled."""
    counted = [row for row in found if row["coverage"] is not None]
    apart = [r for r in found if r["network"] == "one exit" and r["stream_over_calls"] is not None]
    agree = all(abs(row["stream_over_calls"] - 1) <= ALLOWED for row in apart)
    return agree and all(row["coverage"] >= CELL for row in counted) and (pooled(found) or 1.0) >= POOLED


def pooled(found: Sequence[Record], name: str = "coverage") -> float | None:
    """The share of bounds over all cells that cover, None where all were refused."""
    counted = [(row[name], row["n"] - row["refused"]) for row in found if row[name] is not None]
    return sum(share * n for share, n in counted) / sum(n for _, n in counted) if counted else None


def show(found: Sequence[Record]) -> None:
    """Print the table."""
    print(
        f"{'network':<10}{'statistic':<10}{'busy':>5}{'n':>5}{'refused':>8}{'stream over calls':>26}{'in 5 %':>8}"
        f"{'coverage':>10}{'of session':>11}{'value/truth':>12}{'upper/value':>12}"
    )
    for row in found:
        names = ("stream_over_calls_min", "stream_over_calls", "stream_over_calls_max")
        ratio = " ".join(_number(row[name]) for name in names)
        print(
            f"{row['network']:<10}{row['statistic']:<10}{row['busy']:>5}{row['n']:>5}{row['refused']:>8}{ratio:>26}"
            f"{_number(row['within_5_percent']):>8}{_number(row['coverage']):>10}"
            f"{_number(row['session_coverage']):>11}{_number(row['value_over_truth']):>12}"
            f"{_number(row['upper_over_value']):>12}"
        )
    of_session = _number(pooled(found, "session_coverage"))
    print(f"coverage over all cells {_number(pooled(found))}, of the session {of_session}")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
