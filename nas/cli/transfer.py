"""What `nas latency` works with: a table read and checked, a prior learned from sources, its transfer judged.

Loads numpy and the latency models; the command line imports it where it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from latency_models import few_shot, metrics
from latency_models.base import Floats
from latency_models.few_shot import DevicePrior
from latency_models.table import POOL, LatencyTable, load_table
from nas.errors import InputError
from nas.seeds import derive_seed

if TYPE_CHECKING:
    from latency_models.few_shot import LatencyPosterior

#: The interval that is judged: from the 5 % to the 95 % quantile.
_TAIL: Final = 0.05
_LEVEL: Final = 1 - 2 * _TAIL
#: Readings below which there is nothing to adapt to, and networks below which there is nothing to judge.
_FEWEST_SAMPLES, _FEWEST_JUDGED = 2, 10


def read_table(path: str) -> LatencyTable:
    """The table in a file; raises InputError."""
    if not Path(path).is_file():
        raise InputError(f"there is no table {path!r}; give an .npz with latency_ms, devices and ops")
    try:
        return load_table(path)
    except ValueError as error:
        raise InputError(str(error)) from error


def read_prior(path: str) -> DevicePrior:
    """The prior in a file; raises InputError."""
    if not Path(path).is_file():
        raise InputError(f"there is no prior {path!r}; give what `nas latency fit` wrote")
    try:
        return few_shot.load(path)
    except ValueError as error:
        raise InputError(f"{error}; give what `nas latency fit` wrote") from error


def pool_of(path: str, table: LatencyTable, asked: int | None) -> int:
    """How many networks are learned from: the first `asked`; raises InputError."""
    pool = min(POOL, len(table)) if asked is None else asked
    if not 1 <= pool <= len(table):
        raise InputError(f"--pool {pool}: {path} has {len(table)} networks; give a number from 1 to that")
    return pool


def of_sources(path: str, table: LatencyTable, sources: tuple[str, ...], pool: int) -> LatencyTable:
    """The first `pool` networks on the sources alone; raises InputError."""
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


def learn(path: str, sources: LatencyTable) -> DevicePrior:
    """What the networks on the sources teach; raises InputError."""
    try:
        return few_shot.learn(sources.ops, sources.latency_s, op_names=sources.op_names, devices=sources.devices)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error


def require_readings(path: str, table: LatencyTable, device: str, pool: int, samples: int) -> None:
    """Raise InputError unless a target has enough readings to take samples of, and others to judge on."""
    try:
        known = np.isfinite(table.column(device))
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error
    if not _FEWEST_SAMPLES <= samples <= known[:pool].sum():
        raise InputError(
            f"--samples {samples}: {device} was measured on {known[:pool].sum()} of the first {pool} networks; "
            f"give a number from {_FEWEST_SAMPLES} to that"
        )
    if known.sum() - samples < _FEWEST_JUDGED:
        raise InputError(
            f"{path}: {device} was measured on {known.sum()} networks; with {samples} of them as samples "
            f"fewer than {_FEWEST_JUDGED} are left to judge on"
        )


def score(
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


def summary(draws: list[dict[str, float]]) -> dict[str, float | None]:
    """Mean and standard deviation of each figure over the draws; one draw has no deviation."""
    row: dict[str, float | None] = {}
    for name in draws[0]:
        values = [draw[name] for draw in draws]
        row[name] = float(np.mean(values))
        row[f"{name}_std"] = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return row
