"""`nas devices` and `nas doctor`: what is known of devices, and what works on this one."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from nas.cli import options
from nas.cli.console import open_console
from nas.cli.exit_codes import NOT_KEPT, OK
from nas.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table


def add(commands: options.Commands) -> None:
    """Add `devices` and `doctor`."""
    command = commands.add_parser("devices", help="list device profiles, show one with its sources, add a board")
    command.description = (
        "Without words: all device profiles. NAME: one of them, with its sources. add NAME --at COMMAND: a board that "
        "COMMAND gives a pipe to; networks are then measured there. remove NAME: forget a board."
    )
    command.add_argument(
        "words", nargs="*", metavar="[add|remove] NAME", help="id, alias or file of a profile; host is this machine"
    )
    command.add_argument("--at", metavar="COMMAND", help='how a board is reached, such as "ssh pi@raspi"')
    command.add_argument("--python", default="python3", metavar="PATH", help="Python there (default: python3)")
    command.add_argument(
        "--profile", metavar="NAME", help="a profile that describes the board (default: it is measured)"
    )
    command.add_argument(
        "--deadline", type=float, default=60.0, metavar="SECONDS", help="how long it may be silent (default: 60)"
    )
    command.set_defaults(handler=devices)
    text = "say which backends, targets, compilers and optional parts work here"
    commands.add_parser("doctor", help=text).set_defaults(handler=doctor)


def devices(args: argparse.Namespace) -> int:
    """`nas devices`: a table of profiles, one profile with the source of every number, or another board."""
    from rich.text import Text

    from nas.cli import boards

    if args.words[:1] != ["add"] and (given := args.at or args.profile):
        raise InputError(f"{given!r} is for a board that is added: write `nas devices add NAME --at COMMAND`")
    match args.words:
        case []:
            open_console().print(_all())
            if added := boards.reached():
                open_console().print(Text(f"boards that were added: {', '.join(added)}"))
        case ["add", name]:
            boards.add(args, name)
        case ["remove", name]:
            boards.remove(name)
        case ["add" | "remove"]:
            raise InputError(f"which board? Write `nas devices {args.words[0]} NAME`")
        case [name]:
            _show(name)
        case _:
            raise InputError(f"`{' '.join(args.words)}` is not understood; write `add NAME`, `remove NAME` or one NAME")
    return OK


def _all() -> Table:
    from rich.table import Table

    from hardware_profiles import HOST, load, names

    table = Table("id", "name", "peak float32", "bandwidth", "aliases", box=None, header_style="bold")
    for name in names():
        if name == HOST:
            table.add_row(HOST, "this machine, measured when asked for", "", "", "")
            continue
        profile = load(name)
        table.add_row(
            profile.id,
            profile.name,
            f"{profile.peak('float32') / 1e9:,.0f} GFLOP/s",
            f"{profile.bandwidth_bytes_per_s.value / 1e9:,.1f} GB/s",
            ", ".join(profile.aliases),
        )
    return table


def _show(name: str) -> None:
    from rich.table import Table
    from rich.text import Text

    from hardware_profiles import load
    from nas.cli import boards

    profile, console = load(name), open_console()
    console.print(Text.assemble((profile.name, "bold"), f" ({profile.id}, {profile.kind}, {profile.family})"))
    table = Table("quantity", "value", "grade", "source", box=None, header_style="bold")
    for label, quantity in profile.quantities():
        table.add_row(label, f"{quantity.value:,.6g}", quantity.grade, profile.citation(quantity))
    console.print(table)
    for label, value in (
        ("fusions", ", ".join(profile.fusions)),
        ("aliases", ", ".join(profile.aliases)),
        ("TVM target", str(dict(profile.tvm_target or {}))),
        ("reached", ", ".join(each for each in boards.reached() if each.startswith(f"{name} by "))),
    ):
        if value or label != "reached":
            console.print(Text.assemble((label, "bold"), f" {value or 'none'}"))
    for note in profile.notes:
        console.print(f"- {note}")


def doctor(args: argparse.Namespace) -> int:
    """`nas doctor`: what works on this machine; exit code 0 if the main path does."""
    from rich.text import Text

    from nas.cli.doctor import diagnose

    console = open_console()
    findings = diagnose()
    for finding in findings:
        mark = ("ok", "green") if finding.works else ("no", "red" if finding.required else "yellow")
        console.print(Text.assemble(mark, "  ", (finding.what, "bold"), f": {finding.detail}"))
    return OK if all(finding.works for finding in findings if finding.required) else NOT_KEPT
