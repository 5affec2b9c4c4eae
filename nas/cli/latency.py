"""`nas latency fit|eval`: few-shot transfer of latencies between the devices of a table.

`fit` keeps what was learned in the format of `latency_models.few_shot`, with the names of devices and operators, so
that `eval --prior` refuses a target that was a source and a table of other operators.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

from nas.cli import options
from nas.cli.console import open_console
from nas.cli.exit_codes import OK
from nas.errors import InputError

if TYPE_CHECKING:
    from latency_models.few_shot import DevicePrior
    from latency_models.table import LatencyTable

#: What is printed: the heading, the name in JSON, and how it is written.
_COLUMNS: Final[tuple[tuple[str, str, str], ...]] = (
    ("Spearman", "spearman", "{:.3f}"),
    ("Kendall", "kendall", "{:.3f}"),
    ("median error", "median_error", "{:.1%}"),
    ("within 10 %", "within_10", "{:.1%}"),
    ("90 % coverage", "coverage_90", "{:.1%}"),
)


def add(commands: options.Commands) -> None:
    """Add `latency` with its actions."""
    text = "few-shot latency: learn from devices of a table, judge on others"
    actions = commands.add_parser("latency", help=text).add_subparsers(dest="action", required=True, metavar="ACTION")
    text = "learn a prior from the source devices of a table"
    action = actions.add_parser("fit", help=text, description=text)
    _add_table(action)
    action.add_argument("--sources", required=True, metavar="A,B", help="devices to learn from")
    options.add_out(action, "PRIOR.npz", "where to write the prior", required=True)
    action.set_defaults(handler=fit)
    text = "learn from source devices, take a few readings of target devices, judge the rest"
    action = actions.add_parser("eval", help=text, description=text)
    _add_table(action)
    given = action.add_mutually_exclusive_group(required=True)
    given.add_argument("--sources", metavar="A,B", help="devices of the table to learn from")
    given.add_argument("--prior", metavar="PRIOR.npz", help="what `nas latency fit` wrote, instead of sources")
    action.add_argument("--targets", required=True, metavar="C,D", help="devices to judge on")
    action.add_argument("--samples", type=int, default=10, metavar="K", help="readings of a target (default: 10)")
    action.add_argument("--seeds", type=int, default=5, metavar="N", help="draws of the readings (default: 5)")
    action.add_argument("--json", metavar="OUT", help="write the figures there")
    action.set_defaults(handler=evaluate)


def _add_table(action: argparse.ArgumentParser) -> None:
    action.add_argument("table", metavar="TABLE.npz", help="latency_ms [n, devices], devices, ops [n, positions]")
    action.add_argument("--pool", type=int, metavar="N", help="learn from the first N networks alone (default: 900)")


def fit(args: argparse.Namespace) -> int:
    """`nas latency fit`: learn a prior from the sources and write it."""
    import io

    from latency_models.few_shot import save
    from nas.cli import transfer
    from nas.process.files import atomic_write_bytes

    table = transfer.read_table(args.table)
    pool = transfer.pool_of(args.table, table, args.pool)
    kept = transfer.of_sources(args.table, table, _devices(args.sources, "--sources"), pool)
    data = io.BytesIO()
    save(transfer.learn(args.table, kept), data)
    atomic_write_bytes(Path(args.out), data.getvalue())
    open_console().print(
        f"{args.out}: learned from {len(kept)} networks on {len(kept.devices)} devices: "
        f"{', '.join(kept.devices)}; use it: nas latency eval TABLE.npz --prior {args.out} --targets ..."
    )
    return OK


def evaluate(args: argparse.Namespace) -> int:
    """`nas latency eval`: judge the transfer to each target, over all of its networks that are no samples."""
    import numpy as np
    from rich.table import Table

    from latency_models.few_shot import DevicePrior
    from nas.cli import transfer
    from nas.process.files import atomic_write_json

    console = open_console()
    table = transfer.read_table(args.table)
    targets, pool = _devices(args.targets, "--targets"), transfer.pool_of(args.table, table, args.pool)
    sources: LatencyTable | DevicePrior
    if args.prior is not None:
        learned_from, sources = args.prior, transfer.read_prior(args.prior)
    else:
        learned_from = args.table
        sources = transfer.of_sources(args.table, table, _devices(args.sources, "--sources"), pool)
    if both := [device for device in targets if device in sources.devices]:
        raise InputError(f"--targets {','.join(both)}: also a source; what is learned from cannot be judged on")
    if args.seeds < 1:
        raise InputError(f"--seeds {args.seeds}: at least one draw is needed")
    for device in targets:
        transfer.require_readings(args.table, table, device, pool, args.samples)
    prior = sources if isinstance(sources, DevicePrior) else transfer.learn(learned_from, sources)
    try:
        candidates = prior.candidates(table.ops, table.op_names)
    except ValueError as error:
        raise InputError(f"{args.table} does not go with {learned_from}: {error}") from error
    shown = Table("target", *(heading for heading, _, _ in _COLUMNS), box=None, header_style="bold")
    rows = []
    for device in targets:
        measured = table.column(device)
        draws = [
            transfer.score(lambda i, s: prior.adapt(candidates, i, s), measured, pool, args.samples, seed)
            for seed in range(args.seeds)
        ]
        row = transfer.summary(draws)
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
    return OK


def _devices(text: str, option: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise InputError(f"{option} {text!r}: name at least one device, several with commas between")
    if len(set(names)) != len(names):
        raise InputError(f"{option} {text}: a device is named twice")
    return names


def _cell(row: dict[str, float | None], name: str, style: str) -> str:
    spread = row[f"{name}_std"]
    return style.format(row[name]) + ("" if spread is None else f" ± {style.format(spread)}")
