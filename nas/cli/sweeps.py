"""`nas sweep` and `nas status`: many runs of one experiment, and how far any of it has come."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from nas.cli import options
from nas.cli.console import open_console
from nas.cli.exit_codes import INTERRUPTED, NOT_KEPT, OK
from nas.errors import InputError
from nas.process import interrupt

if TYPE_CHECKING:
    from rich.console import Console

    from nas.config.plugins import Plugins
    from nas.sweep.executor import Executor
    from nas.sweep.layout import SweepFiles
    from nas.sweep.running import Supply
    from nas.sweep.sharing import Planned
    from nas.sweep.sweep_file import Sweep
    from nas.sweep.workers import Workers

#: Where cells can run, as `nas.sweep.executor` has it.
EXECUTORS = ("local", "ray")
#: What a process of a cell may take to stop, and to be gone; a cluster that ends with its sweep takes longer.
_GRACE_S = interrupt.GRACE_S + 8.0
_CLUSTER_S = 10.0


def add(commands: options.Commands) -> None:
    """Add `sweep` and `status`."""
    text = "carry out an experiment for every combination of the values that a file gives to its keys"
    command = commands.add_parser("sweep", help=text, description=text)
    command.add_argument("sweep", metavar="SWEEP.yaml", help="the sweep file")
    command.add_argument(
        "--executor", choices=EXECUTORS, help="where cells run (default: what the file says, or local)"
    )
    text = "a Ray cluster that runs: auto for the one of this machine, or of its head (default: one begun here)"
    command.add_argument("--address", metavar="auto|HOST:PORT", help=text)
    text = "run so many cells at a time, each as a process with a share of the cores (default: one, in this process)"
    command.add_argument("--workers", type=int, metavar="N", help=text)
    options.add_out(command, "FOLDER", "folder of the sweep (default: runs/NAME)")
    options.add_resume(command, "go on with the sweep that is in the folder, if any")
    options.add_settings(command, "replace a key of the experiment, such as supernet.epochs=5")
    options.add_plugins(command)
    command.set_defaults(handler=sweep)
    text = "say how far a run or a sweep has come"
    command = commands.add_parser("status", help=text, description=f"From any terminal, {text}.")
    command.add_argument("folder", metavar="RUN|SWEEP", help="its folder")
    command.set_defaults(handler=status)


def sweep(args: argparse.Namespace) -> int:
    """`nas sweep`: every cell; 0 where all that were not stopped early kept their budgets."""
    from nas.sweep import executor, sweep_file

    found = sweep_file.load(Path(args.sweep), args.set)
    place = executor.chosen(found.executor, args.executor, args.workers, args.address)
    grace_s = interrupt.GRACE_S if place.name == "local" and place.workers is None else _GRACE_S
    with interrupt.deferred(INTERRUPTED, grace_s=grace_s + _CLUSTER_S * (place.name == "ray")):
        return _sweep(args, found, place)


def _sweep(args: argparse.Namespace, found: Sweep, place: Executor) -> int:
    from contextlib import closing

    from nas.process.lock import locked
    from nas.sweep import folder
    from nas.sweep.cells import cells_of
    from nas.sweep.comparing import require_stops
    from nas.sweep.estimate import outlook
    from nas.sweep.layout import SweepFiles
    from nas.sweep.running import has_begun
    from nas.sweep.sharing import planned

    plugins = options.granted(args)
    if found.search is not None:
        return _search(args, found, place, plugins)
    cells = planned(cells_of(found, plugins))
    require_stops(found, cells)
    files = SweepFiles(folder.path_of(args.out, found.name))
    folder.require_usable(files, args.resume)
    console = open_console()
    with console.status(f"making room for {len(cells)} cells"):
        workers = _workers(place, found.path, cells, plugins, files)
    with closing(workers):
        waiting = [cell for cell in cells if not has_begun(files, cell.name)]
        with console.status(f"checking {len(waiting)} cells"):
            outlook(found.path, waiting)
        with locked(files.root):
            folder.require_usable(files, args.resume)
            folder.write(files, found.name, cells, found.scheduler)
            folder.require_as_planned(files, cells, plugins)
            return _carry_out(files, cells, workers, console)


def _search(args: argparse.Namespace, found: Sweep, place: Executor, plugins: Plugins) -> int:
    """A sweep whose cells follow from each other."""
    from contextlib import closing

    from nas.process.lock import locked
    from nas.sweep import folder
    from nas.sweep.comparing import require_stops
    from nas.sweep.estimate import outlook
    from nas.sweep.layout import SweepFiles
    from nas.sweep.search import RecipeSearch, prepared
    from nas.sweep.sharing import planned

    found, some = prepared(found, plugins)
    examples, files = planned(some), SweepFiles(folder.path_of(args.out, found.name))
    require_stops(found, examples)
    folder.require_usable(files, args.resume)
    console = open_console()
    with console.status(f"making room for {len(examples)} cells"):
        workers = _workers(place, found.path, examples, plugins, files)
    with closing(workers):
        with console.status(f"checking {len(examples)} cells such as will be chosen"):
            outlook(found.path, examples)
        with locked(files.root):
            folder.require_usable(files, args.resume)
            search = RecipeSearch(files, found, plugins)
            folder.require_as_planned(files, search.cells, plugins)
            return _carry_out(files, search.cells, workers, console, search)


def _workers(place: Executor, path: Path, cells: tuple[Planned, ...], plugins: Plugins, files: SweepFiles) -> Workers:
    """Where the cells run; raises InputError where there is no room for them."""
    from nas.process.facts import cores_used
    from nas.sweep.estimate import require_cores
    from nas.sweep.in_process import InThisProcess
    from nas.sweep.processes import Processes

    if place.name == "ray":
        from nas.sweep.ray_workers import on_cluster

        require_cores(path, cells, place.cpus, "give each more with `executor: {resources: {cpus: ...}}`")
        return on_cluster(place, plugins, files.root)
    if place.workers is None:
        return InThisProcess(plugins)
    made = Processes(place.workers, plugins)
    require_cores(path, cells, len(cores_used()) // place.workers, "give fewer --workers")
    return made


def _carry_out(
    files: SweepFiles, cells: tuple[Planned, ...], workers: Workers, console: Console, supply: Supply | None = None
) -> int:
    from rich.text import Text

    from nas.cli.cells import Shown, summary
    from nas.sweep.page import write_page
    from nas.sweep.running import carry_out
    from nas.sweep.state import OVER, Watcher

    watcher = Watcher(files)
    with Shown(console, watcher, max(1, workers.free())) as shown:
        carry_out(files, cells, workers, shown.happened, supply)
    state = watcher.look()
    for cell in state.cells:
        if cell.state not in OVER:
            console.print(Text.assemble((cell.cell.name, "red"), f": {cell.state}; {cell.cause}"))
    console.print(Text(summary(state, 1)))
    console.print(Text(f"report: {write_page(files)}"))
    if state.search is not None:
        return OK if state.best is not None and state.best[0].state == "kept" else NOT_KEPT
    # Those that were stopped have no budgets to keep; the first to be compared never is.
    return OK if 0 < state.count("kept") == len(state.cells) - state.count("stopped") else NOT_KEPT


def status(args: argparse.Namespace) -> int:
    """`nas status`: a table of a sweep's cells, or a few lines of a run."""
    from rich.text import Text

    from nas.cli import cells
    from nas.run.layout import RunFiles
    from nas.sweep.layout import SweepFiles, is_sweep
    from nas.sweep.state import Watcher

    root, console = Path(args.folder), open_console()
    if is_sweep(root):
        state = Watcher(SweepFiles(root)).look()
        console.print(cells.table(state))
        console.print(Text(cells.summary(state, 1)))
    elif RunFiles(root).experiment.is_file():
        for line in cells.run_lines(RunFiles(root)):
            console.print(Text(line))
    else:
        raise InputError(f"{root} is neither a run nor a sweep; give the folder of one, such as runs/NAME")
    return OK
