"""What each command of the command line does; everything heavy is imported inside."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from nas.errors import InputError
from nas.process import interrupt

if TYPE_CHECKING:
    from rich.console import Console


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
def _start(args: argparse.Namespace, work: object) -> int:
    from nas import config
    from nas.process.files import RunFolder
    from nas.run.context import materials, open_context

    overrides = [*args.set, *([f"seed={args.seed}"] if args.seed is not None else [])]
    experiment = config.load(Path(args.experiment), tuple(overrides))
    out = Path(args.out or Path("runs") / experiment.name)
    # --resume on a folder that is not there yet starts the run, so that one command line serves both.
    resume = args.resume and out.is_dir() and any(out.iterdir())
    found = materials(experiment, begun=resume)
    with RunFolder.open(out, resume=resume) as folder:
        context = open_context(experiment, found, folder, _console())
        return work(context)  # type: ignore[operator, no-any-return]


@interrupt.deferred()
def stage(args: argparse.Namespace) -> int:
    """`nas train|export|verify|report`: one stage of an existing run."""
    from nas import config
    from nas.process.files import EXPERIMENT, RunFolder
    from nas.run.context import materials, open_context
    from nas.stages import order as experiment

    folder_path = Path(args.run)
    if not (folder_path / EXPERIMENT).is_file():
        raise InputError(f"{folder_path} is not a run: it has no {EXPERIMENT}; start one with `nas run`")
    settings = config.load(folder_path / EXPERIMENT)
    found = materials(settings, begun=True)
    with RunFolder.open(folder_path, resume=True) as folder:
        context = open_context(settings, found, folder, _console())
        return experiment.one_stage(args.command, context)


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
    return 0 if all(finding.works for finding in findings if finding.required) else 3


def profile(args: argparse.Namespace) -> int:
    """`nas profile`: measure this machine."""
    from nas.profile_command import profile as measure

    return measure(args, _console())


def latency(args: argparse.Namespace) -> int:
    """`nas latency fit|eval`: few-shot latency from a table."""
    from nas import latency_command

    return {"fit": latency_command.fit, "eval": latency_command.evaluate}[args.action](args, _console())


def check(args: argparse.Namespace) -> int:
    """`nas check`: an experiment file, or the contract of a search space."""
    from rich.markup import escape

    from nas.registry import is_reference
    from search_spaces import SPACES

    console = _console()
    if (args.subject in SPACES or is_reference(args.subject)) and not Path(args.subject).exists():
        from nas.space_check import check_space

        for line in check_space(args.subject):
            console.print(f"[green]ok[/] {escape(line)}")
        return 0
    from nas import config
    from nas.run.context import materials

    experiment = config.load(Path(args.subject))
    found = materials(experiment)
    images = len(found.data.splits.train)
    console.print(
        f"[green]ok[/] {escape(args.subject)}: {images:,} training images of {found.space.input_shape}, "
        f"space {found.space.name} with {len(found.space.genes)} genes, "
        + "; ".join(f"{budget.name}: {budget.describe()}" for budget in experiment.budgets)
    )
    return 0
