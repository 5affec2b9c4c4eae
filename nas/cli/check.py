"""`nas check`: an experiment file, or the contract of a search space."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from nas.cli import options
from nas.cli.console import open_console
from nas.cli.exit_codes import OK

if TYPE_CHECKING:
    from rich.text import Text


def add(commands: options.Commands) -> None:
    """Add `check`."""
    text = "check an experiment file, or a search space `module:name`, for mistakes"
    command = commands.add_parser("check", help=text)
    command.add_argument("subject", metavar="EXPERIMENT.yaml|MODULE:SPACE")
    options.add_plugins(command)
    command.set_defaults(handler=check)


def check(args: argparse.Namespace) -> int:
    """`nas check`: one line per thing that is right; raises the error of the first that is not."""
    from nas.config.registry import is_reference
    from search_spaces import SPACES

    if (args.subject in SPACES or is_reference(args.subject)) and not Path(args.subject).exists():
        _contract(args)
    else:
        _experiment(args)
    return OK


def _contract(args: argparse.Namespace) -> None:
    from nas.config.registry import is_reference
    from nas.testing.space_check import check_space

    console = open_console()
    # To name what is to be checked is to allow it to run.
    subject = [args.subject.partition(":")[0]] if is_reference(args.subject) else []
    for line in check_space(args.subject, options.granted(args, *subject)):
        console.print(_ok(line))


def _experiment(args: argparse.Namespace) -> None:
    from nas.config import parse
    from nas.run.opening import materials

    experiment = parse.load(Path(args.subject), plugins=options.granted(args))
    found = materials(experiment)
    images = len(found.data.splits.train)
    budgets = "; ".join(f"{budget.name}: {budget.describe()}" for budget in experiment.budgets)
    open_console().print(
        _ok(
            f"{args.subject}: {images:,} training images of {found.space.input_shape}, "
            f"space {found.space.name} with {len(found.space.genes)} genes, {budgets}"
        )
    )


def _ok(line: str) -> Text:
    from rich.text import Text

    return Text.assemble(("ok", "green"), f" {line}")
