"""`nas latency fit|eval`: few-shot transfer of latencies between the devices of a table.

`fit` keeps what was learned in the format of `latency_models.few_shot`, with the names of devices and operators, so
that `eval --prior` refuses a target that was a source and a table of other operators.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from rich.markup import escape

from latency_models import metrics
from latency_models.base import Floats
from latency_models.few_shot import DevicePrior, learn, load, save
from latency_models.table import POOL, LatencyTable, load_table
from nas.errors import InputError
from nas.process.files import atomic_write_bytes, atomic_write_json
from nas.seeds import derive_seed

if TYPE_CHECKING:
    from rich.console import Console

    from latency_models.few_shot import LatencyPosterior

#: The interval that is judged: from the 5 % to the 95 % quantile.
_TAIL: Final = 0.05
_LEVEL: Final = 1 - 2 * _TAIL
#: Readings below which there is nothing to adapt to, and networks below which there is nothing to judge.
_FEWEST_SAMPLES, _FEWEST_JUDGED = 2, 10

#: What is printed: the heading, the name in JSON, and how it is written.
_COLUMNS: Final[tuple[tuple[str, str, str], ...]] = (
    ("Spearman", "spearman", "{:.3f}"),
    ("Kendall", "kendall", "{:.3f}"),
    ("median error", "median_error", "{:.1%}"),
    ("within 10 %", "within_10", "{:.1%}"),
    ("90 % coverage", "coverage_90", "{:.1%}"),
)


def fit(args: argparse.Namespace, console: Console) -> int:
    """Learn a prior from the sources and write it."""
    table = _table(args.table)
    kept = _sources(args.table, table, _devices(args.sources, "--sources"), _pool(args, table))
    data = io.BytesIO()
    save(_learn(args.table, kept), data)
    atomic_write_bytes(Path(args.out), data.getvalue())
    console.print(
        f"{escape(args.out)}: learned from {len(kept)} networks on {len(kept.devices)} devices: "
        f"{', '.join(kept.devices)}; use it: nas latency eval TABLE.npz --prior {escape(args.out)} --targets ..."
    )
    return 0


def evaluate(args: argparse.Namespace, console: Console) -> int:
    """Judge the transfer to each target, over all of its networks that were not among the samples."""
    from rich.table import Table

    table = _table(args.table)
    targets, pool = _devices(args.targets, "--targets"), _pool(args, table)
    sources: LatencyTable | DevicePrior
    if args.prior is not None:
        learned_from, sources = args.prior, _prior(args.prior)
    else:
        learned_from = args.table
        sources = _sources(args.table, table, _devices(args.sources, "--sources"), pool)
    if both := [device for device in targets if device in sources.devices]:
        raise InputError(f"--targets {','.join(both)}: also a source; what is learned from cannot be judged on")
    if args.seeds < 1:
        raise InputError(f"--seeds {args.seeds}: at least one draw is needed")
    for device in targets:
        _check_target(args, table, device, pool)
    prior = sources if isinstance(sources, DevicePrior) else _learn(learned_from, sources)
    try:
        candidates = prior.candidates(table.ops, table.op_names)
    except ValueError as error:
        raise InputError(f"{args.table} does not go with {learned_from}: {error}") from error
    shown = Table("target", *(heading for heading, _, _ in _COLUMNS), box=None, header_style="bold")
    rows = []
    for device in targets:
        measured = table.column(device)
        draws = [
            _judged(lambda i, s: prior.adapt(candidates, i, s), measured, pool, args.samples, seed)
            for seed in range(args.seeds)
        ]
        row = _summary(draws)
        rows.append({"target": device, "method": "ours", "samples": args.samples, **row})
        shown.add_row(device, *(_cell(row, name, style) for _, name, style in _COLUMNS))
    mean = {name: float(np.mean([row[name] for row in rows])) for _, name, _ in _COLUMNS}
    shown.add_row("mean", *(style.format(mean[name]) for _, name, style in _COLUMNS), style="bold")
    console.print(shown)
    spread = f"± over {args.seeds} draws" if args.seeds > 1 else "one draw, so the spread over draws is not known"
    console.print(
        f"{args.samples} networks of a target measured, drawn from the first {pool}; judged on all others; "
        f"{spread}; learned from {', '.join(prior.devices) or 'devices without names'}"
    )
    if args.json is not None:
        atomic_write_json(Path(args.json), {"rows": rows})
    return 0


def _table(path: str) -> LatencyTable:
    if not Path(path).is_file():
        raise InputError(f"there is no table {path!r}; give an .npz with latency_ms, devices and ops")
    try:
        return load_table(path)
    except ValueError as error:
        raise InputError(str(error)) from error


def _prior(path: str) -> DevicePrior:
    if not Path(path).is_file():
        raise InputError(f"there is no prior {path!r}; give what `nas latency fit` wrote")
    try:
        return load(path)
    except ValueError as error:
        raise InputError(f"{error}; give what `nas latency fit` wrote") from error


def _devices(text: str, option: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise InputError(f"{option} {text!r}: name at least one device, several with commas between")
    if len(set(names)) != len(names):
        raise InputError(f"{option} {text}: a device is named twice")
    return names


def _pool(args: argparse.Namespace, table: LatencyTable) -> int:
    pool = min(POOL, len(table)) if args.pool is None else args.pool
    if not 1 <= pool <= len(table):
        raise InputError(f"--pool {pool}: {args.table} has {len(table)} networks; give a number from 1 to that")
    return int(pool)


def _sources(path: str, table: LatencyTable, sources: tuple[str, ...], pool: int) -> LatencyTable:
    """The first `pool` networks on the sources alone."""
    try:
        latency_s = table.columns(sources)[:pool]
        columns = [table.index(device) for device in sources]
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error
    if empty := [device for device, column in zip(sources, latency_s.T, strict=True) if not np.isfinite(column).any()]:
        raise InputError(f"{path}: source {empty[0]} was not measured on the first {pool} networks; raise --pool")
    return LatencyTable(
        latency_s=latency_s,
        devices=sources,
        ops=table.ops[:pool],
        op_names=table.op_names,
        families=tuple(table.families[column] for column in columns) if table.families else (),
        batch=tuple(table.batch[column] for column in columns) if table.batch else (),
        arch_str=table.arch_str[:pool],
    )


def _learn(path: str, sources: LatencyTable) -> DevicePrior:
    try:
        return learn(sources.ops, sources.latency_s, op_names=sources.op_names, devices=sources.devices)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error


def _check_target(args: argparse.Namespace, table: LatencyTable, device: str, pool: int) -> None:
    try:
        known = np.isfinite(table.column(device))
    except ValueError as error:
        raise InputError(f"{args.table}: {error}") from error
    if not _FEWEST_SAMPLES <= args.samples <= known[:pool].sum():
        raise InputError(
            f"--samples {args.samples}: {device} was measured on {known[:pool].sum()} of the first {pool} networks; "
            f"give a number from {_FEWEST_SAMPLES} to that"
        )
    if known.sum() - args.samples < _FEWEST_JUDGED:
        raise InputError(
            f"{args.table}: {device} was measured on {known.sum()} networks; with {args.samples} of them as samples "
            f"fewer than {_FEWEST_JUDGED} are left to judge on"
        )


def _judged(
    adapt: Callable[[Any, Floats], LatencyPosterior], measured: Floats, pool: int, samples: int, seed: int
) -> dict[str, float]:
    """The figures of one draw of the samples."""
    known = np.flatnonzero(np.isfinite(measured[:pool]))
    drawn = np.random.default_rng(derive_seed(seed, "samples")).choice(known, samples, replace=False)
    posterior = adapt(drawn, measured[drawn])
    rest = measured.copy()
    rest[drawn] = np.nan
    low, high = posterior.quantile_s(_TAIL), posterior.quantile_s(1 - _TAIL)
    return {
        "spearman": metrics.spearman(posterior.mean_s, rest),
        "kendall": metrics.kendall(posterior.mean_s, rest),
        "median_error": metrics.median_relative_error(posterior.mean_s, rest),
        "within_10": metrics.within(posterior.mean_s, rest),
        "coverage_90": metrics.coverage(low, high, rest),
        "interval_width": metrics.interval_width(low, high, rest),
        "interval_score": metrics.interval_score(low, high, rest, _LEVEL),
    }


def _summary(draws: list[dict[str, float]]) -> dict[str, float | None]:
    """Mean and standard deviation of each figure over the draws; one draw has no deviation."""
    row: dict[str, float | None] = {}
    for name in draws[0]:
        values = [draw[name] for draw in draws]
        row[name] = float(np.mean(values))
        row[f"{name}_std"] = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return row


def _cell(row: dict[str, float | None], name: str, style: str) -> str:
    spread = row[f"{name}_std"]
    return style.format(row[name]) + ("" if spread is None else f" ± {style.format(spread)}")
