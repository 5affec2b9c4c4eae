"""`nas devices add` and `nas devices remove`: where a board is, noted in the user's settings."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

from nas.cli.console import open_console
from nas.errors import InputError

if TYPE_CHECKING:
    from rich.text import Text

    from nas.devices.board.adding import Added


def require_name(name: str, board: bool) -> None:
    """Refuse what cannot be the name of a device of one's own, or of a board; raises InputError.

    A board may stand for a shipped device, which then describes it.
    """
    from hardware_profiles import HOST
    from hardware_profiles.registry import shipped_as

    if not re.fullmatch(r"[a-z0-9][a-z0-9_]*", name):
        raise InputError(f"the name {name!r} cannot be that of a device; use lower-case letters, digits and _")
    if name == HOST:
        raise InputError("the name 'host' is this machine as it is; choose another, such as 'my_board'")
    if not board and (taken := shipped_as(name)) is not None:
        raise InputError(f"the name {name!r} is that of a shipped device, {taken}; choose another, such as 'my_board'")


def add(args: argparse.Namespace, name: str) -> None:
    """Reach a board, note it, and say what it is."""
    from hardware_profiles.registry import shipped_as
    from nas.devices.board.adding import add as reach
    from nas.devices.board.addresses import Address

    require_name(name, board=True)
    if args.at is None:
        raise InputError(f'how is {name} reached? Give a command that gives a pipe, such as --at "ssh pi@raspi"')
    like = args.profile or (name if shipped_as(name) == name else None)
    found = reach(name, Address(args.at, args.python, args.deadline), like)
    console = open_console()
    for line in _lines(name, found):
        console.print(line)
    console.print(f"next:    nas profile {name}")
    console.print(f"use it:  target: {{device: {name}, runner: {found.runtimes[0].split()[0]}, threads: 1}}")


def remove(name: str) -> None:
    """Forget a board."""
    from nas.devices.board.adding import remove as forget

    forget(name)
    open_console().print(f"{name} is forgotten; what was measured on it is kept where it is")


def reached() -> list[str]:
    """Each board that was added, and by which command it is reached."""
    from nas.devices.board import addresses

    return [f"{name} by `{address.at}`" for name, address in addresses.known().items()]


def _architecture(found: Added) -> str:
    """The architecture that the profile is of, where the board is of another one."""
    described = str((found.profile.tvm_target or {}).get("mtriple", "")).split("-")[0]
    own = found.facts["identity"]["architecture"].replace("arm64", "aarch64")
    return "" if described.replace("arm64", "aarch64") in ("", own) else described


def _itself(found: Added) -> str:
    """What a board calls itself, where that is not what its profile calls it."""
    name = found.facts["identity"]["name"]
    return "" if name == found.profile.name else f"; it calls itself {name}"


def _lines(name: str, found: Added) -> list[Text]:
    from rich.text import Text

    from nas.devices.timing.readings import emulated_by

    shown, profile = found.facts["shown"], found.profile
    clock = shown["clock_hz"]
    governor = shown["governor"] or "governor not shown"
    facts = {
        "machine": f"{profile.name}, {int(profile.cores.value)} cores{_itself(found)}",
        "runs": ", ".join((*found.runtimes, f"Python {found.facts['versions']['python']}")),
        "clock": governor + (f", {clock[0] / 1e9:.2f} to {clock[1] / 1e9:.2f} GHz now" if clock else ""),
        "heat": "not shown" if shown["temperature_c"] is None else f"{shown['temperature_c']:.0f} degrees Celsius",
    }
    if shown["emulated"]:
        facts["times"] = f"are not taken for any: {emulated_by(shown['emulated'])}"
    if other := _architecture(found):
        facts["profile"] = f"is of {other}: what is predicted before the first reading is worth little"
    if shown["power_mode"] is not None:
        facts["power"] = f"mode {shown['power_mode']}"
    if shown["throttled"]:
        facts["slowed"] = shown["throttled"]
    head = Text.assemble((name, "bold"), " answers")
    return [head, *(Text(f"  {label:<8} {text}") for label, text in facts.items())]
