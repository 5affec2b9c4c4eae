"""Options that several commands have, each written once."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from nas.config.plugins import Plugins

#: What `add` of a family adds its parsers to; each sets `handler`, a function of the arguments that gives an exit code.
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_plugins(command: argparse.ArgumentParser) -> None:
    """`--plugins`, which `granted` reads."""
    command.add_argument(
        "--plugins",
        metavar="A,B",
        action="append",
        default=[],
        help="modules of others, or your own, whose code may run: only these can be named as module:name",
    )


def granted(args: argparse.Namespace, *more: str) -> Plugins:
    """Whose code may run: what `--plugins` names, and `more`; raises InputError."""
    from nas.config import plugins

    return plugins.granted([*args.plugins, *more])


def add_out(
    command: argparse.ArgumentParser, metavar: str, text: str, *, default: str | None = None, required: bool = False
) -> None:
    """`--out`: where the command writes."""
    command.add_argument("--out", metavar=metavar, default=default, required=required, help=text)


def add_resume(command: argparse.ArgumentParser, text: str) -> None:
    """`--resume`: go on with what is there."""
    command.add_argument("--resume", action="store_true", help=text)


def add_settings(command: argparse.ArgumentParser, text: str) -> None:
    """`--set KEY=VALUE`, any number of times."""
    command.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help=text)


def add_seed(command: argparse.ArgumentParser, text: str, default: int | None = None) -> None:
    """`--seed`."""
    command.add_argument("--seed", type=int, default=default, metavar="N", help=text)
