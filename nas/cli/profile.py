"""`nas profile`: what the command line says, checked, and what was found, printed."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from nas.cli import boards, options
from nas.cli.console import open_console
from nas.cli.exit_codes import INTERRUPTED, OK
from nas.errors import InputError
from nas.process import interrupt

if TYPE_CHECKING:
    from rich.console import Console

    from nas.devices.profile_store import Setup
    from nas.devices.profiling import ProfileResult

_MESSAGE: Final = "nas: interrupted; the same command goes on from here"
_FOLDER: Final = "hardware_profiles"
_INPUT: Final = (1, 28, 28)
#: Channels where only the height and width are said: the small data sets are grey.
_GREY: Final = 28
#: A relative error of the calibration above which it is of little use.
_POOR: Final = 0.25


def add(commands: options.Commands) -> None:
    """Add `profile`."""
    text = "measure this machine or a board: a device profile, its calibration, a table"
    command = commands.add_parser("profile", help=text)
    command.description = (
        "Measure a few networks on this machine, or on the board that was added by that name, and write a device "
        "profile with its calibration. Interrupted or killed: the same command goes on with what is missing."
    )
    command.add_argument("name", metavar="NAME", help="what the device will be called: a-z, 0-9, _")
    command.add_argument(
        "--runner",
        default="onnxruntime",
        metavar="NAME|MODULE:NAME",
        help="what runs the networks: onnxruntime, tvm or your own (default: onnxruntime)",
    )
    command.add_argument("--networks", type=int, default=10, metavar="N", help="networks to measure (default: 10)")
    command.add_argument(
        "--space", default="mobile", metavar="SPACE", help="search space they are of (default: mobile)"
    )
    command.add_argument("--table", metavar="HxW", help="table of the space mobile (default: that of the input)")
    command.add_argument("--input", metavar="CxHxW", help="input of the networks (default: 1x28x28, or as the table)")
    command.add_argument("--classes", type=int, default=10, metavar="N", help="classes (default: 10)")
    command.add_argument("--threads", type=int, default=1, metavar="N", help="threads within an operator (default: 1)")
    command.add_argument("--batch", type=int, default=1, metavar="N", help="samples per call (default: 1)")
    command.add_argument("--power-mode", metavar="LABEL", help="a label of your own, such as 15W, for the target")
    options.add_seed(command, "which networks are drawn (default: 0)", default=0)
    options.add_out(command, "DIR", "folder (default: hardware_profiles)", default=_FOLDER)
    options.add_plugins(command)
    command.set_defaults(handler=profile)


def profile(args: argparse.Namespace) -> int:
    """Measure, and say what came out and how to use it."""
    from nas.devices.base import DeviceLost
    from nas.process.files import RunFolderError

    setup, console = _setup(args), open_console()
    try:
        with interrupt.deferred(INTERRUPTED, _MESSAGE):
            found = _measured(args, setup, console)
    except RunFolderError as error:
        raise InputError(str(error).replace("continue with --resume", "give the same command again")) from error
    except DeviceLost as error:
        print(f"nas: {error}; {_MESSAGE.removeprefix('nas: interrupted; ')}", file=sys.stderr)
        return INTERRUPTED
    _say(args, setup, found, console)
    return OK


def _measured(args: argparse.Namespace, setup: Setup, console: Console) -> ProfileResult:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from nas.devices.profiling import profile as measure
    from nas.devices.site import site_of

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    site = site_of(setup.target, setup.plugins)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("networks measured", total=args.networks)
        return measure(
            Path(args.out),
            setup,
            args.networks,
            lambda done, total: bar.update(task, completed=done, total=total),
            site,
        )


def _setup(args: argparse.Namespace) -> Setup:
    """The command line as a setup; raises InputError (or ProfileError) for what cannot be."""
    import inspect

    from hardware_profiles import Target
    from nas.config import registry
    from nas.config.kinds import RUNNER
    from nas.devices.board import addresses
    from nas.devices.profile_store import FEWEST, Setup
    from search_spaces import SPACES

    boards.require_name(args.name, board=args.name in addresses.known())
    if args.networks < FEWEST:
        raise InputError(f"--networks {args.networks}: at least {FEWEST} are needed, or there is no error bar")
    if args.classes < 2:
        raise InputError(f"--classes {args.classes}: classifying needs at least 2")
    reference = registry.resolve(args.space, SPACES, "search space")
    granted = options.granted(args)
    granted.admit(registry.resolve(args.runner, RUNNER.known, "runner"))
    arguments: dict[str, Any] = {}
    if args.table is not None:
        if "table" not in inspect.signature(registry.load(reference, granted)).parameters:
            raise InputError(f"--table {args.table}: the space {args.space} has no tables; leave it out")
        arguments["table"] = args.table
    target = Target(args.name, args.runner, args.threads, args.batch, power_mode=args.power_mode)
    setup = Setup(target, reference, arguments, _input(args), args.classes, args.seed, granted)
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


def _say(args: argparse.Namespace, setup: Setup, found: ProfileResult, console: Console) -> None:
    import numpy as np
    from rich.text import Text

    from nas.config.units import format_seconds
    from nas.devices.profile_store import CALIBRATION, FEWEST, READINGS, TABLE

    rows = [reading.row for reading in found.readings]
    seconds = np.array([row.cumulative_s[-1] for row in rows])
    fitted = found.model.error.networks
    noise = found.model.error.relative if fitted >= FEWEST else None
    drift = max(exit_.drift for row in rows for exit_ in row.exits)
    disturbed = max(row.disturbed for row in rows)
    lost = sum(bool(row.refused) for row in rows)
    done = f"{found.taken} readings taken" if found.taken else "already finished, nothing was measured"
    target = setup.target
    console.print(Text.assemble((target.device, "bold"), f": {found.folder.name} with {found.head.runtime}: {done}"))
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
        console.print(warning, style="yellow")
    console.print(f"written: {Path(args.out) / (target.device + '.yaml')}")
    console.print(f"         {found.folder}/ with {READINGS}, {CALIBRATION}, {TABLE}")
    device = target.device if args.out == _FOLDER else Path(args.out) / f"{target.device}.yaml"
    more = f", power_mode: {target.power_mode}" if target.power_mode else ""
    console.print(
        f"use it:  target: {{device: {device}, runner: {target.runner}, threads: {target.threads}, "
        f"batch: {target.batch}{more}}}"
    )


def _governor(found: ProfileResult) -> str:
    known = [reading.row.conditions for reading in found.readings if reading.row.conditions is not None]
    governors = sorted({c.governor for c in known if c.governor})
    clocks = [hertz for c in known if c.clock_hz for hertz in c.clock_hz]
    text = ", ".join(governors) or "not readable here"
    return text + (f"; clock {min(clocks) / 1e9:.2f} to {max(clocks) / 1e9:.2f} GHz" if clocks else "")


def _warnings(found: ProfileResult, noise: float | None) -> list[str]:
    from nas.tolerances import REFERENCE_DRIFT

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
