"""`nas run`, `nas search` and the single stages: a run, from its experiment or from its folder."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from nas.cli import options
from nas.cli.console import open_console
from nas.cli.exit_codes import INTERRUPTED, NOT_KEPT, OK
from nas.errors import InputError
from nas.process import interrupt

if TYPE_CHECKING:
    from rich.console import Console

    from nas.run.context import Context
    from nas.stages.order import Ended

_STAGES: Final = {
    "train": "choose the winners by measuring candidates, and train them",
    "export": "write the winners as ONNX and TVM artefacts",
    "verify": "run the artefacts: numbers, latency, accuracy",
    "report": "write the report page, of a run or of a sweep",
}


def add(commands: options.Commands) -> None:
    """Add `run`, `search` and a command per stage."""
    for name, handler, text in (
        ("run", run, "do everything: calibrate, train the supernet, search, train winners, export, verify, report"),
        ("search", search, "only calibrate, train the supernet and search"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("experiment", metavar="EXPERIMENT.yaml", help="the experiment file")
        options.add_out(command, "RUN", "run folder (default: runs/NAME)")
        options.add_resume(command, "go on with the run that is in the folder, if any")
        options.add_seed(command, "replaces the experiment's seed")
        options.add_settings(command, "replace a key, such as supernet.epochs=5")
        text = "as the cell of that name in the sweep of this folder, whose scheduler may stop it early"
        command.add_argument("--cell-of", metavar="SWEEP", help=text)
        options.add_plugins(command)
        command.set_defaults(handler=handler)
    for name, text in _STAGES.items():
        command = commands.add_parser(name, help=text, description=f"In an existing run: {text}.")
        command.add_argument("run", metavar="RUN", help="the run folder")
        options.add_plugins(command)
        command.set_defaults(handler=stage, device=None)
        if name == "verify":
            text = "measure the winners there instead, beside the verdicts: a board that was added, or host"
            command.add_argument("--device", metavar="NAME", help=text)


def run(args: argparse.Namespace) -> int:
    """`nas run`: every stage, in order."""
    from nas.stages import order

    return _start(args, order.run)


def search(args: argparse.Namespace) -> int:
    """`nas search`: up to the front."""
    from nas.stages import order

    return _start(args, order.search)


@interrupt.deferred(INTERRUPTED)
def _start(args: argparse.Namespace, work: Callable[[Context], Ended]) -> int:
    from nas.cli import watching
    from nas.config import parse
    from nas.outlook.rehearsal import opened
    from nas.run.folder import RunFolder
    from nas.run.opening import open_context
    from nas.sweep.layout import SweepFiles
    from nas.sweep.rungs import rungs_of
    from nas.sweep.sweep_file import is_sweep_file

    if is_sweep_file(Path(args.experiment)):
        raise InputError(f"{args.experiment} is a sweep, and no experiment: give it to `nas sweep`")
    overrides = [*args.set, *([f"seed={args.seed}"] if args.seed is not None else [])]
    experiment = parse.load(Path(args.experiment), tuple(overrides), options.granted(args))
    out = Path(args.out or Path("runs") / experiment.name)
    # --resume on a folder that is not there yet starts the run, so that one command line serves both.
    resume = args.resume and out.is_dir() and any(out.iterdir())
    rungs = None
    if args.cell_of is not None:
        sweep = SweepFiles(Path(args.cell_of))
        rungs = rungs_of(sweep, experiment.name)
        if out.resolve() != (own := sweep.cell(experiment.name).root).resolve():
            raise InputError(f"--cell-of {args.cell_of}: its cell {experiment.name} is run in {own}, not in {out}")
    found = opened(experiment, resume)
    with RunFolder.open(out, resume=resume) as folder:
        console = open_console()
        ended = work(open_context(experiment, found, folder, watching.voice(console), rungs=rungs))
    watching.show(console, ended)
    return OK if ended.kept else NOT_KEPT


@interrupt.deferred(INTERRUPTED)
def stage(args: argparse.Namespace) -> int:
    """`nas train|export|verify|report`: one stage of an existing run, or the page of a sweep."""
    from rich.text import Text

    from nas.cli import watching
    from nas.config import parse
    from nas.run.folder import RunFolder
    from nas.run.layout import RunFiles
    from nas.run.opening import materials, open_context
    from nas.stages import order
    from nas.sweep.layout import SweepFiles, is_sweep
    from nas.sweep.page import write_page

    files = RunFiles(Path(args.run))
    if args.command == "report" and is_sweep(files.root):
        open_console().print(Text(f"report: {write_page(SweepFiles(files.root))}"))
        return OK
    if not files.experiment.is_file():
        raise InputError(f"{files.root} is not a run: it has no {files.experiment.name}; start one with `nas run`")
    settings = parse.load(files.experiment, plugins=options.granted(args))
    found = materials(settings, begun=True)
    with RunFolder.open(files.root, resume=True) as folder:
        console = open_console()
        context = open_context(settings, found, folder, watching.voice(console))
        if args.device is not None:
            return _elsewhere(context, args.device, console)
        ended = order.one_stage(args.command, context)
    watching.show(console, ended)
    return OK if ended.kept else NOT_KEPT


def _elsewhere(context: Context, device: str, console: Console) -> int:
    """Measure the winners on another device, and say what came of it; 0 where all are within their budgets."""
    from rich.text import Text

    from nas.devices.base import DeviceLost
    from nas.run.soundness import require_sound
    from nas.stages.elsewhere import measure_elsewhere

    require_sound(context.files)
    try:
        rows = measure_elsewhere(context, device)
    except DeviceLost as error:
        raise InputError(f"{error}; give the same command again when it answers") from None
    for row in rows:
        console.print(Text(row.sentence))
    return OK if all(row.within for row in rows) else NOT_KEPT
