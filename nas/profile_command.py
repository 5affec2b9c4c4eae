"""`nas profile`: what the command line says, checked, and what was found, printed."""

from __future__ import annotations

import argparse
import inspect
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from rich.markup import escape

from hardware_profiles import Target
from hardware_profiles.registry import shipped_as
from nas import registry
from nas.devices.profile_store import CALIBRATION, FEWEST, READINGS, TABLE, Setup
from nas.devices.profiling import Result
from nas.devices.profiling import profile as measure
from nas.errors import InputError
from nas.process import interrupt
from nas.process.files import RunFolderError
from nas.tolerances import REFERENCE_DRIFT
from nas.units import format_seconds
from search_spaces import SPACES

if TYPE_CHECKING:
    from rich.console import Console

_MESSAGE: Final = "nas: interrupted; the same command goes on from here"
_INPUT: Final = (1, 28, 28)
#: Channels where only the height and width are said: the small data sets are grey.
_GREY: Final = 28
#: A relative error of the calibration above which it is of little use.
_POOR: Final = 0.25


def profile(args: argparse.Namespace, console: Console) -> int:
    """Measure, and say what came out and how to use it; exit code 0, or 4 where interrupted."""
    setup = _setup(args)
    try:
        with interrupt.deferred(message=_MESSAGE):
            found = _measured(args, setup, console)
    except KeyboardInterrupt:
        print(_MESSAGE, file=sys.stderr)  # noqa: T201
        return interrupt.EXIT_CODE
    except RunFolderError as error:
        raise InputError(str(error).replace("continue with --resume", "give the same command again")) from error
    _say(args, setup, found, console)
    return 0


def _measured(args: argparse.Namespace, setup: Setup, console: Console) -> Result:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("networks measured", total=args.networks)
        return measure(
            Path(args.out), setup, args.networks, lambda done, total: bar.update(task, completed=done, total=total)
        )


def _setup(args: argparse.Namespace) -> Setup:
    """The command line as a setup; raises InputError (or ProfileError) for what cannot be."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9_]*", args.name):
        raise InputError(f"the name {args.name!r} cannot be that of a device; use lower-case letters, digits and _")
    if args.name == "host":
        raise InputError("the name 'host' is this machine as it is; choose another, such as 'my_board'")
    if (taken := shipped_as(args.name)) is not None:
        raise InputError(
            f"the name {args.name!r} is that of a shipped device, {taken}; choose another, such as 'my_board'"
        )
    if args.networks < FEWEST:
        raise InputError(f"--networks {args.networks}: at least {FEWEST} are needed, or there is no error bar")
    if args.classes < 2:
        raise InputError(f"--classes {args.classes}: classifying needs at least 2")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if args.threads > cores:
        raise InputError(f"--threads {args.threads}: this process may use {cores} cores; more threads only wait")
    reference = registry.resolve(args.space, SPACES, "search space")
    arguments: dict[str, Any] = {}
    if args.table is not None:
        if "table" not in inspect.signature(registry.load(reference)).parameters:
            raise InputError(f"--table {args.table}: the space {args.space} has no tables; leave it out")
        arguments["table"] = args.table
    target = Target(args.name, args.runner, args.threads, args.batch, power_mode=args.power_mode)
    setup = Setup(target, reference, arguments, _input(args), args.classes, args.seed)
    setup.space()
    return setup


def _input(args: argparse.Namespace) -> tuple[int, ...]:
    if args.input is not None:
        sides = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})x([1-9]\d{0,4})", args.input)
        if not sides:
            raise InputError(f"--input {args.input!r}: write channels, height and width, such as 3x224x224")
        return tuple(int(side) for side in sides.groups())
    if args.table is None:
        return _INPUT
    sides = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", args.table)
    if not sides:
        raise InputError(f"--table {args.table!r}: write height and width, such as 28x28, or give --input")
    height, width = (int(side) for side in sides.groups())
    return (1 if height <= _GREY else 3, height, width)


def _say(args: argparse.Namespace, setup: Setup, found: Result, console: Console) -> None:
    rows = [reading.row for reading in found.readings]
    seconds = np.array([row.reach_s[-1] for row in rows])
    fitted = found.model.calibration.networks
    noise = found.model.calibration.fit.noise if fitted >= FEWEST else None
    drift = max(exit_.drift for row in rows for exit_ in row.exits)
    disturbed = max(row.disturbed for row in rows)
    lost = sum(bool(row.refused) for row in rows)
    done = f"{found.taken} readings taken" if found.taken else "already finished, nothing was measured"
    target = setup.target
    console.print(f"[bold]{target.device}[/bold]: {escape(found.folder.name)} with {found.head.runtime}: {done}")
    lines = {
        "networks": f"{len(rows)}, {format_seconds(seconds.min())} to {format_seconds(seconds.max())}",
        "error": f"not known ({fitted} networks are too few to leave one out)"
        if noise is None
        else f"{noise:.1%} (root mean square, each network left out of the fit in turn)",
        "unstable": f"{found.unstable} of {len(rows)} (core shared beside up to {disturbed:.0%} of the readings of a "
        f"network; the reference network moved by up to {drift:.1%})",
        "contended": f"{sum(row.contended for row in rows)} of {len(rows)} (others used the core: CPU time was taken)"
        + (f"; {lost} not measurable: {next(row.refused for row in rows if row.refused)}" if lost else ""),
        "governor": _governor(found),
    }
    for label, text in lines.items():
        console.print(f"  {label:<10} {text}")
    for warning in _warnings(found, noise):
        console.print(f"[yellow]{warning}[/]")
    console.print(f"written: {escape(str(Path(args.out) / (target.device + '.yaml')))}")
    console.print(f"         {escape(str(found.folder))}/ with {READINGS}, {CALIBRATION}, {TABLE}")
    if target.runner == "onnxruntime":
        device = target.device if args.out == "hardware_profiles" else Path(args.out) / f"{target.device}.yaml"
        more = f", power_mode: {target.power_mode}" if target.power_mode else ""
        console.print(
            f"use it:  target: {{device: {escape(str(device))}, runner: {target.runner}, threads: {target.threads}, "
            f"batch: {target.batch}{escape(more)}}}"
        )


def _governor(found: Result) -> str:
    known = [reading.row.conditions for reading in found.readings if reading.row.conditions is not None]
    governors = sorted({c.governor for c in known if c.governor})
    clocks = [hertz for c in known if c.clock_hz for hertz in c.clock_hz]
    text = ", ".join(governors) or "not readable here"
    return text + (f"; clock {min(clocks) / 1e9:.2f} to {max(clocks) / 1e9:.2f} GHz" if clocks else "")


def _warnings(found: Result, noise: float | None) -> list[str]:
    said = []
    if found.unstable:
        said.append(
            f"This machine is not stable: while {found.unstable} of {len(found.readings)} networks were measured, and "
            f"measured again, the core was shared or its clock moved by over {REFERENCE_DRIFT:.0%}. End other "
            "programs, fix the clock (governor performance), let it cool, then delete the folder below and measure "
            "again."
        )
    governors = {r.row.conditions.governor for r in found.readings if r.row.conditions is not None}
    if governors - {None, "performance"}:
        said.append("The frequency governor is not `performance`: latencies depend on what ran before them.")
    if noise is not None and noise > _POOR:
        said.append("The error is that of a guess; more networks (--networks 20) or a quieter machine may help.")
    return said
