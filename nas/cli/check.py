"""`nas check`: an experiment or a sweep file, or the contract of something that an experiment names."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from nas.cli import options
from nas.cli.console import open_console
from nas.cli.exit_codes import OK
from nas.errors import InputError

if TYPE_CHECKING:
    from rich.text import Text

#: What can be checked beside experiments; `nas.testing.KINDS` has the same, with blanks, and takes long to import.
KINDS = ("space", "searcher", "optimiser", "latency_model", "runner", "exit_policy", "evaluator", "executor")


def add(commands: options.Commands) -> None:
    """Add `check`."""
    command = commands.add_parser("check", help="check an experiment or a sweep file, or what one names, for mistakes")
    command.description = (
        "Check an experiment file, or every cell of a sweep file; or run the laws that something has to keep which an "
        "experiment names, such as a search space, a searcher or a runner, on one of ours or on your own."
    )
    command.add_argument("subject", metavar="EXPERIMENT.yaml|SWEEP.yaml|NAME|MODULE:NAME")
    command.add_argument("--kind", choices=KINDS, help="what MODULE:NAME is, where its parameters do not say so")
    options.add_settings(command, "replace a key of the experiment, or an argument of what is checked")
    options.add_plugins(command)
    command.set_defaults(handler=check)


def check(args: argparse.Namespace) -> int:
    """`nas check`: one line per thing that is right; raises the error of the first that is not."""
    from nas import testing
    from nas.config.registry import is_reference
    from nas.sweep import sweep_file

    is_named = testing.kind_of_name(args.subject) is not None or is_reference(args.subject)
    if is_named and not Path(args.subject).exists():
        console = open_console()
        try:
            for line in _laws(args):
                console.print(_ok(line))
        finally:
            testing.forget()
    elif sweep_file.is_sweep_file(Path(args.subject)):
        _sweep(args)
    else:
        _experiment(args)
    return OK


def _laws(args: argparse.Namespace) -> Iterator[str]:
    """The laws that hold for one of ours or for `module:name`, with the arguments that are given."""
    from nas import testing
    from nas.config import parse, plain_yaml, registry

    # To name what is to be checked is to allow it to run.
    granted = options.granted(args, *([args.subject.partition(":")[0]] if registry.is_reference(args.subject) else []))
    kind = args.kind.replace("_", " ") if args.kind else testing.kind_of_name(args.subject)
    if kind is None:
        kind = testing.kind_of(registry.load(args.subject, granted), args.subject)
    data = {"name": args.subject}
    for setting in args.set:
        plain_yaml.override(data, setting)
    spec = parse.component(data, testing.KINDS[kind], kind.replace(" ", "_"), granted)
    return testing.check(kind, spec.load(), args.subject, spec.arguments)


def _experiment(args: argparse.Namespace) -> None:
    from nas.cli.checked import show
    from nas.config import parse
    from nas.outlook.forecast import forecasts
    from nas.outlook.rehearsal import rehearsed

    if args.kind:
        raise InputError(f"{args.subject} is no name and no `module:name`; --kind is for these")
    experiment = parse.load(Path(args.subject), tuple(args.set), options.granted(args))
    found = rehearsed(experiment)
    images, space = len(found.materials.data.splits.train), found.context.space
    budgets = "; ".join(f"{budget.name}: {budget.describe()}" for budget in experiment.budgets)
    console = open_console()
    console.print(
        _ok(
            f"{args.subject}: {images:,} training images of {space.input_shape}, "
            f"space {space.name} with {len(space.genes)} genes, {budgets}"
        )
    )
    show(console, found)
    for line in forecasts(found):
        console.print(line)
    out = Path("runs") / experiment.name
    if out.is_dir() and any(out.iterdir()):
        console.print(f"{out} is not empty: `nas run` goes on there with --resume, or begins anew with another --out")


def _sweep(args: argparse.Namespace) -> None:
    from nas.cli.checked import show_sweep, stops
    from nas.outlook.forecast import forecasts
    from nas.sweep import folder, sweep_file
    from nas.sweep.cells import cells_of
    from nas.sweep.comparing import require_stops
    from nas.sweep.estimate import outlook
    from nas.sweep.search import prepared
    from nas.sweep.sharing import planned

    if args.kind:
        raise InputError(f"{args.subject} is no name and no `module:name`; --kind is for these")
    sweep = sweep_file.load(Path(args.subject), args.set)
    if sweep.search is not None:
        sweep, some = prepared(sweep, options.granted(args))
        cells = planned(some)
    else:
        cells = planned(cells_of(sweep, options.granted(args)))
    require_stops(sweep, cells)
    console = open_console()
    with console.status(f"checking {len(cells)} cells"):
        found = outlook(sweep.path, cells)
    if sweep.search is not None:
        how = f"chosen by {sweep.search.by} for {sweep.search.said}"
        console.print(_ok(f"{args.subject}: {sweep.search.samples} cells of {sweep.experiment}, {how}, such as these"))
    else:
        how = "each of which can be carried out"
        console.print(_ok(f"{args.subject}: {len(cells)} cells of {sweep.experiment}, {how}"))
    show_sweep(console, cells, found, None if sweep.search is None else sweep.search.samples)
    if sweep.scheduler is not None:
        console.print(stops(sweep.scheduler, cells))
    for line in dict.fromkeys(line for _, kind in found.kinds for line in forecasts(kind)):
        console.print(line)
    out = folder.path_of(None, sweep.name)
    if out.is_dir() and any(out.iterdir()):
        console.print(f"{out} is not empty: `nas sweep` goes on there with --resume, or begins anew with another --out")


def _ok(line: str) -> Text:
    from rich.text import Text

    return Text.assemble(("ok", "green"), f" {line}")
