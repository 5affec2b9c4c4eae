"""The command line: `nas run experiment.yaml`, one command per stage, and questions about this machine.

Exit codes: 0 every budget kept; 2 malformed input, nothing written; 3 a budget was not kept or nothing fits;
4 interrupted, resumable. Only argparse is imported here, so that `nas --help` answers at once.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from nas.heap import keep_heap

OK, MALFORMED, NOT_KEPT, INTERRUPTED = 0, 2, 3, 4

_STAGES = {
    "train": "choose the winners by measuring candidates, and train them",
    "export": "write the winners as ONNX and TVM artefacts",
    "verify": "run the artefacts: numbers, latency, accuracy",
    "report": "write the report page",
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nas",
        description="Hardware-aware neural architecture search: name a device and a budget, "
        "get networks that keep it, measured.",
        epilog="exit codes: 0 every budget kept; 2 malformed input; 3 a budget was not kept or nothing fits; "
        "4 interrupted, go on with --resume",
    )
    from nas import __version__

    parser.add_argument("--version", action="version", version=f"hwnas {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in (
        ("run", "do everything: calibrate, train the supernet, search, train winners, export, verify, report"),
        ("search", "only calibrate, train the supernet and search"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("experiment", metavar="EXPERIMENT.yaml", help="the experiment file")
        command.add_argument("--out", metavar="RUN", help="run folder (default: runs/NAME)")
        command.add_argument("--resume", action="store_true", help="go on with the run that is in the folder, if any")
        command.add_argument("--seed", type=int, help="replaces the experiment's seed")
        command.add_argument(
            "--set", metavar="KEY=VALUE", action="append", default=[], help="replace a key, such as supernet.epochs=5"
        )
    for name, text in _STAGES.items():
        command = commands.add_parser(name, help=text, description=f"In an existing run: {text}.")
        command.add_argument("run", metavar="RUN", help="the run folder")
    devices = commands.add_parser("devices", help="list device profiles, or show one with its sources")
    devices.add_argument("name", nargs="?", metavar="NAME", help="id, alias or file of a profile; host is this machine")
    commands.add_parser("doctor", help="say which backends, targets, compilers and optional parts work here")
    check = commands.add_parser("check", help="check an experiment file, or a search space `module:name`, for mistakes")
    check.add_argument("subject", metavar="EXPERIMENT.yaml|MODULE:SPACE")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; errors of the user's input are one line on standard error."""
    args = _parser().parse_args(arguments)
    keep_heap()
    from nas import commands, interrupt
    from nas.errors import NothingFits

    handlers: dict[str, Callable[[argparse.Namespace], int]] = {
        "run": commands.run,
        "search": commands.search,
        **dict.fromkeys(_STAGES, commands.stage),
        "devices": commands.devices,
        "doctor": commands.doctor,
        "check": commands.check,
    }
    try:
        return handlers[args.command](args)
    except commands.user_errors() as error:
        print("nas: error:", " ".join(str(error).splitlines()), file=sys.stderr)  # noqa: T201
        return MALFORMED
    except OSError as error:
        print(f"nas: error: {error}; nothing that was written is lost", file=sys.stderr)  # noqa: T201
        return MALFORMED
    except NothingFits as error:
        print(f"nas: {error.statement}", file=sys.stderr)  # noqa: T201
        return NOT_KEPT
    except KeyboardInterrupt:
        print(interrupt.MESSAGE, file=sys.stderr)  # noqa: T201
        return INTERRUPTED


def process() -> NoReturn:
    """What the `nas` script calls: `main`, and then leave without tearing down what was loaded.

    XLA may still be computing on threads of its own when a run is interrupted, and the end of the interpreter then
    crashes: the exit code would be that of a crash.
    """
    code = main()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # a reader that went away
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    process()
