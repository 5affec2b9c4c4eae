"""What each command of the command line does; everything heavy is imported inside."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from nas.cli.exit_codes import NOT_KEPT, OK
from nas.errors import InputError
from nas.process import interrupt

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from nas.run.context import Context


def user_errors() -> tuple[type[Exception], ...]:
    """The errors that are the user's to mend: one line, exit code 2, no traceback."""
    from hardware_profiles import ProfileError
    from latency_models import UnpricedOperator
    from search_spaces.operators import ShapeError
    from search_spaces.slots import SpaceError

    return (InputError, ProfileError, ShapeError, SpaceError, UnpricedOperator)


def _console() -> Console:

    from rich.console import Console

    # No line is broken: paths and genomes are there to be copied. Tables in a file or a pipe have room.
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 160
    return Console(highlight=False, soft_wrap=True, width=width)


def run(args: argparse.Namespace) -> int:
    """`nas run`: every stage, in order."""
    from nas.stages.order import run as run_all

    return _start(args, run_all)


def search(args: argparse.Namespace) -> int:
    """`nas search`: up to the front."""
    from nas.stages.order import search as run_search

    return _start(args, run_search)


@interrupt.deferred()
def _start(args: argparse.Namespace, work: Callable[[Context], bool]) -> int:
    from nas.config import parse, plugins
    from nas.run.folder import RunFolder
    from nas.run.opening import materials, open_context

    overrides = [*args.set, *([f"seed={args.seed}"] if args.seed is not None else [])]
    experiment = parse.load(Path(args.experiment), tuple(overrides), plugins.granted(args.plugins))
    out = Path(args.out or Path("runs") / experiment.name)
    # --resume on a folder that is not there yet starts the run, so that one command line serves both.
    resume = args.resume and out.is_dir() and any(out.iterdir())
    found = materials(experiment, begun=resume)
    with RunFolder.open(out, resume=resume) as folder:
        context = open_context(experiment, found, folder, _console())
        return OK if work(context) else NOT_KEPT


@interrupt.deferred()
def stage(args: argparse.Namespace) -> int:
    """`nas train|export|verify|report`: one stage of an existing run."""
    from nas.config import parse, plugins
    from nas.run.folder import RunFolder
    from nas.run.layout import RunFiles
    from nas.run.opening import materials, open_context
    from nas.stages import order

    files = RunFiles(Path(args.run))
    if not files.experiment.is_file():
        raise InputError(f"{files.root} is not a run: it has no {files.experiment.name}; start one with `nas run`")
    settings = parse.load(files.experiment, plugins=plugins.granted(args.plugins))
    found = materials(settings, begun=True)
    with RunFolder.open(files.root, resume=True) as folder:
        context = open_context(settings, found, folder, _console())
        return OK if order.one_stage(args.command, context) else NOT_KEPT


def devices(args: argparse.Namespace) -> int:
    """`nas devices`: a table of profiles, or one profile with the source of every number."""
    from rich.table import Table

    from hardware_profiles import load, names

    console = _console()
    if args.name is None:
        table = Table("id", "name", "peak float32", "bandwidth", "aliases", box=None, header_style="bold")
        for name in names():
            if name == "host":
                table.add_row("host", "this machine, measured when asked for", "", "", "")
                continue
            profile = load(name)
            table.add_row(
                profile.id,
                profile.name,
                f"{profile.peak('float32') / 1e9:,.0f} GFLOP/s",
                f"{profile.bandwidth_bytes_per_s.value / 1e9:,.1f} GB/s",
                ", ".join(profile.aliases),
            )
        console.print(table)
        return 0
    profile = load(args.name)
    console.print(f"[bold]{profile.name}[/bold] ({profile.id}, {profile.kind}, {profile.family})")
    table = Table("quantity", "value", "grade", "source", box=None, header_style="bold")
    for label, quantity in profile.quantities():
        table.add_row(label, f"{quantity.value:,.6g}", quantity.grade, profile.citation(quantity))
    console.print(table)
    for label, value in (
        ("fusions", ", ".join(profile.fusions)),
        ("aliases", ", ".join(profile.aliases)),
        ("TVM target", str(dict(profile.tvm_target or {}))),
    ):
        console.print(f"[bold]{label}[/bold] {value or 'none'}", markup=True)
    for note in profile.notes:
        console.print(f"- {note}")
    return 0


def doctor(args: argparse.Namespace) -> int:
    """`nas doctor`: what works on this machine; exit code 0 if the main path does."""
    from rich.markup import escape

    from nas.doctor import diagnose

    console = _console()
    findings = diagnose()
    for finding in findings:
        mark = "[green]ok[/]" if finding.works else "[red]no[/]" if finding.required else "[yellow]no[/]"
        console.print(f"{mark:>4}  [bold]{finding.what}[/bold]: {escape(finding.detail)}")
    return OK if all(finding.works for finding in findings if finding.required) else NOT_KEPT


def profile(args: argparse.Namespace) -> int:
    """`nas profile`: measure this machine."""
    from nas.profile_command import profile as measure

    return measure(args, _console())


def latency(args: argparse.Namespace) -> int:
    """`nas latency fit|eval`: few-shot latency from a table."""
    from nas import latency_command

    return {"fit": latency_command.fit, "eval": latency_command.evaluate}[args.action](args, _console())


def check(args: argparse.Namespace) -> int:
    """`nas check`: an experiment file, or the contract of something that an experiment names."""
    from rich.markup import escape

    console = _console()
    if not Path(args.subject).exists() and _is_named(args.subject):
        for line in _laws(args):
            console.print(f"[green]ok[/] {escape(line)}")
        return 0
    if args.kind or args.set:
        raise InputError(f"{args.subject} is no name and no `module:name`; --kind and --set are for these")
    from nas.config import parse, plugins
    from nas.run.opening import materials

    experiment = parse.load(Path(args.subject), plugins=plugins.granted(args.plugins))
    found = materials(experiment)
    images = len(found.data.splits.train)
    console.print(
        f"[green]ok[/] {escape(args.subject)}: {images:,} training images of {found.space.input_shape}, "
        f"space {found.space.name} with {len(found.space.genes)} genes, "
        + "; ".join(f"{budget.name}: {budget.describe()}" for budget in experiment.budgets)
    )
    return 0


def _is_named(subject: str) -> bool:
    from nas import testing
    from nas.config.registry import is_reference

    return testing.kind_of_name(subject) is not None or is_reference(subject)


def _laws(args: argparse.Namespace) -> Iterator[str]:
    """The laws that hold for one of ours or for `module:name`, whose module is thereby named, with given arguments."""
    from nas import testing
    from nas.config import parse, plain_yaml, plugins, registry

    own = [args.subject.partition(":")[0]] if registry.is_reference(args.subject) else []
    granted = plugins.granted([*args.plugins, *own])
    name = args.kind.replace("_", " ") if args.kind else testing.kind_of_name(args.subject)
    if name is None:
        name = testing.kind_of(registry.load(args.subject, granted), args.subject)
    data = {"name": args.subject}
    for setting in args.set:
        plain_yaml.override(data, setting)
    part = parse.component(data, testing.KINDS[name], name.replace(" ", "_"), granted)
    return testing.check(name, part.load(), args.subject, part.arguments)
